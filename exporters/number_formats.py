"""Weights in narrower numbers: 16-bit floats, and 8-bit integers with a scale per output channel."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import TensorProto

from models.processor import cpu_flags, exact_byte_products

FULL_RANGE, REDUCED_RANGE = 127, 64
"""Largest absolute value of an 8-bit weight.

Processors without VNNI multiply unsigned by signed bytes with an instruction (`vpmaddubsw`) that adds two products in
16 signed bits: 2 * 255 * 127 does not fit, 2 * 255 * 64 = 32640 does. Exceeding it saturates without a word.
"""

STORAGE: dict[int, type[np.generic]] = {
    TensorProto.FLOAT: np.float32,
    TensorProto.BFLOAT16: np.uint16,
    TensorProto.FLOAT16: np.float16,
    TensorProto.INT8: np.int8,
    TensorProto.UINT8: np.uint8,
    TensorProto.INT64: np.int64,
}
"""How the values of an element type are held in NumPy, which has no bfloat16: as bits."""

_TORCH_HALF: dict[int, torch.dtype] = {TensorProto.BFLOAT16: torch.bfloat16, TensorProto.FLOAT16: torch.float16}


def to_half(values: NDArray[np.floating], element_type: int) -> NDArray[Any]:
    """float32 values rounded to the nearest bfloat16 (as uint16 bits) or float16, ties to even."""
    rounded = torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(_TORCH_HALF[element_type])
    if element_type == TensorProto.BFLOAT16:
        return rounded.view(torch.int16).numpy().view(np.uint16)
    return np.asarray(rounded.numpy())


def channel_scales(weight: NDArray[np.float32], largest: int) -> NDArray[np.float32]:
    """The step of each row of an [out, in] weight: its largest absolute value becomes `largest`. [out] float32."""
    reach = np.maximum(weight.max(axis=1), -weight.min(axis=1))
    return np.where(reach > 0, reach / np.float32(largest), 1.0).astype(np.float32)


def to_int8(weight: NDArray[np.float32], largest: int) -> NDArray[np.int8]:
    """An [out, in] weight in steps of its rows' scales, transposed to [in, out] as matrix products take it."""
    steps = np.rint(weight / channel_scales(weight, largest)[:, None])
    return np.ascontiguousarray(steps.astype(np.int8).T)


def uint8_scale(low: float, high: float) -> tuple[np.float32, int]:
    """Step and zero point of 256 steps that hold all from `low` (at most 0) to `high` (at least 0), and 0 exactly."""
    step = np.float32((high - low) / 255) if high > low else np.float32(1.0)
    return step, int(np.clip(np.rint(-low / step), 0, 255))


@dataclass(frozen=True)
class Int8Range:
    """The range of 8-bit weights in a graph, and why."""

    largest: int
    reason: str


def int8_range(flags: str | None = None) -> Int8Range:
    """The full range where this processor multiplies bytes without saturation, else the reduced one.

    Args:
        flags: the processor's features, separated by blanks; by default those of this one, where they are known.
    """
    if found := exact_byte_products((cpu_flags() or "") if flags is None else flags):
        return Int8Range(FULL_RANGE, f"this processor has {found}")
    return Int8Range(REDUCED_RANGE, "no VNNI was found, without which 8-bit products of the full range saturate")
