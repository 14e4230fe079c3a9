"""Random pairs of views of one aerial tile, with the exact geometry between them.

Coordinates are pixels, the centre of the top-left pixel at (0, 0).
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]


SMALL_SHIFT = 0.12
"""Shift of views that lie roughly over each other, as a share of their side."""


@dataclass(frozen=True)
class ViewRanges:
    """How much each of the two views may differ from the tile.

    Attributes:
        rotation_deg: largest rotation of a view, either way; two views then differ by up to twice that.
        scale: smallest and largest size of a view's pixels in pixels of the tile, drawn log-uniformly.
        shear: largest shear (tangent), either way.
        perspective: largest change of the projective denominator over the width of a view.
        colour: strength of the colour, tone, blur and noise changes; 1 is strong.
        shift: largest shift of view b from view a along each axis, as a share of the view's side. Views that share
            their centre teach a network to match by the place in the picture, which says nothing in the field.
        centred_share: share of the pairs whose views are shifted by at most `SMALL_SHIFT` all the same.
    """

    rotation_deg: float
    scale: tuple[float, float]
    shear: float = 0.1
    perspective: float = 0.1
    colour: float = 1.0
    shift: float = SMALL_SHIFT
    centred_share: float = 0.0


TRAINING_VIEWS = ViewRanges(rotation_deg=32.0, scale=(0.66, 1.5), shift=0.5, centred_share=0.5)
HELD_OUT_VIEWS = ViewRanges(rotation_deg=30.0, scale=(0.7, 1.45))
SHIFTED_VIEWS = ViewRanges(rotation_deg=30.0, scale=(0.7, 1.45), shift=0.5)


@dataclass(frozen=True)
class ViewPair:
    """Two uint8 RGB views [S, S, 3] of a tile, and the homographies from the pixels of each view to the tile's."""

    view_a: Image
    view_b: Image
    a_to_tile: Matrix
    b_to_tile: Matrix

    @property
    def a_to_b(self) -> Matrix:
        return np.asarray(np.linalg.inv(self.b_to_tile) @ self.a_to_tile)


def random_view_pair(tile: Image, size: int, ranges: ViewRanges, rng: np.random.Generator) -> ViewPair:
    """Draws two views of `size` pixels from an RGB tile [H, W, 3] uint8, both turned by the same quarter turns."""
    height, width = tile.shape[:2]
    quarter_turn = 90.0 * int(rng.integers(4))
    mirror = bool(rng.integers(2))
    centre = np.array([width - 1, height - 1]) / 2 + rng.uniform(-0.1, 0.1, 2) * (width, height)
    a_to_tile = _placement(size, centre, quarter_turn, mirror, ranges, rng)
    centred = ranges.centred_share > 0 and rng.random() < ranges.centred_share
    reach = min(ranges.shift, SMALL_SHIFT) if centred else ranges.shift
    shift = rng.uniform(-reach, reach, 2) * size
    b_to_tile = _placement(size, centre + shift, quarter_turn, mirror, ranges, rng)
    view_a = _recolour(_warp(tile, a_to_tile, size), ranges.colour, rng)
    view_b = _recolour(_warp(tile, b_to_tile, size), ranges.colour, rng)
    return ViewPair(view_a, view_b, a_to_tile, b_to_tile)


def _placement(
    size: int,
    centre: NDArray[np.float64],
    base_angle_deg: float,
    mirror: bool,
    ranges: ViewRanges,
    rng: np.random.Generator,
) -> Matrix:
    """Homography from view pixels to tile pixels: the view's centre lands on `centre`."""
    middle = (size - 1) / 2
    to_origin = np.array([[1, 0, -middle], [0, 1, -middle], [0, 0, 1.0]])
    tilt = rng.uniform(-ranges.perspective, ranges.perspective, 2) / size
    projective = np.array([[1, 0, 0], [0, 1, 0], [tilt[0], tilt[1], 1.0]])
    shear = np.array([[1, rng.uniform(-ranges.shear, ranges.shear), 0], [0, 1, 0], [0, 0, 1.0]])
    angle = np.deg2rad(base_angle_deg + rng.uniform(-ranges.rotation_deg, ranges.rotation_deg))
    scale = np.exp(rng.uniform(*np.log(ranges.scale)))
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    turn = np.array([[cos, -sin, centre[0]], [sin, cos, centre[1]], [0, 0, 1.0]])
    flip = np.diag([-1.0 if mirror else 1.0, 1.0, 1.0])
    return np.asarray(turn @ flip @ shear @ projective @ to_origin)


