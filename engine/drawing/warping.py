"""One photograph laid over the other by the geometry found."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import rescale_matrix
from engine.drawing.layout import Panel
from engine.errors import WorkError

_FLATTEST = 1e-9
_LARGEST_SHIFT = 1e9


@dataclass(frozen=True, eq=False)
class Warped:
    """b as seen in the frame of a.

    Attributes:
        pixels: [h, w, 3] uint8 at the panel's size.
        inside: [h, w] float32, 1 where b covers a, 0 where not, between at b's border.
        matrix: [3, 3] point map from original pixels of b to those of a.
    """

    pixels: NDArray[np.uint8]
    inside: NDArray[np.float32]
    matrix: NDArray[np.float64]


def b_on_a(image_b: NDArray[np.uint8], point_map: NDArray[np.float64], panel: Panel) -> Warped:
    """Warps b into the panel of a.

    Args:
        image_b: [H, W, 3] uint8.
        point_map: [3, 3] from original pixels of a to those of b.
        panel: where a stands.

    Raises:
        WorkError: the map cannot be turned round, or sends a to nowhere.
    """
    size_b = (image_b.shape[1], image_b.shape[0])
    scaled = point_map / np.abs(point_map).max() if np.isfinite(point_map).all() and point_map.any() else None
    if (
        scaled is None
        or abs(np.linalg.det(scaled)) < _FLATTEST * np.abs(scaled[2, 2])
        or not _reaches(point_map, panel)
    ):
        raise WorkError("the geometry found flattens the photograph, so nothing can be laid over it: verify again")
    corner = np.array([[1.0, 0.0, -panel.left], [0.0, 1.0, -panel.top], [0.0, 0.0, 1.0]])
    panel_to_b = point_map @ np.linalg.inv(corner @ panel.matrix)
    # OpenCV samples single pixels: where b is to be shrunk, that is done first and with all of them.
    shrink = min(1.0, max(_magnification(panel_to_b, panel), 1.0 / max(size_b)))
    small_size = (max(1, round(size_b[0] * shrink)), max(1, round(size_b[1] * shrink)))
    small = cv2.resize(image_b, small_size, interpolation=cv2.INTER_AREA) if shrink < 1 else image_b
    panel_to_small = rescale_matrix(size_b, small_size) @ panel_to_b
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    target = (panel.width, panel.height)
    pixels = cv2.warpPerspective(small, panel_to_small, target, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    full = np.ones(small.shape[:2], np.float32)
    inside = np.asarray(cv2.warpPerspective(full, panel_to_small, target, flags=flags), np.float32)
    # Beyond the horizon of a perspective map the same formula gives a mirrored ghost.
    x, y = np.arange(panel.width), np.arange(panel.height)[:, None]
    depth = panel_to_b[2, 0] * x + panel_to_b[2, 1] * y + panel_to_b[2, 2]
    inside[depth * depth[panel.height // 2, panel.width // 2] <= 0] = 0.0
    return Warped(np.asarray(pixels, np.uint8), inside, np.asarray(np.linalg.inv(point_map)))


def _reaches(point_map: NDArray[np.float64], panel: Panel) -> bool:
    middle = np.array([(panel.image_size[0] - 1) / 2, (panel.image_size[1] - 1) / 2, 1.0])
    x, y, depth = point_map @ middle
    return bool(depth != 0 and max(abs(x / depth), abs(y / depth)) < _LARGEST_SHIFT)


def _magnification(panel_to_b: NDArray[np.float64], panel: Panel) -> float:
    """Pixels of the panel to a pixel of b along one direction, at the middle of the panel."""
    middle = np.array([(panel.width - 1) / 2, (panel.height - 1) / 2, 1.0])
    depth = float(panel_to_b[2] @ middle)
    area = abs(float(np.linalg.det(panel_to_b))) / abs(depth) ** 3  # Jacobian of a projective map
    return float(1.0 / np.sqrt(max(area, 1e-12)))


def blended(image_a: NDArray[np.uint8], warped: Warped, opacity: float = 0.5) -> NDArray[np.uint8]:
    """a with b over it; both [h, w, 3] at the panel's size."""
    weight = opacity * warped.inside
    return np.asarray(cv2.blendLinear(warped.pixels, image_a, weight, 1.0 - weight), np.uint8)


def checkered(image_a: NDArray[np.uint8], warped: Warped, field_px: int) -> NDArray[np.uint8]:
    """a, with b in every second field of `field_px` pixels; the first is a's."""
    height, width = image_a.shape[:2]
    rows, cols = np.arange(height)[:, None] // field_px, np.arange(width) // field_px
    weight = np.where((rows + cols) % 2 == 1, warped.inside, np.float32(0.0)).astype(np.float32)
    return np.asarray(cv2.blendLinear(warped.pixels, image_a, weight, np.float32(1.0) - weight), np.uint8)
