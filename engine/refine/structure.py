"""Structure matching: blocks of the aligned overlap found again near by, to a fraction of a pixel.

Pixels are described by their gradient's share in four directions, normalised over the directions, so that light, haze
and season matter little: a simple form of the channel features of oriented gradients of Y. Ye et al., "Fast and robust
matching for multimodal remote sensing image registration", IEEE TGRS 57(11), 2019. A block is looked for by zero-mean
normalised correlation, both ways; the peak is placed by a parabola along each axis.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.refine.frame import OverlapFrame
from engine.refine.matches import FrameMatches, joined
from engine.refine.photograph import Pixels

DIRECTIONS = 4
"""Also the most channels that OpenCV's template matching correlates with their means taken out."""
_GREY_SIGMA = 0.7
_CHANNEL_SIGMA = 1.0
_FLOOR = 0.5
"""Gradients weaker than this share of the picture's median one count for less: they are noise more than structure."""
_FLATTEST = 1e-6


@dataclass(frozen=True)
class Blocks:
    """How a frame is searched, in its pixels: side of a block, how far it is looked for, distance of neighbours."""

    side: int
    reach: int
    step: int

    @property
    def chance(self) -> float:
        """Share of the window that a disc of one pixel's radius covers."""
        return float(np.pi / (2 * self.reach + 1) ** 2)


def structure_matches(frame: OverlapFrame, blocks: Blocks) -> FrameMatches:
    """Matches of blocks of a in b and of b in a, most alike first; a peak at the rim of its window is left out."""
    channels_a, channels_b = oriented_gradients(frame.a), oriented_gradients(frame.b)
    places = _places(frame, blocks)
    there, at_b, value, spread = _find(channels_a, channels_b, places, blocks)
    forth = FrameMatches(_centres(places[there]), at_b, spread, value)
    back_there, at_a, back_value, back_spread = _find(channels_b, channels_a, places, blocks)
    back = FrameMatches(at_a, _centres(places[back_there]), back_spread, back_value)
    return joined([forth, back])


def oriented_gradients(picture: Pixels) -> NDArray[np.float32]:
    """[H, W, 4] float32: smoothed strength of the gradient along four directions, normalised at each pixel."""
    grey = cv2.GaussianBlur(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32), (0, 0), _GREY_SIGMA)
    along_x, along_y = cv2.Scharr(grey, cv2.CV_32F, 1, 0), cv2.Scharr(grey, cv2.CV_32F, 0, 1)
    channels = np.empty((*grey.shape, DIRECTIONS), np.float32)
    for index, angle in enumerate(np.pi * np.arange(DIRECTIONS) / DIRECTIONS):
        strength = np.abs(along_x * np.float32(np.cos(angle)) + along_y * np.float32(np.sin(angle)))
        channels[..., index] = cv2.GaussianBlur(strength, (0, 0), _CHANNEL_SIGMA)
    total = np.linalg.norm(channels, axis=2, keepdims=True)
    return np.asarray(channels / (total + _FLOOR * np.median(total) + 1e-3), np.float32)


def _places(frame: OverlapFrame, blocks: Blocks) -> NDArray[np.int64]:
    """[N, 2] (x, y): first pixel right of and below the middle of each block that both photographs show."""
    height, width = frame.a.shape[:2]
    rim = blocks.side // 2 + blocks.reach
    x, y = np.meshgrid(np.arange(rim, width - rim + 1, blocks.step), np.arange(rim, height - rim + 1, blocks.step))
    places = np.column_stack([x.ravel(), y.ravel()])
    return places[frame.seen(_centres(places))] if len(places) else places


def _centres(places: NDArray[np.int64]) -> NDArray[np.float64]:
    """[N, 2] middles of blocks."""
    return places.astype(np.float64) - 0.5


def _find(
    template: NDArray[np.float32], searched: NDArray[np.float32], places: NDArray[np.int64], blocks: Blocks
) -> tuple[NDArray[np.bool_], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Which blocks were found, where [K, 2], how alike [K], and their spread [K]: an uncertainty up to a factor."""
    half, rim, reach = blocks.side // 2, blocks.side // 2 + blocks.reach, blocks.reach
    found = np.zeros(len(places), bool)
    points, values, spreads = [], [], []
    for number, (x, y) in enumerate(places):
        surface = cv2.matchTemplate(
            searched[y - rim : y + rim, x - rim : x + rim],
            template[y - half : y + half, x - half : x + half],
            cv2.TM_CCOEFF_NORMED,
        )
        _, value, _, (col, row) = cv2.minMaxLoc(surface)
        if not (0 < col < 2 * reach and 0 < row < 2 * reach) or not 0 < value <= 1.0:
            continue
        near = surface[row - 1 : row + 2, col - 1 : col + 2].astype(np.float64)
        bend_x, bend_y = near[1, 0] + near[1, 2] - 2 * near[1, 1], near[0, 1] + near[2, 1] - 2 * near[1, 1]
        if bend_x > -_FLATTEST or bend_y > -_FLATTEST:
            continue
        off_x, off_y = (near[1, 0] - near[1, 2]) / (2 * bend_x), (near[0, 1] - near[2, 1]) / (2 * bend_y)
        found[number] = True
        points.append((x - 0.5 + col - reach + off_x, y - 0.5 + row - reach + off_y))
        values.append(value)
        # The variance of a correlation peak falls with its curvature and rises with what is unlike.
        spreads.append(np.sqrt((1.0 - value + _FLATTEST) * 0.5 * (1 / -bend_x + 1 / -bend_y)))
    return (
        found,
        np.array(points, np.float64).reshape(-1, 2),
        np.array(values, np.float64),
        np.array(spreads, np.float64),
    )