def _warp(tile: Image, view_to_tile: Matrix, size: int) -> Image:
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(
        cv2.warpPerspective(tile, view_to_tile, (size, size), flags=flags, borderMode=cv2.BORDER_REFLECT_101), np.uint8
    )


def _recolour(view: Image, strength: float, rng: np.random.Generator) -> Image:
    """Changes light, season and sharpness; positions stay."""
    pixels = view.astype(np.float32) / 255.0
    mix = np.eye(3) + rng.normal(0, 0.12 * strength, (3, 3))
    pixels = pixels @ mix.T.astype(np.float32)
    grey = pixels.mean(axis=2, keepdims=True)
    pixels = grey + (pixels - grey) * np.float32(rng.uniform(1 - 0.9 * strength, 1 + 0.6 * strength))
    contrast = rng.uniform(1 - 0.5 * strength, 1 + 0.5 * strength)
    pixels = (pixels - 0.5) * np.float32(contrast) + np.float32(0.5 + rng.normal(0, 0.1 * strength))
    pixels = pixels + rng.normal(0, 0.06 * strength, 3).astype(np.float32)
    gamma = np.float32(np.exp(rng.normal(0, 0.3 * strength)))
    pixels = np.asarray(np.clip(pixels, 0.0, 1.0) ** gamma, np.float32)
    if rng.random() < 0.5 * strength:
        pixels = _shade(pixels, 0.5 * strength, rng)
    if rng.random() < 0.5 * strength:
        pixels = np.asarray(cv2.GaussianBlur(pixels, (0, 0), float(rng.uniform(0.3, 1.6))), np.float32)
    if rng.random() < 0.6 * strength:
        pixels = pixels + rng.standard_normal(pixels.shape, np.float32) * np.float32(rng.uniform(0.0, 0.06))
    if rng.random() < 0.3 * strength:
        pixels = _occlude(pixels, rng)
    return np.asarray(np.clip(pixels * 255.0 + 0.5, 0, 255).astype(np.uint8))


def _shade(pixels: NDArray[np.float32], amount: float, rng: np.random.Generator) -> NDArray[np.float32]:
    """Multiplies by a smooth random field: cloud shadow, haze and uneven light."""
    coarse = rng.uniform(1 - amount, 1 + amount, (4, 4)).astype(np.float32)
    field = cv2.resize(coarse, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(pixels * field[:, :, None], 0.0, 1.0), np.float32)


def _occlude(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Covers a rectangle with one colour: something that was built, parked or felled between the dates."""
    size = pixels.shape[0]
    height, width = rng.integers(size // 12, size // 4, 2)
    top, left = rng.integers(0, size - height), rng.integers(0, size - width)
    covered = pixels.copy()
    covered[top : top + height, left : left + width] = rng.random(3).astype(np.float32)
    return covered


def patch_targets(
    pair: ViewPair, tile_size: tuple[int, int], patch: int
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where each patch centre of a lies in b.

    Args:
        tile_size: (width, height) of the tile in pixels.
        patch: side of a patch in pixels.

    Returns:
        Position (row, col) in patch units of b's grid, [N, 2] float32, integers at patch centres; and whether the
        point is seen in both views [N].
    """
    side = pair.view_a.shape[0] // patch
    index = np.arange(side)
    cols, rows = np.meshgrid(index, index)
    centres = np.stack([cols.ravel(), rows.ravel()], axis=1) * patch + (patch - 1) / 2
    in_tile = _project(pair.a_to_tile, centres)
    in_b = _project(pair.a_to_b, centres)
    seen = ((in_tile >= 0) & (in_tile <= np.array(tile_size) - 1)).all(axis=1)
    seen &= ((in_b >= 0) & (in_b <= pair.view_b.shape[0] - 1)).all(axis=1)
    positions = (in_b[:, ::-1] - (patch - 1) / 2) / patch
    return positions.astype(np.float32), seen


def _project(homography: Matrix, points: NDArray[np.float64]) -> NDArray[np.float64]:
    mapped = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return np.asarray(mapped[:, :2] / mapped[:, 2:])
