"""Brushes: antialiased lines and polygons as masks, and laying colours over a canvas."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.demo.noise import Field
from engine.demo.plan import EdgeKind, Plan
from engine.demo.polygons import Points

Canvas = NDArray[np.float32]
"""[H, W, 3] float32 reflectance, RGB, gamma 2."""
Mask = NDArray[np.uint8]
"""[H, W] uint8 coverage, 255 is full."""

_SUBPIXEL_BITS = 4


def stroke(plan: Plan, lines: list[Points], width_px: float) -> Mask:
    """Coverage of lines of this width, antialiased."""
    fine = 1 << _SUBPIXEL_BITS
    mask = np.zeros(plan.shape, np.uint8)
    if width_px >= 4.0:
        for line in lines:
            points = np.rint(line * fine).astype(np.int32)
            cv2.polylines(mask, [points], False, 255, round(width_px), cv2.LINE_AA, _SUBPIXEL_BITS)
        return mask
    for line in lines:
        for here, there in pairwise(line):
            along = there - here
            side = np.array([-along[1], along[0]]) / max(float(np.linalg.norm(along)), 1e-9) * width_px / 2
            quad = np.array([here + side, there + side, there - side, here - side])
            cv2.fillConvexPoly(mask, np.rint(quad * fine).astype(np.int32), 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    return mask


def lines_of(plan: Plan, *kinds: EdgeKind) -> list[Points]:
    """Lines of the edges of these kinds."""
    return [edge.line for edge in plan.edges if edge.kind in kinds]


def fill(raster: NDArray[np.uint8] | NDArray[np.int32], outline: Points, value: int) -> None:
    """Fills a polygon in place: antialiased in a mask, with hard borders in an array of labels."""
    points = np.rint(outline * (1 << _SUBPIXEL_BITS)).astype(np.int32)
    line_type = cv2.LINE_AA if raster.dtype == np.uint8 else cv2.LINE_8
    cv2.fillPoly(raster, [points], value, line_type, _SUBPIXEL_BITS)


def grown(mask: Mask, size_px: int) -> Mask:
    """The mask with everything that is closer than half `size_px` (odd) to it."""
    return np.asarray(cv2.dilate(mask, np.ones((size_px, size_px), np.uint8)), np.uint8)


def softened(mask: Mask, sigma_px: float) -> Mask:
    """The mask with soft borders."""
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), sigma_px), np.uint8)


def blend(canvas: Canvas, coverage: Mask | Field, colour: NDArray[np.float32]) -> None:
    """Lays a colour ([3], or one per pixel) over the canvas in place, where there is coverage (uint8, or 0 to 1)."""
    rows, cols = np.nonzero(coverage)
    if not len(rows):
        return
    share = coverage[rows, cols].astype(np.float32)
    if coverage.dtype == np.uint8:
        share /= np.float32(255.0)
    over = colour[rows, cols] if colour.ndim == 3 else colour
    canvas[rows, cols] += (over - canvas[rows, cols]) * share[:, None]
