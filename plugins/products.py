"""Products of one map's tokens with another's on the CPU, each in the calling thread alone: not a plugin itself.

ONNX Runtime multiplies about twice as fast as the linear algebra of NumPy's wheels on processors with AVX-512, has
8-bit products, and can be held to one thread, so that threads can take whole pairs each.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FULL_RANGE, REDUCED_RANGE = 127, 63
"""Largest absolute 8-bit value. Before VNNI, processors add two 8-bit products in 16 bits, which saturate unless one
bit is left free."""


def product_fp32(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """[N, D] and [M, D] float32 to [N, M] float32."""
    result: NDArray[np.float32] = _session("product_fp32").run(None, {"a": a, "b": b})[0]
    return result


def product_int8(a: NDArray[np.uint8], b: NDArray[np.int8]) -> NDArray[np.int32]:
    """[N, D] uint8 with its zero at 128, and [D, M] int8, to [N, M] int32."""
    result: NDArray[np.int32] = _session("product_int8").run(None, {"a": a, "b": b})[0]
    return result


@cache
def largest_int8() -> int:
    """The largest absolute value that 8-bit products of this processor take without saturating, found by trying."""
    a, b = np.full((16, 64), 255, np.uint8), np.full((64, 16), FULL_RANGE, np.int8)
    exact = bool((product_int8(a, b) == 64 * FULL_RANGE * FULL_RANGE).all())
    return FULL_RANGE if exact else REDUCED_RANGE


@cache
def _session(name: str) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    path = Path(__file__).with_name(f"{name}.onnx")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
