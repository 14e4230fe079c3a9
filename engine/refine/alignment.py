"""The yardstick of refinement: how alike the structure of two photographs is once one is warped onto the other.

It looks at pixels, not at matches, so it is independent of what it judges.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.refine.frame import OverlapFrame, overlap_frame
from engine.refine.photograph import Matrix, Photograph, Pixels

COARSE_PX = 384
"""Shorter side of the common frame."""
BLOCK_PX = 32


def alignment(a: Photograph, b: Photograph, matrix: Matrix, shorter_px: int = COARSE_PX) -> float | None:
    """How alike the structure of both photographs is where they overlap under a model [3, 3], -1 to 1.

    The mean zero-normalised correlation of gradient magnitudes over blocks of a common frame; magnitudes, as seasons
    turn light into dark. None where there is no overlap.
    """
    frame = overlap_frame(a, b, matrix, shorter_px, BLOCK_PX)
    return None if frame is None else likeness(frame)


def likeness(frame: OverlapFrame) -> float | None:
    """The alignment of a frame whose sides are multiples of the block; None where no block is seen in both."""
    height, width = frame.a.shape[:2]
    rows, cols = height // BLOCK_PX, width // BLOCK_PX
    middle_x, middle_y = np.meshgrid((np.arange(cols) + 0.5) * BLOCK_PX, (np.arange(rows) + 0.5) * BLOCK_PX)
    seen = frame.seen(np.column_stack([middle_x.ravel(), middle_y.ravel()]))
    if not seen.any():
        return None
    blocks = [_blocks(_gradient(picture), rows, cols)[seen] for picture in (frame.a, frame.b)]
    first, second = (block - block.mean(axis=1, keepdims=True) for block in blocks)
    norm = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(np.mean((first * second).sum(axis=1) / np.maximum(norm, 1e-6)))


def _gradient(picture: Pixels) -> NDArray[np.float32]:
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), 1.0)
    magnitude = cv2.magnitude(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
    return np.asarray(cv2.GaussianBlur(np.log1p(magnitude), (0, 0), 1.0), np.float32)


def _blocks(values: NDArray[np.float32], rows: int, cols: int) -> NDArray[np.float32]:
    """[rows * cols, pixels] float32."""
    cut = values[: rows * BLOCK_PX, : cols * BLOCK_PX].reshape(rows, BLOCK_PX, cols, BLOCK_PX)
    return cut.transpose(0, 2, 1, 3).reshape(rows * cols, -1)
