"""Where trees are: forests, orchards, hedges, river banks, yards and single ones."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.demo.buildings import Building, covered_by
from engine.demo.plan import EdgeKind, Plan, Use
from engine.demo.polygons import Points, long_axis
from engine.demo.terrain import Terrain, values_at


@dataclass(frozen=True, eq=False)
class Trees:
    """[N] arrays: position, crown radius and height in pixels, and kind: below 0.5 conifers, above broadleaved."""

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: NDArray[np.float64]
    height: NDArray[np.float64]
    kind: NDArray[np.float64]


class _Group(NamedTuple):
    """Trees of one sort: [N, 2] positions, and their mean crown radius and height in pixels."""

    points: Points
    radius: float
    height: float


def place_trees(plan: Plan, terrain: Terrain, buildings: list[Building]) -> Trees:
    """Forest trees on a jittered grid, orchard rows, hedges, river banks and single trees."""
    rng = plan.rng(7)
    forest = _jittered_grid(plan, 9.5, 0.42, rng)
    forest = forest[values_at(terrain.forest, forest) > rng.uniform(0.25, 0.75, len(forest))]
    groups = [_Group(forest, 4.2, 9.0), _Group(_orchards(plan, rng), 3.6, 3.8)]
    groups += [
        _Group(edge.line[rng.random(len(edge.line)) < 0.8] + rng.normal(0, 1.5, 2), 3.6, 6.0)
        for edge in plan.edges
        if edge.kind is EdgeKind.HEDGE
    ]
    bank = plan.river + rng.choice([-1, 1], (len(plan.river), 1)) * [plan.river_width_px * 0.72, 0.0]
    groups.append(_Group(bank[rng.random(len(bank)) < 0.35] + rng.normal(0, 3.0, 2), 4.6, 8.0))
    yards = [parcel for parcel in plan.parcels if parcel.use is Use.YARD]
    for yard in yards:
        centre, _, length, width = long_axis(yard.outline)
        count = int(rng.integers(1, 6))
        groups.append(_Group(centre + rng.uniform(-0.45, 0.45, (count, 2)) * [length, width], 4.4, 8.0))
    singles = rng.uniform(0, 1, (plan.size[0] * plan.size[1] // 30_000, 2)) * plan.size
    groups.append(_Group(singles, 5.0, 9.0))
    points = np.vstack([group.points for group in groups])
    radius = np.concatenate([np.full(len(group.points), group.radius) for group in groups])
    height = np.concatenate([np.full(len(group.points), group.height) for group in groups])
    spread = np.exp(rng.normal(0, 0.2, len(points)))
    kind = np.clip(_forest_kind(plan, points) + rng.normal(0, 0.17, len(points)), 0.0, 1.0)
    free = _free_points(points, terrain, buildings)
    return Trees(points[free, 0], points[free, 1], (radius * spread)[free], (height * spread)[free], kind[free])


def _forest_kind(plan: Plan, points: Points) -> NDArray[np.float64]:
    """A slowly varying 0-to-1 value, so that stands of conifers and of broadleaved trees form."""
    phase = plan.rng(8).uniform(0, 2 * np.pi, 2)
    waves = np.sin(points[:, 0] / 71.0 + phase[0]) + np.sin((points[:, 1] - 0.6 * points[:, 0]) / 93.0 + phase[1])
    return np.asarray(0.45 + 0.22 * waves)


def _orchards(plan: Plan, rng: np.random.Generator) -> Points:
    found = [np.empty((0, 2))]
    for parcel in plan.parcels:
        if parcel.use is not Use.ORCHARD:
            continue
        centre, angle, length, width = long_axis(parcel.outline)
        u, v = np.meshgrid(np.arange(-0.42 * length, 0.42 * length, 11.0), np.arange(-0.38 * width, 0.38 * width, 15.0))
        cos, sin = np.cos(angle), np.sin(angle)
        grid = np.stack([u * cos - v * sin, u * sin + v * cos], axis=-1).reshape(-1, 2)
        found.append((centre + grid + rng.normal(0, 0.8, grid.shape))[rng.random(len(grid)) > 0.07])
    return np.vstack(found)


def _jittered_grid(plan: Plan, pitch: float, jitter: float, rng: np.random.Generator) -> Points:
    x, y = np.meshgrid(np.arange(0, plan.size[0], pitch), np.arange(0, plan.size[1], pitch))
    grid = np.stack([x, y], axis=-1).reshape(-1, 2)
    return np.asarray(grid + rng.uniform(-jitter, jitter, grid.shape) * pitch)


def _free_points(points: Points, terrain: Terrain, buildings: list[Building]) -> NDArray[np.bool_]:
    free = (values_at(terrain.traffic, points) == 0) & (values_at(terrain.water, points) == 0)
    return np.asarray(free & ~covered_by(points, buildings, 2.0))
