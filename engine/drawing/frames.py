"""The frame of one photograph, and where it falls on the other."""

from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project
from engine.drawing.palette import FRAME, HALO, Colour
from engine.drawing.strokes import SHIFT, draw_bar, fixed_point

_FRAME_STEPS = 64


def projected_frame(
    matrix: NDArray[np.float64], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The border of an image of `size` (width, height) under a [3, 3] point map, as segments.

    Segments behind the horizon of a perspective map (on its other side than the centre of the image) are left out.

    Returns:
        starts and ends, [K, 2] float64 each; the first `K / 4` come from the upper border where none is left out.
    """
    left, top, right, bottom = -0.5, -0.5, size[0] - 0.5, size[1] - 0.5
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom], [left, top]])
    along = np.linspace(0.0, 1.0, _FRAME_STEPS, endpoint=False)[:, None]
    border = np.concatenate([a + along * (b - a) for a, b in pairwise(corners)])
    depth = np.column_stack([border, np.ones(len(border))]) @ matrix[2]
    centre_depth = float(np.array([(left + right) / 2, (top + bottom) / 2, 1.0]) @ matrix[2])
    seen = depth * np.sign(centre_depth) > 1e-3 * abs(centre_depth)
    mapped = project(matrix, border)
    kept = seen & np.roll(seen, -1)
    return mapped[kept], np.roll(mapped, -1, axis=0)[kept]


def top_arrow(size: tuple[int, int]) -> NDArray[np.float64]:
    """A triangle at the upper border of an image of `size`, pointing up: [3, 2] in its pixels."""
    middle, reach = (size[0] - 1) / 2, 0.016 * min(size)
    return np.array([[middle, -0.5], [middle + reach, 1.8 * reach - 0.5], [middle - reach, 1.8 * reach - 0.5]])


def draw_segments(
    image: NDArray[np.uint8], starts: NDArray[np.float64], ends: NDArray[np.float64], width: int, colour: Colour = FRAME
) -> None:
    """Draws segments opaque with a dark edge beneath, in place; what leaves the image is clipped."""
    reach = 16.0 * max(image.shape[:2])
    near = (np.abs(starts) < reach).all(axis=1) & (np.abs(ends) < reach).all(axis=1)
    segments = list(zip(starts[near], ends[near], strict=True))
    for line_width, line_colour in ((width + 4, HALO), (width, colour)):
        for start, end in segments:
            draw_bar(image, start, end, line_width, line_colour)


def draw_arrow(image: NDArray[np.uint8], triangle: NDArray[np.float64], colour: Colour = FRAME) -> None:
    """Fills a triangle [3, 2] in pixels of `image`, in place, unless it lies far outside."""
    if not np.isfinite(triangle).all() or np.abs(triangle).max() > 16.0 * max(image.shape[:2]):
        return
    fixed = np.array(fixed_point(triangle), np.int32)
    cv2.polylines(image, [fixed], True, HALO, 4, cv2.LINE_AA, SHIFT)
    cv2.fillConvexPoly(image, fixed, colour, cv2.LINE_AA, SHIFT)
