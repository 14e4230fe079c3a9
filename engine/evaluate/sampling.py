"""Pictures taken from a source under a homography, without aliasing."""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project

SAMPLES_A_SOURCE_PX = 2
"""Samples a source pixel and axis, at the picture's coarsest place."""
_MOST_SAMPLES = 16
_BAND_SAMPLES = 4_000_000
"""Samples taken at a time: bounds memory."""


def take_picture(
    source: NDArray[np.uint8], to_source: NDArray[np.float64], size: tuple[int, int]
) -> NDArray[np.float32]:
    """A picture of `size` (width, height): each pixel is the mean of cubic samples spread evenly over its area.

    There are at least `SAMPLES_A_SOURCE_PX` samples a source pixel and axis, and at least two a picture pixel, so that
    detail finer than the picture's pixels is averaged, not aliased. Samples lie symmetrically about the pixel's centre:
    nothing moves.

    Args:
        source: [H, W, 3] uint8.
        to_source: [3, 3] map of pixels of the picture to pixels of the source.

    Returns:
        [height, width, 3] float32, 0 to 255.

    Raises:
        ValueError: the picture would reach beyond the source.
    """
    corners = np.array([[0, 0], [size[0] - 1, 0], [size[0] - 1, size[1] - 1], [0, size[1] - 1]], np.float64)
    seen = project(to_source, corners)
    if seen.min() < 0 or (seen > np.array([source.shape[1] - 1, source.shape[0] - 1])).any():
        raise ValueError("the picture reaches beyond its source")
    count = samples_a_side(to_source, size)
    spread = np.array([[1 / count, 0, 0.5 / count - 0.5], [0, 1 / count, 0.5 / count - 0.5], [0, 0, 1]])
    rows = max(_BAND_SAMPLES // (size[0] * count * count), 1)
    bands = []
    for top in range(0, size[1], rows):
        height = min(rows, size[1] - top)
        down = np.array([[1.0, 0, 0], [0, 1, top], [0, 0, 1]])
        samples = _samples(source, to_source @ down @ spread, (size[0] * count, height * count))
        bands.append(cv2.resize(samples, (size[0], height), interpolation=cv2.INTER_AREA))
    return np.asarray(np.clip(np.concatenate(bands), 0, 255), np.float32)


def samples_a_side(to_source: NDArray[np.float64], size: tuple[int, int]) -> int:
    """Samples a picture pixel and axis that `take_picture` takes."""
    right, bottom = size[0] - 1, size[1] - 1
    corners = np.array([[0, 0], [right, 0], [right, bottom], [0, bottom]], np.float64)
    here = project(to_source, corners)
    steps = [np.linalg.norm(project(to_source, corners + step) - here, axis=1).max() for step in ([1, 0], [0, 1])]
    return int(np.clip(np.ceil(SAMPLES_A_SOURCE_PX * max(steps) - 1e-9), 2, _MOST_SAMPLES))


def _samples(source: NDArray[np.uint8], to_source: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """Cubic samples [height, width, 3] float32, from the part of the source that they need."""
    corners = np.array([[0, 0], [size[0] - 1, 0], [size[0] - 1, size[1] - 1], [0, size[1] - 1]], np.float64)
    seen = project(to_source, corners)
    left, top = np.maximum(np.floor(seen.min(axis=0)).astype(int) - 3, 0)
    right, bottom = np.ceil(seen.max(axis=0)).astype(int) + 4
    part = source[top:bottom, left:right].astype(np.float32)
    moved = np.array([[1.0, 0, -left], [0, 1, -top], [0, 0, 1]]) @ to_source
    return np.asarray(
        cv2.warpPerspective(
            part, moved, size, flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        ),
        np.float32,
    )
