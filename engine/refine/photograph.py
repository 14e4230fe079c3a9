"""A photograph and its reductions, so that any part of it can be sampled at any size quickly and without aliasing."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project, rescale_matrix

Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float64]

_SHARP = 1.3
"""Up to so many photograph pixels a frame pixel, bicubic sampling does not alias visibly."""
_BORDER_PX = 4
_SMALLEST_PX = 64


class Photograph:
    """Pixels [H, W, 3] uint8 RGB, halved as often as is asked for; each half is made once.

    Attributes:
        size: (width, height) in pixels.
    """

    def __init__(self, pixels: Pixels) -> None:
        self._halves = [pixels]
        self.size = (pixels.shape[1], pixels.shape[0])

    def sample(self, to_photograph: Matrix, size: tuple[int, int]) -> Pixels:
        """Samples a frame of `size` (width, height) through the map [3, 3] of its pixels to those of the photograph.

        Beyond the border the photograph is mirrored. Memory beside the photograph's own grows with the frame alone.
        """
        shrink = scale_at(to_photograph, np.array([(size[0] - 1) / 2, (size[1] - 1) / 2]))
        pixels = self._half(int(math.log2(shrink)) if shrink >= 2 else 0)
        to_pixels = rescale_matrix(self.size, (pixels.shape[1], pixels.shape[0])) @ to_photograph
        pixels, to_pixels = _part(pixels, to_pixels, size)
        shrink = scale_at(to_pixels, np.array([(size[0] - 1) / 2, (size[1] - 1) / 2]))
        if shrink > _SHARP:
            whole = (pixels.shape[1], pixels.shape[0])
            target = (max(1, round(whole[0] / shrink)), max(1, round(whole[1] / shrink)))
            to_pixels = rescale_matrix(whole, target) @ to_pixels
            pixels = np.asarray(cv2.resize(pixels, target, interpolation=cv2.INTER_AREA), np.uint8)
        flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
        sampled = cv2.warpPerspective(pixels, to_pixels, size, flags=flags, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(sampled, np.uint8)

    def _half(self, times: int) -> Pixels:
        while len(self._halves) <= times and min(self._halves[-1].shape[:2]) >= 2 * _SMALLEST_PX:
            last = self._halves[-1]
            target = (last.shape[1] // 2, last.shape[0] // 2)
            self._halves.append(np.asarray(cv2.resize(last, target, interpolation=cv2.INTER_AREA), np.uint8))
        return self._halves[min(times, len(self._halves) - 1)]


def _part(pixels: Pixels, to_pixels: Matrix, size: tuple[int, int]) -> tuple[Pixels, Matrix]:
    """The part of the pixels that the frame looks at, with a border, and the map to it."""
    corners = np.array([[0.0, 0.0], [size[0], 0.0], [size[0], size[1]], [0.0, size[1]]])
    seen = project(to_pixels, corners)
    if not np.isfinite(seen).all() or (corners @ to_pixels[2, :2] + to_pixels[2, 2] <= 0).any():
        return pixels, to_pixels
    border = _BORDER_PX * max(1.0, scale_at(to_pixels, np.array(size) / 2))
    limit = np.array([pixels.shape[1], pixels.shape[0]])
    # OpenCV never returns from mirroring a strip of one pixel, which a frame beyond the photograph would look at.
    least = np.minimum(limit, _SMALLEST_PX)
    low = np.clip(np.floor(seen.min(axis=0) - border), 0, limit - least).astype(int)
    high = np.clip(np.ceil(seen.max(axis=0) + border), low + least, limit).astype(int)
    # Mirroring happens at the border of the part: where the frame looks beyond the photograph, the part ends there too.
    shift = np.array([[1.0, 0.0, -low[0]], [0.0, 1.0, -low[1]], [0.0, 0.0, 1.0]])
    return pixels[low[1] : high[1], low[0] : high[0]], shift @ to_pixels


def scale_at(matrix: Matrix, point: NDArray[np.float64]) -> float:
    """How many pixels of the target one pixel is long near a point (root of the local change of area)."""
    corners = project(matrix, point + np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    return float(np.sqrt(abs(np.linalg.det(corners[1:] - corners[0]))))
