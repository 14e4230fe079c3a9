"""Splitting land: convex polygons cut by lines, and the gentle warp that makes straight cuts look grown."""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]
"""[K, 2] float64, (x, y) in scene pixels."""


@dataclass(frozen=True, eq=False)
class Cut:
    """Two pieces of a convex polygon and the segment [2, 2] between them."""

    first: Points
    second: Points
    segment: Points


def area_px2(polygon: Points) -> float:
    """Area of a simple polygon (shoelace formula)."""
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def long_axis(polygon: Points) -> tuple[Points, float, float, float]:
    """Smallest enclosing rectangle: centre [2], direction of its long side in radians, its length and its width."""
    centre, (width, height), angle_deg = cv2.minAreaRect(polygon.astype(np.float32))
    angle = np.deg2rad(angle_deg)
    if height > width:
        angle, width, height = angle + np.pi / 2, height, width
    return np.array(centre, np.float64), float(angle), float(width), float(height)


def cut_across(polygon: Points, rng: np.random.Generator, spread: float = 0.16, jitter_deg: float = 5.0) -> Cut:
    """Cuts a convex polygon across its long axis, near the middle.

    Args:
        spread: largest distance of the cut from the middle, as a share of the length.
        jitter_deg: largest turn of the cut from the perpendicular.
    """
    centre, angle, length, _ = long_axis(polygon)
    along = np.array([np.cos(angle), np.sin(angle)])
    point = centre + along * length * rng.uniform(-spread, spread)
    turned = angle + np.deg2rad(rng.uniform(-jitter_deg, jitter_deg))
    return cut_by_line(polygon, point, np.array([np.cos(turned), np.sin(turned)]))


def cut_by_line(polygon: Points, point: Points, normal: Points) -> Cut:
    """Cuts a convex polygon by the line through `point` with this normal.

    Raises:
        ValueError: the line does not cross the polygon.
    """
    side = (polygon - point) @ normal
    pieces: tuple[list[Points], list[Points]] = ([], [])
    crossings: list[Points] = []
    for index in range(len(polygon)):
        here, there = polygon[index], polygon[(index + 1) % len(polygon)]
        pieces[0 if side[index] < 0 else 1].append(here)
        after = side[(index + 1) % len(polygon)]
        if (side[index] < 0) != (after < 0):
            crossing = here + (there - here) * (side[index] / (side[index] - after))
            crossings.append(crossing)
            pieces[0].append(crossing)
            pieces[1].append(crossing)
    if len(crossings) != 2:
        raise ValueError("the line does not cross the polygon")
    return Cut(np.array(pieces[0]), np.array(pieces[1]), np.array(crossings))


def densify(points: Points, step_px: float = 12.0, *, closed: bool) -> Points:
    """The same outline with a point every `step_px` or less."""
    ring = np.vstack([points, points[:1]]) if closed else points
    parts = []
    for here, there in pairwise(ring):
        count = max(1, int(np.ceil(np.linalg.norm(there - here) / step_px)))
        parts.append(here + (there - here) * (np.arange(count) / count)[:, None])
    if not closed:
        parts.append(ring[-1:])
    return np.vstack(parts)


@dataclass(frozen=True, eq=False)
class Warp:
    """A smooth displacement, a sum of plane waves.

    `waves` is [N, 5]: wave vector x, y (1/px), phase, shift x, y (px).
    """

    waves: NDArray[np.float64]

    @classmethod
    def draw(cls, rng: np.random.Generator) -> "Warp":
        rows = []
        for wavelength_px, shift_px in ((1700.0, 38.0), (950.0, 18.0), (620.0, 12.0), (380.0, 4.0)):
            heading, push = rng.uniform(0, 2 * np.pi, 2)
            size = 2 * np.pi / wavelength_px
            rows.append(
                [
                    size * np.cos(heading),
                    size * np.sin(heading),
                    rng.uniform(0, 2 * np.pi),
                    shift_px * np.cos(push),
                    shift_px * np.sin(push),
                ]
            )
        return cls(np.array(rows))

    def __call__(self, points: Points) -> Points:
        phase = points @ self.waves[:, :2].T + self.waves[:, 2]
        return np.asarray(points + np.sin(phase) @ self.waves[:, 3:])
