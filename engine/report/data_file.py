"""Data as classic scripts. A page opened from a folder may not fetch files, but it may load scripts.

Each file is one call, `Report.put(name, value);`. It is ASCII, so that no server's or browser's guess of the encoding
can spoil a name, and it holds JSON only, so that nothing in a name can become code.
"""

import json
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def data_script(name: str, value: Any) -> bytes:
    """The bytes of a data file. `value` is JSON-ready and finite.

    Raises:
        ValueError: a number is not finite.
    """
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return f"Report.put({json.dumps(name)},{text});\n".encode("ascii")


def rounded(values: NDArray[np.floating] | Iterable[float], digits: int) -> list[float | int | None]:
    """Numbers of so many decimals, None for what is not finite, whole ones without a point."""
    array = np.round(np.asarray(values, np.float64), digits).ravel()
    numbers: list[float] = array.tolist()
    return [None if not math.isfinite(value) else int(value) if value == int(value) else value for value in numbers]
