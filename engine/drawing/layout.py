"""Where things stand on a picture: a header band, the photographs side by side at one height, a footer.

Every picture is as wide, whatever the photographs measure, so that text and lines keep their proportion to it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import rescale_matrix
from engine.drawing.palette import BACKGROUND

WIDTH = 2400
MARGIN = 24
GAP = 12
HEADER = 136
FOOTER = 124
TALLEST_PHOTOGRAPH = 1500


@dataclass(frozen=True)
class Panel:
    """Where a photograph stands: left, top, width and height in pixels of the picture; its own size in pixels."""

    left: int
    top: int
    width: int
    height: int
    image_size: tuple[int, int]

    @property
    def right(self) -> int:
        return self.left + self.width

    @property
    def bottom(self) -> int:
        return self.top + self.height

    @property
    def matrix(self) -> NDArray[np.float64]:
        """[3, 3] map of original pixels of the photograph to pixels of the picture."""
        shift = np.array([[1.0, 0.0, self.left], [0.0, 1.0, self.top], [0.0, 0.0, 1.0]])
        return np.asarray(shift @ rescale_matrix(self.image_size, (self.width, self.height)))


@dataclass(frozen=True)
class Layout:
    """The picture's height in pixels (its width is `WIDTH`) and the places of the two photographs."""

    height: int
    panel_a: Panel
    panel_b: Panel


def place(size_a: tuple[int, int], size_b: tuple[int, int]) -> Layout:
    """Places two photographs of these sizes (width, height): as large as fits, at one height, centred."""
    room = WIDTH - 2 * MARGIN - GAP
    aspect_a, aspect_b = size_a[0] / size_a[1], size_b[0] / size_b[1]
    height = max(1, min(TALLEST_PHOTOGRAPH, int(room / (aspect_a + aspect_b))))
    width_a = min(room - 1, max(1, round(height * aspect_a)))
    width_b = min(room - width_a, max(1, round(height * aspect_b)))
    left = MARGIN + (room - width_a - width_b) // 2
    panel_a = Panel(left, HEADER, width_a, height, size_a)
    panel_b = Panel(panel_a.right + GAP, HEADER, width_b, height, size_b)
    return Layout(HEADER + height + FOOTER, panel_a, panel_b)


def place_one(size: tuple[int, int]) -> tuple[int, Panel]:
    """The picture's height and the place of a single photograph of this size: as large as fits, centred."""
    room = WIDTH - 2 * MARGIN
    height = max(1, min(TALLEST_PHOTOGRAPH, int(room * size[1] / size[0])))
    width = min(room, max(1, round(height * size[0] / size[1])))
    return HEADER + height + FOOTER, Panel(MARGIN + (room - width) // 2, HEADER, width, height, size)


def blank(height: int) -> NDArray[np.uint8]:
    """A picture of nothing but ground."""
    return np.full((height, WIDTH, 3), BACKGROUND, np.uint8)


def view(picture: NDArray[np.uint8], panel: Panel) -> NDArray[np.uint8]:
    """The part of a picture where a panel stands; writing to it writes to the picture."""
    return picture[panel.top : panel.bottom, panel.left : panel.right]


def fitted(image: NDArray[np.uint8], panel: Panel) -> NDArray[np.uint8]:
    """A photograph at the size of its panel."""
    shrinks = panel.width <= image.shape[1] and panel.height <= image.shape[0]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (panel.width, panel.height), interpolation=method), np.uint8)


def place_photograph(picture: NDArray[np.uint8], image: NDArray[np.uint8], panel: Panel) -> None:
    """Puts a photograph into its panel, in place."""
    view(picture, panel)[:] = fitted(image, panel)
