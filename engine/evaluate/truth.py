"""Pairs with known geometry: read from a truth file, found in a data set."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.dataset import DataSet
from engine.demo.accuracy import mean_transfer_error_pct
from engine.errors import WorkError
from engine.evaluate.metrics import transfer_error_pct
from engine.pairs import Pair

LAYOUT = (
    'Expected {"pairs": [{"a": "400.0001", "b": "200.0001", "homography_a_to_b": [[…], […], […]]}, …]}, '
    "pixels of a to pixels of b, the centre of the top-left pixel at (0, 0)"
)


class TruthError(WorkError):
    """A truth file cannot be used."""


@dataclass(frozen=True, eq=False)
class TruthEntry:
    """A pair of a truth file: image keys (or paths), and the [3, 3] map of pixels of a to pixels of b."""

    a: str
    b: str
    a_to_b: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Case:
    """A pair of photographs whose geometry is known.

    Attributes:
        pair: the photographs.
        a_to_b: [3, 3] map of pixels of a to pixels of b.
        points_a_px: [N, 2] where errors are taken; None: a 9 x 9 grid over a, as far as it falls inside b.
        about: what a report repeats of the pair; synthetic pairs have their factor and level here.
    """

    pair: Pair
    a_to_b: NDArray[np.float64]
    points_a_px: NDArray[np.float64] | None = None
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.pair.a.key} - {self.pair.b.key}"

    def error_pct(
        self, found: NDArray[np.float64] | None, size_a: tuple[int, int], size_b: tuple[int, int]
    ) -> float | None:
        """Mean transfer error of a geometry in percent of b's diagonal; None for no model.

        Raises:
            TruthError: under the true geometry, the photographs share no ground.
        """
        if self.points_a_px is not None:
            return transfer_error_pct(found, self.a_to_b, self.points_a_px, size_b)
        try:
            return mean_transfer_error_pct(found, self.a_to_b, size_a, size_b)
        except ValueError:
            raise TruthError(
                f"{self.name}: by its true homography, photograph a ({size_a[0]} x {size_a[1]} px) shares no ground "
                f"with b ({size_b[0]} x {size_b[1]} px): is it the homography from a to b, in pixels of these files?"
            ) from None


def load_truth(path: Path) -> list[TruthEntry]:
    """Reads a truth file; entries may hold more than is needed.

    Raises:
        TruthError: the file cannot be read or has another layout; the message names the place in it.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TruthError(f"{path} cannot be read: {error.strerror or error}. Give a truth file to --truth") from error
    except (ValueError, RecursionError) as error:
        raise TruthError(f"{path} is not JSON: {error}. {LAYOUT}") from error
    listed = content.get("pairs") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed:
        raise TruthError(f"{path}: 'pairs' must be a list of at least one pair. {LAYOUT}")
    entries = [_entry(path, number, item) for number, item in enumerate(listed)]
    seen: set[tuple[str, str]] = set()
    for number, entry in enumerate(entries):
        if (entry.a, entry.b) in seen:
            raise TruthError(f"{path}: pairs[{number}] is {entry.a} - {entry.b} a second time: remove one")
        seen.add((entry.a, entry.b))
    return entries


def _entry(path: Path, number: int, item: Any) -> TruthEntry:
    place = f"{path}: pairs[{number}]"
    if not isinstance(item, dict):
        raise TruthError(f"{place} must be an object. {LAYOUT}")
    for name in ("a", "b"):
        if not isinstance(item.get(name), str) or not item[name].strip():
            raise TruthError(f"{place}.{name} must be the key of a photograph, such as '400.0001'. {LAYOUT}")
    if item["a"] == item["b"]:
        raise TruthError(f"{place} pairs {item['a']} with itself")
    place = f"{place} ({item['a']} - {item['b']}).homography_a_to_b"
    try:
        matrix = np.array(item.get("homography_a_to_b"), np.float64)
    except (TypeError, ValueError, OverflowError):
        raise TruthError(f"{place} must be 3 x 3 numbers. {LAYOUT}") from None
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        what = "is missing" if "homography_a_to_b" not in item else f"has the shape {list(matrix.shape)}"
        what = "holds values that are no numbers" if matrix.shape == (3, 3) else what
        raise TruthError(f"{place} {what}; it must be 3 x 3 numbers. {LAYOUT}")
    if np.linalg.matrix_rank(matrix) < 3:
        raise TruthError(f"{place} is singular: it sends all of a to a line or a point")
    return TruthEntry(item["a"], item["b"], matrix)


def find_cases(entries: Sequence[TruthEntry], data_set: DataSet, truth_file: Path) -> list[Case]:
    """The photographs that a truth file names.

    Raises:
        KeyNotFoundError: a photograph is not in the data set; the message lists what is.
        TruthError: a key names several photographs.
    """
    cases = []
    for entry in entries:
        sides = []
        for key in (entry.a, entry.b):
            found = data_set.find(key)
            if len(found) != 1:
                raise TruthError(
                    f"{truth_file}: '{key}' names {len(found)} photographs below {data_set.root}: "
                    "a truth pair takes one, as ALT.FRAME or ID:ALT.FRAME"
                )
            sides.append(found[0])
        cases.append(Case(Pair(*sides), entry.a_to_b))
    return cases
