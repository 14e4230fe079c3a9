"""Surveys a plan: masks of water, forest, roads and settled land, which placing and painting share."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.demo.noise import Field, fractal_noise
from engine.demo.plan import EdgeKind, Plan, Use
from engine.demo.polygons import Points, long_axis
from engine.demo.strokes import Mask, fill, grown, lines_of, softened, stroke

EDGE_WIDTH_PX = {
    EdgeKind.ROAD: 15.0,
    EdgeKind.LANE: 10.0,
    EdgeKind.TRACK: 6.0,
    EdgeKind.RIDGE: 3.0,
    EdgeKind.DITCH: 3.5,
    EdgeKind.HEDGE: 5.0,
    EdgeKind.WALL: 1.6,
}


@dataclass(frozen=True, eq=False)
class Terrain:
    """Masks that do not change with the date.

    Attributes:
        land_noise: [H, W]; soil patches, the same at every date.
        forest: [H, W] float32 in 0 to 1.
        water: [H, W] uint8 coverage of river and ponds.
        traffic: [H, W] uint8; roads, lanes and tracks.
        built: [H, W] uint8; village, greenhouse and pond parcels.
    """

    land_noise: Field
    forest: Field
    water: Mask
    traffic: Mask
    built: Mask


def survey(plan: Plan) -> Terrain:
    """Draws the masks that placing and painting share."""
    rng = plan.rng(2)
    land_noise = fractal_noise(plan.shape, {300.0: 0.5, 90.0: 0.45, 30.0: 0.35, 11.0: 0.25, 4.0: 0.2}, rng)
    traffic = np.zeros(plan.shape, np.uint8)
    for kind in (EdgeKind.ROAD, EdgeKind.LANE, EdgeKind.TRACK):
        traffic = np.maximum(traffic, stroke(plan, lines_of(plan, kind), EDGE_WIDTH_PX[kind] + 3))
    water = stroke(plan, [plan.river], plan.river_width_px)
    river = grown(water, 25)
    built = np.zeros(plan.shape, np.uint8)
    for parcel in plan.parcels:
        if parcel.use in (Use.YARD, Use.GARDEN, Use.GREENHOUSES, Use.POND):
            fill(built, parcel.outline, 255)
        if parcel.use is Use.POND and not values_at(river, parcel.outline).any():
            fill(water, _inset(parcel.outline, 14.0), 255)
    hills = fractal_noise(plan.shape, {420.0: 1.0, 130.0: 0.3, 40.0: 0.16, 14.0: 0.1}, rng)
    level = np.quantile(hills[::8, ::8], 0.74)
    settled = softened(np.maximum(built, water), 16.0).astype(np.float32) / np.float32(255.0)
    forest = np.clip((hills - level - 1.6 * settled) * 4.0 + 0.5, 0.0, 1.0)
    forest[(built > 0) | (grown(water, 15) > 0)] = 0.0
    return Terrain(land_noise, np.asarray(forest, np.float32), water, traffic, built)


def _inset(outline: Points, by_px: float) -> Points:
    centre, _, _, width = long_axis(outline)
    return np.asarray(centre + (outline - centre) * max(0.3, 1.0 - 2.0 * by_px / max(width, 1.0)))


def values_at(field: NDArray[np.float32] | NDArray[np.uint8], points: Points) -> NDArray[np.float32]:
    """[N] float32: values of a field or mask at the pixels nearest to points [N, 2]; outside, at its border."""
    x = np.clip(np.rint(points[:, 0]).astype(int), 0, field.shape[1] - 1)
    y = np.clip(np.rint(points[:, 1]).astype(int), 0, field.shape[0] - 1)
    return np.asarray(field[y, x], np.float32)
