"""Dense matching of aligned tokens: each token looks for its like near by, to a fraction of a patch."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import token_centres_px
from engine.refine.frame import OverlapFrame
from engine.refine.matches import FrameMatches
from engine.refine.temperature import grid_temperature

_NONE = -2.0
"""Stands for a similarity where there is no token."""

Tokens = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
"""uint8 RGB [H, W, 3], sides multiples of the stride, to L2-normalised tokens [N, D] float32."""


def dense_matches(frame: OverlapFrame, tokens: Tokens, stride: int, reach: int) -> FrameMatches:
    """Matches each token of a with the most similar one of b at most `reach` tokens away; mutual ones only.

    The position in b is the mean of the 3 x 3 tokens around the best, weighted by the soft-max of their similarities.
    A best token at the rim of the window is left out: its true place may lie beyond.
    """
    height, width = frame.a.shape[:2]
    rows, cols = height // stride, width // stride
    centres = token_centres_px(np.arange(rows * cols), (rows, cols), (width, height))
    seen = frame.seen(centres).reshape(rows, cols)
    grid_a, grid_b = (tokens(picture).reshape(rows, cols, -1) for picture in (frame.a, frame.b))
    volume = similarity_volume(grid_a, grid_b, seen, reach)
    side = 2 * reach + 1
    flat = volume.reshape(side * side, rows * cols)
    best = flat.argmax(axis=0)
    similarity = flat.max(axis=0)
    step_row, step_col = np.divmod(best, side)
    row, col = np.divmod(np.arange(rows * cols), cols)
    target = (row + step_row - reach).clip(0, rows - 1) * cols + (col + step_col - reach).clip(0, cols - 1)
    best_of_target = np.full(rows * cols, _NONE, np.float32)
    np.maximum.at(best_of_target, target, similarity)
    inner = (step_row > 0) & (step_row < side - 1) & (step_col > 0) & (step_col < side - 1)
    kept = np.flatnonzero((similarity > 0) & (similarity >= best_of_target[target]) & inner)
    kept = kept[np.argsort(-similarity[kept], kind="stable")]
    temperature = (grid_temperature(grid_a) + grid_temperature(grid_b)) / 2
    offset, variance = _soft_offset(volume, step_row[kept], step_col[kept], row[kept], col[kept], temperature)
    there = centres[kept] + stride * (offset - reach)
    return FrameMatches(centres[kept], there, stride * np.sqrt(variance), similarity[kept].astype(np.float64))


def similarity_volume(
    grid_a: NDArray[np.float32], grid_b: NDArray[np.float32], seen: NDArray[np.bool_], reach: int
) -> NDArray[np.float32]:
    """[2 r + 1, 2 r + 1, rows, cols] float32: cosine of token (row, col) of a and b's, displaced by (i - r, j - r).

    Args:
        grid_a, grid_b: [rows, cols, D], L2-normalised.
        seen: [rows, cols]; -2 stands where either token is not seen.
    """
    rows, cols = seen.shape
    side = 2 * reach + 1
    volume = np.full((side, side, rows, cols), _NONE, np.float32)
    for i in range(side):
        for j in range(side):
            down, right = i - reach, j - reach
            here = np.s_[max(0, -down) : min(rows, rows - down), max(0, -right) : min(cols, cols - right)]
            there = np.s_[max(0, down) : min(rows, rows + down), max(0, right) : min(cols, cols + right)]
            product = np.einsum("rcd,rcd->rc", grid_a[here], grid_b[there])
            volume[i, j][here] = np.where(seen[here] & seen[there], product, _NONE)
    return volume


def _soft_offset(
    volume: NDArray[np.float32],
    step_row: NDArray[np.intp],
    step_col: NDArray[np.intp],
    row: NDArray[np.intp],
    col: NDArray[np.intp],
    temperature: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """[M, 2] soft arg-max (col, row) of displacement indices around the best one; its variance [M] along an axis."""
    best = volume[step_row, step_col, row, col]
    total = np.zeros(len(row))
    mean, square = np.zeros((len(row), 2)), np.zeros(len(row))
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            value = volume[step_row + down, step_col + right, row, col]
            weight = np.where(value > _NONE, np.exp((value - best) / temperature), 0.0)
            total += weight
            mean += weight[:, None] * np.array([right, down])
            square += weight * (right**2 + down**2)
    mean /= total[:, None]
    variance = np.maximum(square / total - (mean**2).sum(axis=1), 1e-4) / 2
    return np.column_stack([step_col, step_row]) + mean, np.asarray(variance)
