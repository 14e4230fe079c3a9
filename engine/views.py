"""Views of a photograph: turned and scaled before it is encoded, so that descriptors of a turned scene can meet.

A view is made from the photograph encoded upright at size (W, H): it is turned about its centre onto a canvas that
holds all of it, each side rounded up to the stride. In pixels, x to the right and y down,
`p_canvas - c_canvas = R (p_encoded - c_encoded)`, `R = [[cos, -sin], [sin, cos]]`: the picture turns clockwise.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, order=True)
class View:
    """How a photograph is presented to the graph.

    Attributes:
        rotation_deg: clockwise turn, 0 to 360 (exclusive).
        scale: factor on the shorter side of the encoded image.
    """

    rotation_deg: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (0.0 <= self.rotation_deg < 360.0) or not (math.isfinite(self.scale) and self.scale > 0):
            raise ValueError(f"no such view: {self}")

    @property
    def word(self) -> str:
        """The view in a word, as folders are named: `upright`, `r090`, `r030_s0.5`."""
        turn = f"r{self.rotation_deg:03g}" if self.rotation_deg else ""
        scale = f"s{self.scale:g}" if self.scale != 1.0 else ""
        return "_".join(part for part in (turn, scale) if part) or "upright"


UPRIGHT = View()


def canvas_size(encoded: tuple[int, int], rotation_deg: float, stride: int) -> tuple[int, int]:
    """(width, height) in pixels of the canvas that holds the turned picture, multiples of the stride."""
    if rotation_deg in (0.0, 180.0):
        return encoded
    if rotation_deg in (90.0, 270.0):
        return encoded[1], encoded[0]
    cos, sin = abs(math.cos(math.radians(rotation_deg))), abs(math.sin(math.radians(rotation_deg)))
    width, height = encoded[0] * cos + encoded[1] * sin, encoded[0] * sin + encoded[1] * cos
    return math.ceil(width / stride - 1e-9) * stride, math.ceil(height / stride - 1e-9) * stride


def canvas_to_encoded(encoded: tuple[int, int], canvas: tuple[int, int], rotation_deg: float) -> NDArray[np.float64]:
    """[3, 3] map from pixels of the canvas to pixels of the upright encoded picture."""
    cos, sin = math.cos(math.radians(rotation_deg)), math.sin(math.radians(rotation_deg))
    middle_x, middle_y = (canvas[0] - 1) / 2, (canvas[1] - 1) / 2
    centre_x, centre_y = (encoded[0] - 1) / 2, (encoded[1] - 1) / 2
    return np.array(
        [
            [cos, sin, centre_x - cos * middle_x - sin * middle_y],
            [-sin, cos, centre_y + sin * middle_x - cos * middle_y],
            [0.0, 0.0, 1.0],
        ]
    )


def turn(picture: NDArray[np.uint8], rotation_deg: float, stride: int) -> NDArray[np.uint8]:
    """The picture [H, W, 3] on the canvas of a view; what lies outside it is filled with its mirror image.

    Quarter turns move pixels exactly; other angles are sampled bicubically.
    """
    if rotation_deg % 90.0 == 0.0:
        return np.ascontiguousarray(np.rot90(picture, -int(rotation_deg // 90)))
    encoded = (picture.shape[1], picture.shape[0])
    canvas = canvas_size(encoded, rotation_deg, stride)
    matrix = canvas_to_encoded(encoded, canvas, rotation_deg)
    import cv2  # here, so that plugins can import the public face without loading OpenCV

    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpAffine(picture, matrix[:2], canvas, flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )
