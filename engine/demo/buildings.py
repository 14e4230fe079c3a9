"""Where buildings are: homesteads in village yards, rows of greenhouses, barns in fields."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from engine.demo.plan import Parcel, Plan, Use
from engine.demo.polygons import Points, area_px2, long_axis
from engine.demo.season import RGB, ROOFS
from engine.demo.terrain import Terrain


class Roof(IntEnum):
    """Shape of a roof."""

    GABLE = 0
    HIP = 1
    FLAT = 2
    ARCH = 3


@dataclass(frozen=True)
class Building:
    """A box with a roof; lengths in scene pixels, `angle` of the long side in radians."""

    x: float
    y: float
    length: float
    width: float
    angle: float
    eaves: float
    rise: float
    roof: Roof
    colour: RGB


def place_buildings(plan: Plan, terrain: Terrain) -> list[Building]:
    """Houses and sheds in yards, rows of greenhouses, and a few barns at field corners."""
    rng = plan.rng(6)
    buildings: list[Building] = []
    for parcel in plan.parcels:
        if parcel.use is Use.YARD:
            buildings += _homestead(parcel, rng)
        elif parcel.use is Use.GREENHOUSES:
            buildings += _greenhouses(parcel, rng)
        elif parcel.use is Use.FIELD and rng.random() < 0.05:
            buildings.append(_barn(parcel, rng))
    return [building for building in buildings if _is_free(building, terrain)]


def _homestead(parcel: Parcel, rng: np.random.Generator) -> list[Building]:
    centre, angle, length, width = long_axis(parcel.outline)
    angle += rng.choice([0.0, np.pi / 2]) if length < 1.3 * width else 0.0
    along, across = np.array([np.cos(angle), np.sin(angle)]), np.array([-np.sin(angle), np.cos(angle)])
    if area_px2(parcel.outline) > 5_200 and rng.random() < 0.3:
        hall = _building(centre, min(0.72 * length, 88), min(0.6 * width, 44), angle, 12.0, 4.0, Roof.GABLE, rng)
        return [hall]
    house_length = float(np.clip(rng.uniform(0.38, 0.52) * length, 20, 44))
    house_width = float(np.clip(rng.uniform(0.34, 0.46) * width, 14, 26))
    place = centre + along * rng.uniform(-0.12, 0.12) * length - across * 0.14 * width
    roof = Roof(int(rng.choice(3, p=[0.5, 0.3, 0.2])))
    two_storeys = 6.0 if rng.random() < 0.3 else 0.0
    house = _building(place, house_length, house_width, angle, 8.0 + two_storeys, 5.5, roof, rng)
    found = [house]
    if rng.random() < 0.4:
        wing = place + along * 0.3 * house_length + across * 0.6 * house_width
        found.append(
            Building(
                float(wing[0]),
                float(wing[1]),
                0.95 * house_width,
                0.7 * house_width,
                angle + np.pi / 2,
                house.eaves,
                4.5,
                roof,
                house.colour,
            )
        )
    for _ in range(int(rng.integers(0, 3))):
        corner = centre + along * rng.choice([-0.34, 0.34]) * length + across * rng.uniform(0.12, 0.32) * width
        shed_length, shed_width = rng.uniform(9, 17), rng.uniform(7, 11)
        turn = angle + rng.choice([0.0, np.pi / 2])
        found.append(_building(corner, shed_length, shed_width, turn, 6.0, 2.0, Roof(int(rng.choice([0, 2]))), rng))
    return found


def _greenhouses(parcel: Parcel, rng: np.random.Generator) -> list[Building]:
    centre, angle, length, width = long_axis(parcel.outline)
    across = np.array([-np.sin(angle), np.cos(angle)])
    pitch, tunnel = 19.0, 14.0
    count = int(0.72 * width / pitch)
    found = []
    for number in range(count):
        if rng.random() < 0.12:
            continue
        place = centre + across * (number - (count - 1) / 2) * pitch
        reach = 0.7 * length * rng.uniform(0.86, 1.0)
        grey = int(rng.uniform(150, 222))
        colour = (grey, min(255, grey + 6), min(255, grey + 10)) if rng.random() < 0.8 else (52, 54, 56)
        found.append(Building(float(place[0]), float(place[1]), reach, tunnel, angle, 2.0, 6.0, Roof.ARCH, colour))
    return found


def _barn(parcel: Parcel, rng: np.random.Generator) -> Building:
    centre, angle, length, width = long_axis(parcel.outline)
    offset = np.array([np.cos(angle), np.sin(angle)]) * 0.3 * length
    size = float(np.clip(0.4 * width, 16, 34))
    return _building(centre + offset, 1.7 * size, size, angle, 9.0, 4.0, Roof.GABLE, rng)


def _building(
    place: Points,
    length: float,
    width: float,
    angle: float,
    eaves: float,
    rise: float,
    roof: Roof,
    rng: np.random.Generator,
) -> Building:
    weights = np.array([weight for _, weight in ROOFS])
    colour = ROOFS[int(rng.choice(len(ROOFS), p=weights / weights.sum()))][0]
    turn = angle + np.deg2rad(rng.normal(0, 2.0))
    return Building(float(place[0]), float(place[1]), length, width, turn, eaves, rise, roof, colour)


def _is_free(building: Building, terrain: Terrain) -> bool:
    """Whether the footprint lies in the scene, off roads, water and forest."""
    u, v = np.meshgrid(np.linspace(-0.55, 0.55, 7), np.linspace(-0.55, 0.55, 7))
    cos, sin = np.cos(building.angle), np.sin(building.angle)
    x = np.rint(building.x + u * building.length * cos - v * building.width * sin).astype(int)
    y = np.rint(building.y + u * building.length * sin + v * building.width * cos).astype(int)
    height, width = terrain.traffic.shape
    if x.min() < 0 or y.min() < 0 or x.max() >= width or y.max() >= height:
        return False
    blocked = (terrain.traffic[y, x] > 0) | (terrain.water[y, x] > 0) | (terrain.forest[y, x] > 0.4)
    return not bool(blocked.any())


def covered_by(points: Points, buildings: Sequence[Building], margin_px: float) -> NDArray[np.bool_]:
    """Which points lie on a building, or within a margin of one."""
    found = np.zeros(len(points), np.bool_)
    for building in buildings:
        near = np.abs(points - [building.x, building.y]).max(axis=1) < building.length
        cos, sin = np.cos(building.angle), np.sin(building.angle)
        offset = points[near] - [building.x, building.y]
        u, v = offset @ [cos, sin], offset @ [-sin, cos]
        found[near] |= (np.abs(u) < building.length / 2 + margin_px) & (np.abs(v) < building.width / 2 + margin_px)
    return found
