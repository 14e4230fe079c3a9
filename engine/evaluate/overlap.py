"""Convex footprints: how much two of them share, and points spread over what they share."""

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project

Polygon = NDArray[np.float64]
"""[N, 2] corners (x, y) of a convex polygon, in order."""

POINTS_SIDE = 9
_SLICES = 2000


def footprint(to_ground: NDArray[np.float64], size: tuple[int, int]) -> Polygon:
    """[4, 2] corners of the ground that a picture of `size` (width, height) shows, border pixels wholly included.

    Args:
        to_ground: [3, 3] map of its pixels to the ground.
    """
    left, right, top, bottom = -0.5, size[0] - 0.5, -0.5, size[1] - 0.5
    return project(to_ground, np.array([[left, top], [right, top], [right, bottom], [left, bottom]]))


def area(polygon: Polygon) -> float:
    """Area of a polygon, by the shoelace formula; 0 for fewer than three corners."""
    if len(polygon) < 3:
        return 0.0
    x, y = polygon[:, 0], polygon[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2.0


def intersection(first: Polygon, second: Polygon) -> Polygon:
    """What two convex polygons share, [M, 2]; empty where they share nothing (Sutherland and Hodgman, 1974)."""
    result = first
    centre = second.mean(axis=0)
    for start, end in zip(second, np.roll(second, -1, axis=0), strict=True):
        if not len(result):
            break
        normal = np.array([start[1] - end[1], end[0] - start[0]])
        if np.dot(normal, centre - start) < 0:
            normal = -normal
        result = _clip(result, (result - start) @ normal)
    return result


def _clip(polygon: Polygon, depth: NDArray[np.float64]) -> Polygon:
    """The part of a polygon where `depth` [N], known at its corners, is not negative."""
    kept = []
    for at in range(len(polygon)):
        after = (at + 1) % len(polygon)
        if depth[at] >= 0:
            kept.append(polygon[at])
        if (depth[at] >= 0) != (depth[after] >= 0):
            share = depth[at] / (depth[at] - depth[after])
            kept.append(polygon[at] + share * (polygon[after] - polygon[at]))
    return np.array(kept, np.float64).reshape(-1, 2)


def shared_fraction(first: Polygon, second: Polygon) -> float:
    """Area that two convex polygons share, as a fraction of the smaller one's."""
    return area(intersection(first, second)) / min(area(first), area(second))


def spread_points(polygon: Polygon) -> NDArray[np.float64]:
    """81 points spread evenly over a convex polygon, [81, 2], all inside.

    The polygon is cut across its longest diagonal into 9 strips of equal area; in the middle of each, 9 points lie
    evenly between the borders.

    Raises:
        ValueError: the polygon has no area.
    """
    if area(polygon) <= 0.0:
        raise ValueError("no ground is shared")
    between = polygon[:, None] - polygon[None]
    lengths = np.linalg.norm(between, axis=2)
    along = between[np.unravel_index(int(lengths.argmax()), lengths.shape)] / lengths.max()
    turn = np.array([along, [-along[1], along[0]]])
    turned = polygon @ turn.T
    x = np.linspace(turned[:, 0].min(), turned[:, 0].max(), _SLICES + 1)
    x = (x[:-1] + x[1:]) / 2
    low, high = _borders(turned, x)
    cumulated = np.cumsum(high - low)
    shares = (np.arange(POINTS_SIDE) + 0.5) / POINTS_SIDE
    at = np.interp(shares, (cumulated - (high - low) / 2) / cumulated[-1], x)
    low, high = _borders(turned, at)
    y = low[:, None] + shares * (high - low)[:, None]
    return np.asarray(np.column_stack([np.repeat(at, POINTS_SIDE), y.ravel()]) @ turn)


def _borders(polygon: Polygon, x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Smallest and largest y of a convex polygon at each x."""
    start, end = polygon, np.roll(polygon, -1, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = (x[:, None] - start[:, 0]) / (end[:, 0] - start[:, 0])
        y = start[:, 1] + share * (end[:, 1] - start[:, 1])
    crossed = np.isfinite(y) & (share >= 0) & (share <= 1)
    return np.where(crossed, y, np.inf).min(axis=1), np.where(crossed, y, -np.inf).max(axis=1)
