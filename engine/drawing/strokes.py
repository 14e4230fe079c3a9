"""Match lines and points: anti-aliased, placed to a fraction of a pixel, blended over the photographs."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.drawing.palette import HALO, Colour

SHIFT = 8
"""Bits behind the point of the coordinates given to OpenCV."""

_SMOOTH_EDGE = 0.7
"""What a smoothed edge adds to a filled shape of OpenCV, in pixels."""

_FADE_FROM, _FADE_TO, _FADE_WEAKEST, _FADE_REACH = 80, 500, 0.35, 0.8
"""Lines begin to fade above the first number and fade most at the second, to this share of their opacity; they have it
all again at this share of the way from the seam to the border."""


@dataclass(frozen=True)
class Strokes:
    """How matches are drawn.

    Attributes:
        max_lines: most lines drawn, inliers and better matches first; 0 draws none.
        linewidth: of an inlier's line, in pixels of the picture; -1 chooses by their number.
        alpha: opacity of lines, 0 to 255.
        points: whether match ends are marked.
        point_radius: of a mark, in pixels of the picture; -1 follows the line width.
    """

    max_lines: int = 1000
    linewidth: int = 3
    alpha: int = 180
    points: bool = True
    point_radius: int = -1

    def opacity_along(self, width: int, seam: float, lines: int) -> NDArray[np.float32]:
        """Opacity 0 to 1 of lines at each column of a picture, [width].

        Many lines bury the photographs where they bundle, between the two; there they fade, the more the more they are.
        """
        crowd = np.clip(np.log(max(lines, 1) / _FADE_FROM) / np.log(_FADE_TO / _FADE_FROM), 0.0, 1.0)
        away = np.abs(np.arange(width) - seam) / max(seam, width - seam)
        ramp = np.clip(away / _FADE_REACH, 0.0, 1.0)
        smooth = ramp * ramp * (3.0 - 2.0 * ramp)
        weakest = 1.0 - crowd * (1.0 - _FADE_WEAKEST)
        return np.asarray(self.alpha / 255.0 * (weakest + (1.0 - weakest) * smooth), np.float32)

    def width_for(self, lines: int) -> int:
        """Line width in pixels when this many inlier lines are drawn."""
        if self.linewidth >= 0:
            return self.linewidth
        return 4 if lines <= 60 else 3 if lines <= 200 else 2

    def radius_for(self, width: int) -> int:
        """Radius in pixels of a mark at the end of a line of this width."""
        return self.point_radius if self.point_radius >= 0 else max(3, width + 2)


def fixed_point(points: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Points [N, 2] as the whole numbers OpenCV takes with `shift=SHIFT`."""
    return [(int(x), int(y)) for x, y in np.rint(points * (1 << SHIFT))]


def draw_bar(
    image: NDArray[np.uint8], start: NDArray[np.float64], end: NDArray[np.float64], width: int, colour: Colour
) -> None:
    """Draws an opaque line of exactly `width` pixels in place. OpenCV's own are 2 pixels too wide when smoothed."""
    if width <= 1:
        first, last = fixed_point(np.stack([start, end]))
        cv2.line(image, first, last, colour, 1, cv2.LINE_AA, SHIFT)
        return
    along = end - start
    length = float(np.hypot(along[0], along[1]))
    x, y = along / length if length > 0 else (1.0, 0.0)
    across = np.array([-y, x]) * (width / 2 - _SMOOTH_EDGE)
    corners = np.array(fixed_point(np.stack([start + across, end + across, end - across, start - across])), np.int32)
    cv2.fillConvexPoly(image, corners, colour, cv2.LINE_AA, SHIFT)


def draw_lines(
    image: NDArray[np.uint8],
    starts: NDArray[np.float64],
    ends: NDArray[np.float64],
    colours: NDArray[np.uint8],
    width: int,
    opacity: NDArray[np.float32],
    halo: bool,
) -> None:
    """Blends lines into `image` (uint8 RGB, in place), the last on top.

    All lines are painted opaque on a copy which is then blended once, so that crossings do not add up to a blot.

    Args:
        starts: [N, 2] (x, y) in pixels of the picture; `ends` likewise.
        colours: [N, 3] RGB.
        opacity: [W] 0 to 1, one per column of the picture.
        halo: whether each line has a dark edge, which sets it off from bright ground and from its neighbours.
    """
    if not len(starts) or width <= 0:
        return
    painted = image.copy()
    for start, end, colour in zip(starts, ends, colours.tolist(), strict=True):
        if halo:
            draw_bar(painted, start, end, width + 2, HALO)
        draw_bar(painted, start, end, width, colour)
    weight = np.ascontiguousarray(np.broadcast_to(opacity, image.shape[:2]))
    image[:] = cv2.blendLinear(painted, image, weight, 1.0 - weight)


def draw_points(image: NDArray[np.uint8], points: NDArray[np.float64], colours: NDArray[np.uint8], radius: int) -> None:
    """Marks points [N, 2] (x, y) with discs of the colours [N, 3] and a dark edge, in place, the last on top."""
    if radius <= 0:
        return
    one = 1 << SHIFT
    for centre, colour in zip(fixed_point(points), colours.tolist(), strict=True):
        cv2.circle(image, centre, int((radius + 1.5 - _SMOOTH_EDGE) * one), HALO, cv2.FILLED, cv2.LINE_AA, SHIFT)
        cv2.circle(image, centre, int(max(radius - _SMOOTH_EDGE, 0.5) * one), colour, cv2.FILLED, cv2.LINE_AA, SHIFT)
