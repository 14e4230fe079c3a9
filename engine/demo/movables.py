"""What moves between the dates: cars, trucks, clutter in yards, bales in fields. Each is a small flat-roofed box."""

from collections.abc import Sequence

import numpy as np

from engine.demo.buildings import Building, Roof, covered_by
from engine.demo.plan import EdgeKind, Plan, Use
from engine.demo.polygons import Points, long_axis
from engine.demo.season import CARS, TRUCK_BLUE
from engine.demo.terrain import Terrain, values_at


def place_movables(plan: Plan, terrain: Terrain, buildings: Sequence[Building], season_index: int) -> list[Building]:
    """Cars, trucks, clutter in yards and bales in fields; others at each date. Each is a small flat-roofed box."""
    rng = plan.rng(9, season_index)
    cars = []
    loose = []
    for edge in plan.edges:
        if edge.kind not in (EdgeKind.ROAD, EdgeKind.LANE):
            continue
        for index in range(len(edge.line) - 1):
            if rng.random() < (0.05 if edge.kind is EdgeKind.ROAD else 0.012):
                here, there = edge.line[index], edge.line[index + 1]
                angle = float(np.arctan2(there[1] - here[1], there[0] - here[0]))
                side = np.array([-np.sin(angle), np.cos(angle)]) * rng.choice([-1, 1])
                cars.append(_car(here + side * (4.2 if edge.kind is EdgeKind.ROAD else 2.0), angle, rng))
    for parcel in plan.parcels:
        centre, angle, length, width = long_axis(parcel.outline)
        axes = np.array(
            [[np.cos(angle) * length, np.sin(angle) * length], [-np.sin(angle) * width, np.cos(angle) * width]]
        )
        if parcel.use is Use.YARD:
            if rng.random() < 0.5:
                loose.append(_car(centre + rng.uniform(-0.35, 0.35, 2) @ axes, angle + np.pi / 2, rng))
            places = rng.uniform(-0.38, 0.38, (int(rng.integers(2, 9)), 2)) @ axes
            loose += [_box(centre + place, 3.0, rng) for place in places]
        elif parcel.use is Use.FIELD and season_index == 1 and rng.random() < 0.15:
            places = rng.uniform(-0.4, 0.4, (int(length * width / 900), 2)) @ axes
            loose += [_box(centre + place, 2.4, rng) for place in places]
    points = np.array([[thing.x, thing.y] for thing in loose]).reshape(-1, 2)
    free = ~covered_by(points, buildings, 3.0) & (values_at(terrain.water, points) == 0)
    return cars + [thing for thing, keep in zip(loose, free, strict=True) if keep]


def _box(place: Points, size: float, rng: np.random.Generator) -> Building:
    """A bale, a crate, a water tank: something small and mostly bright."""
    grey = int(rng.choice([210, 225, 170, 90, 60]))
    length, width = size * rng.uniform(0.7, 1.7, 2)
    turn = float(rng.uniform(0, np.pi))
    return Building(float(place[0]), float(place[1]), length, width, turn, 2.5, 0.0, Roof.FLAT, (grey, grey, grey))


def _car(place: Points, angle: float, rng: np.random.Generator) -> Building:
    truck = rng.random() < 0.2
    length, width = (16.0, 6.2) if truck else (11.0, 4.8)
    colour = TRUCK_BLUE if truck else CARS[int(rng.integers(len(CARS)))]
    return Building(float(place[0]), float(place[1]), length, width, angle, 4.0, 0.0, Roof.FLAT, colour)
