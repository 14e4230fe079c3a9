"""The size a photograph is encoded at, and the resampling to it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from models.contract import BICUBIC, BILINEAR, LANCZOS

_ONE = float(1 << 22)
"""Pillow's fixed-point weights have 22 binary places."""
_BAND = 8
"""Output lines made by one matrix product: fewer cost calls, more multiply too many zeros (8 measured fastest)."""


def encoded_size(size: tuple[int, int], image_size: int, stride: int) -> tuple[int, int]:
    """(width, height) in pixels that a photograph of `size` (width, height) is encoded at.

    The shorter side becomes `image_size` and the longer one keeps the aspect; then each is rounded to the nearest
    multiple of `stride`, ties up, and is at least one stride. Exact integer arithmetic.

    Raises:
        ValueError: a side, `image_size` or `stride` is below 1.
    """
    width, height = size
    if min(width, height, image_size, stride) < 1:
        raise ValueError(f"sizes must be at least 1: {width} x {height} to {image_size}, stride {stride}")
    shorter = min(width, height)
    strides = [(2 * image_size * side + shorter * stride) // (2 * shorter * stride) for side in (width, height)]
    return max(strides[0], 1) * stride, max(strides[1], 1) * stride


def resize(
    image: NDArray[np.uint8],
    size: tuple[int, int],
    extent: tuple[float, float] | None = None,
    kernel: str = BILINEAR,
) -> NDArray[np.uint8]:
    """Antialiased resampling as by Pillow's `Image.resize(size, kernel)`: bilinear within one grey level, others equal.

    Each output line is a weighted mean of input lines under a curve centred on the output line's centre; columns
    likewise. The curve is measured in output lines (in input lines when enlarging): a triangle from -1 to 1, Keys'
    cubic from -2 to 2, or Lanczos' windowed sinc from -3 to 3. Pillow uses fixed-point weights and rounds between the
    two passes. So does this for bicubic and lanczos, but not for bilinear: the others' weights are partly negative,
    so that edges leave the range of grey levels and every rounding and clipping shows. Columns are then resampled
    before rows, as Pillow did in every case up to release 12; later ones begin with the axis that shrinks more.

    Args:
        image: [H, W, 3] uint8.
        size: (width, height) wanted, in pixels.
        extent: (width, height) in pixels of the part of the image that is wanted, from its top left corner, where the
            last row or column is to count in part; the whole image by default.
        kernel: one of `models.contract.RESAMPLINGS`.

    Returns:
        [height, width, 3] uint8, C order; the image itself when it has the size already.

    Raises:
        ValueError: not a [H, W, 3] uint8 image, a size below 1, an extent that the image does not have, or another
            kernel.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or min(*image.shape, *size) < 1:
        raise ValueError(f"cannot resize {image.dtype} {image.shape} to {size}")
    if kernel not in _KERNELS:
        raise ValueError(f"no kernel {kernel!r}: choose one of {', '.join(_KERNELS)}")
    width, height = size
    across, down = extent or (float(image.shape[1]), float(image.shape[0]))
    if not (0 < across <= image.shape[1] and 0 < down <= image.shape[0]):
        raise ValueError(f"an image of {image.shape[1]} x {image.shape[0]} has no extent of {across} x {down}")
    if image.shape[:2] == (height, width) == (down, across):
        return np.ascontiguousarray(image)
    if kernel != BILINEAR:
        narrow = _grey_levels(_resample_lines(np.asarray(cv2.transpose(image)), width, across, kernel))
        return _grey_levels(_resample_lines(np.asarray(cv2.transpose(narrow)), height, down, kernel))
    # Rows first: they are contiguous in memory, and what is left for the columns is small when shrinking.
    rows = _resample_lines(np.ascontiguousarray(image), height, down, kernel)
    columns = _resample_lines(cv2.transpose(rows), width, across, kernel)
    return np.asarray(cv2.transpose(cv2.convertScaleAbs(columns)), np.uint8)


def _grey_levels(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Rounded, halves up as Pillow does, and clipped; `values` are changed."""
    values += 0.5
    return np.clip(values, 0, 255, out=values).astype(np.uint8)


def _resample_lines(image: NDArray[np.generic], count: int, extent: float, kernel: str) -> NDArray[np.floating]:
    """[L, P, 3] uint8 or float32 to [count, P, 3] float32 or, where weights are exact, float64: resampling of `extent`
    lines along the first axis."""
    lines, points, channels = image.shape
    if lines == count == extent:
        return image.astype(np.float32)
    source = image.reshape(lines, points * channels)
    bands = _bands(lines, count, extent, kernel)
    number = bands[0].weights.dtype
    result = np.empty((count, points * channels), number)
    buffer = np.empty((max(len(band.weights[0]) for band in bands), points * channels), number)
    for band in bands:
        block = buffer[: band.weights.shape[1]]
        np.copyto(block, source[band.first_input : band.first_input + len(block)])
        np.matmul(band.weights, block, out=result[band.first_output : band.first_output + len(band.weights)])
    return result.reshape(count, points, channels)


def _triangle(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(1.0 - distance, 0.0)


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Keys, "Cubic convolution interpolation for digital image processing" (1981), a = -0.5, which Pillow takes."""
    near = (1.5 * distance - 2.5) * distance**2 + 1.0
    far = ((-0.5 * distance + 2.5) * distance - 4.0) * distance + 2.0
    return np.where(distance < 1.0, near, np.where(distance < 2.0, far, 0.0))


def _lanczos(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(distance < 3.0, np.sinc(distance) * np.sinc(distance / 3.0), 0.0)


_KERNELS: dict[str, tuple[Callable[[NDArray[np.float64]], NDArray[np.float64]], float]] = {
    BILINEAR: (_triangle, 1.0),
    BICUBIC: (_cubic, 2.0),
    LANCZOS: (_lanczos, 3.0),
}
"""Each kernel's weight by distance, and the distance from which on it is 0."""


@dataclass(frozen=True, eq=False)
class _Band:
    """`weights` [outputs, inputs] float32 or float64 make consecutive output lines from consecutive input lines."""

    first_output: int
    first_input: int
    weights: NDArray[np.floating]


@lru_cache(maxsize=64)
def _bands(lines_in: int, lines_out: int, extent: float, kernel: str) -> tuple[_Band, ...]:
    """The resampling matrix from `lines_in` to `lines_out` lines, without most of its zeros.

    Output line i is centred at (i + 0.5) * scale - 0.5 in input lines, scale = extent / lines_out. Its weight for
    input line j is that of the kernel at |distance| / max(scale, 1); the weights of a line are divided by their sum.
    """
    scale = extent / lines_out
    weight, support = _KERNELS[kernel]
    unit = max(scale, 1.0)
    reach = support * unit
    bands = []
    for first in range(0, lines_out, _BAND):
        centres = (np.arange(first, min(first + _BAND, lines_out)) + 0.5) * scale - 0.5
        begin = max(int(np.floor(centres[0] - reach)), 0)
        end = min(int(np.ceil(centres[-1] + reach)) + 1, lines_in)
        weights = weight(np.abs(np.arange(begin, end) - centres[:, None]) / unit)
        weights /= weights.sum(axis=1, keepdims=True)
        if kernel != BILINEAR:
            # Sums of these with grey levels are exact in float64, so that halves are rounded as Pillow rounds them.
            weights = np.rint(weights * _ONE) / _ONE
        bands.append(_Band(first, begin, weights.astype(np.float32) if kernel == BILINEAR else weights))
    return tuple(bands)
