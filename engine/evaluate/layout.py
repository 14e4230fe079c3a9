"""Where two virtual cameras look: the geometry of a synthetic pair, exact by construction.

The ground is measured in pixels of a about a's centre. Picture b sees it turned, enlarged, tilted and moved; then both
are laid into a source photograph.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.evaluate.overlap import footprint, intersection, shared_fraction, spread_points

Matrix = NDArray[np.float64]

FIELD_OF_VIEW_DEG = 50.0
"""Angle of view of the tilted camera, across the longer side of its picture."""
MARGIN_PX = 3.0
"""Source pixels between a footprint and the source's border."""
_BISECTIONS = 36


@dataclass(frozen=True)
class Geometry:
    """How b's view differs from a's.

    Attributes:
        size_a, size_b: (width, height) in pixels.
        rotation_deg: how far things appear turned in b against a, clockwise.
        scale: how many times larger things appear in b, at its centre.
        tilt_deg: b's camera off the vertical; `tilt_towards_deg` the direction it leans to.
        overlap: shared ground as a fraction of the smaller footprint; where that cannot be had (two equal squares at
            45 degrees share at most 83 %), as much as can.
        offset_deg: direction in which b is moved away.
    """

    size_a: tuple[int, int] = (512, 512)
    size_b: tuple[int, int] = (512, 512)
    rotation_deg: float = 0.0
    scale: float = 1.0
    tilt_deg: float = 0.0
    tilt_towards_deg: float = 0.0
    overlap: float = 1.0
    offset_deg: float = 0.0


@dataclass(frozen=True, eq=False)
class Layout:
    """A pair laid into a source.

    Attributes:
        a_to_source, b_to_source: [3, 3] maps of pixels of the picture to pixels of the source.
        a_to_b: [3, 3] map of pixels of a to pixels of b: the truth.
        overlap: shared ground as a fraction of the smaller footprint, as it came out.
        points_a_px: [81, 2] points of a spread over the shared ground.
        step_a, step_b: source pixels between neighbouring pixels of the picture, at its centre; below 1, the picture
            is finer than its source.
    """

    a_to_source: Matrix
    b_to_source: Matrix
    a_to_b: Matrix
    overlap: float
    points_a_px: NDArray[np.float64]
    step_a: float
    step_b: float


def lay_out(geometry: Geometry, source_size: tuple[int, int], placed: tuple[float, float]) -> Layout:
    """Lays a pair into a source of `source_size` (width, height).

    The finer picture gets the source's own resolution, or a finer one where the pair would not fit in otherwise.

    Args:
        placed: 0 to 1, across and down: where in the room that is left.
    """
    a_to_ground = _shift(*_to_centre(geometry.size_a))
    looking = _b_to_ground(geometry)
    quad_a = footprint(a_to_ground, geometry.size_a)
    quad_b = footprint(looking, geometry.size_b)
    direction = np.deg2rad(geometry.offset_deg)
    away = np.array([np.cos(direction), np.sin(direction)])
    moved = away * _distance(quad_a, quad_b, away, geometry.overlap)
    quad_b = quad_b + moved
    b_to_ground = _shift(*moved) @ looking

    corners = np.vstack([quad_a, quad_b])
    low, extent = corners.min(axis=0), np.ptp(corners, axis=0)
    room = np.array(source_size, np.float64) - 1.0 - 2 * MARGIN_PX
    step = min(float((room / extent).min()), max(1.0, geometry.scale))
    corner = MARGIN_PX + (room - extent * step) * np.array(placed)
    to_source = _shift(*(corner - step * low)) @ np.diag([step, step, 1.0])
    a_to_b = np.linalg.inv(b_to_ground) @ a_to_ground
    shared = intersection(quad_a, quad_b) + (np.array(geometry.size_a, np.float64) - 1) / 2
    return Layout(
        a_to_source=to_source @ a_to_ground,
        b_to_source=to_source @ b_to_ground,
        a_to_b=a_to_b / a_to_b[2, 2],
        overlap=shared_fraction(quad_a, quad_b),
        points_a_px=spread_points(shared),
        step_a=step,
        step_b=step / geometry.scale,
    )


def _distance(quad_a: Matrix, quad_b: Matrix, away: NDArray[np.float64], wanted: float) -> float:
    """The farthest that b can be moved and still share as much as wanted; 0 where it never does.

    The area that two convex shapes share falls along the way, once it does at all (Brunn and Minkowski), so that
    halving finds the place.
    """
    near, far = 0.0, float(np.ptp(quad_a, axis=0).sum() + np.ptp(quad_b, axis=0).sum())
    for _ in range(_BISECTIONS):
        middle = (near + far) / 2
        if shared_fraction(quad_a, quad_b + middle * away) >= wanted - 1e-9:
            near = middle
        else:
            far = middle
    return near


def _b_to_ground(geometry: Geometry) -> Matrix:
    """b's pixels to the ground, its centre above the origin. At the centre, a pixel of b spans 1 / scale."""
    angle = -np.deg2rad(geometry.rotation_deg)
    cos, sin = np.cos(angle) / geometry.scale, np.sin(angle) / geometry.scale
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    return np.asarray(turn @ _tilt(geometry) @ _shift(*_to_centre(geometry.size_b)))


def _tilt(geometry: Geometry) -> Matrix:
    """Centred pixels of a tilted camera to the plane it looks at, the centre kept, with its mean scale there."""
    tilt, towards = np.deg2rad(geometry.tilt_deg), np.deg2rad(geometry.tilt_towards_deg)
    focal = max(geometry.size_b) / (2 * np.tan(np.deg2rad(FIELD_OF_VIEW_DEG) / 2))
    turn = np.array([[np.cos(towards), -np.sin(towards), 0], [np.sin(towards), np.cos(towards), 0], [0, 0, 1.0]])
    lean = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    camera = np.diag([focal, focal, 1.0])
    seen = camera @ turn @ lean @ turn.T @ np.linalg.inv(camera)
    # Where the centre goes: focal * tan(tilt). Lengths there grow by 1 / cos² along the lean and 1 / cos across it.
    reach = focal * np.tan(tilt)
    shrink = np.cos(tilt) ** 1.5
    back = _shift(-reach * np.cos(towards), -reach * np.sin(towards))
    return np.asarray(np.diag([shrink, shrink, 1.0]) @ back @ seen)


def _to_centre(size: tuple[int, int]) -> tuple[float, float]:
    return -(size[0] - 1) / 2, -(size[1] - 1) / 2


def _shift(x: float, y: float) -> Matrix:
    return np.array([[1.0, 0.0, x], [0.0, 1.0, y], [0.0, 0.0, 1.0]])
