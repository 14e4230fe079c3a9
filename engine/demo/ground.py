"""Paints the ground: fields with crop rows, yards, water, forest floor, edges and roads. Nothing here has height."""

import numpy as np
from numpy.typing import NDArray

from engine.demo.noise import fractal_noise
from engine.demo.plan import EdgeKind, Parcel, Plan, Use
from engine.demo.polygons import Points
from engine.demo.season import (
    ASPHALT,
    DIRT,
    DITCH,
    PAINT_WHITE,
    PAINT_YELLOW,
    SAND,
    WALL,
    WORN_CONCRETE,
    Season,
    reflectance,
)
from engine.demo.strokes import Canvas, blend, fill, grown, lines_of, softened, stroke
from engine.demo.terrain import EDGE_WIDTH_PX, Terrain


def paint_ground(plan: Plan, terrain: Terrain, season: Season) -> Canvas:
    """The bare land at one date, [H, W, 3]."""
    rng = plan.rng(3, season.index)
    canvas = _paint_parcels(plan, terrain, season)
    blend(canvas, terrain.forest, reflectance(season.forest_floor))
    verge = stroke(plan, lines_of(plan, EdgeKind.ROAD), EDGE_WIDTH_PX[EdgeKind.ROAD] + 12)
    verge = np.maximum(verge, stroke(plan, lines_of(plan, EdgeKind.LANE, EdgeKind.DITCH), 15.0))
    blend(canvas, verge, reflectance(season.grass))
    blend(canvas, stroke(plan, lines_of(plan, EdgeKind.RIDGE, EdgeKind.HEDGE), 4.0), reflectance(season.dry_grass))
    blend(canvas, stroke(plan, lines_of(plan, EdgeKind.DITCH), 3.5), reflectance(DITCH))
    blend(canvas, stroke(plan, lines_of(plan, EdgeKind.WALL), 1.6), reflectance(WALL))
    wear = fractal_noise(plan.shape, {18.0: 0.5, 5.0: 0.5, 1.0: 0.6}, rng)
    wear += terrain.land_noise * np.float32(0.7)
    canvas *= np.clip(1.0 + np.float32(0.085) * wear, 0.5, 1.6)[..., None]
    tracks = lines_of(plan, EdgeKind.TRACK)
    blend(canvas, stroke(plan, tracks, EDGE_WIDTH_PX[EdgeKind.TRACK]), reflectance(DIRT))
    blend(canvas, stroke(plan, tracks, 1.6) // 2, reflectance(season.dry_grass) * np.float32(0.8))
    _paint_water(canvas, plan, terrain, season, rng)
    _paint_roads(canvas, plan)
    canvas *= (1.0 + np.float32(0.03) * fractal_noise(plan.shape, {7.0: 0.7, 1.0: 1.0}, rng))[..., None]
    return canvas


def _paint_parcels(plan: Plan, terrain: Terrain, season: Season) -> Canvas:
    """Colour, rows and patches of every parcel, looked up by a label per pixel."""
    rng = plan.rng(4, season.index)
    fixed = plan.rng(5)
    labels = np.zeros(plan.shape, np.int32)
    count = len(plan.parcels) + 1
    colour = np.zeros((count, 3), np.float32)
    rows = np.zeros((count, 4), np.float32)
    colour[0] = reflectance(season.grass)
    for label, parcel in enumerate(plan.parcels, start=1):
        fill(labels, parcel.outline, label)
        colour[label] = _parcel_colour(parcel, season, rng, fixed)
        period = float(fixed.uniform(4.2, 8.0))
        turn = parcel.direction + (np.pi / 2 if fixed.random() < 0.2 else 0.0)
        strength = (
            season.row_contrast * float(fixed.uniform(0.2, 1.3)) if parcel.use in (Use.FIELD, Use.GARDEN) else 0.0
        )
        wave = 2 * np.pi / period
        rows[label] = (-np.sin(turn) * wave, np.cos(turn) * wave, strength, fixed.uniform(0.5, 1.5))
    y, x = np.mgrid[0 : plan.shape[0], 0 : plan.shape[1]].astype(np.float32)
    across, down, strength_px, patchiness = (rows[:, column][labels] for column in range(4))
    phase = across * x + down * y + terrain.land_noise * np.float32(0.6)
    texture = strength_px * np.sin(phase) * (1.0 + np.float32(0.5) * terrain.land_noise)
    tramlines = np.sin(phase / np.float32(7.0)) > np.float32(0.93)
    texture -= strength_px * np.float32(1.3) * tramlines
    season_noise = fractal_noise(plan.shape, {160.0: 0.5, 45.0: 0.5, 16.0: 0.3}, rng)
    texture += patchiness * (np.float32(0.11) * terrain.land_noise + np.float32(0.07) * season_noise)
    canvas = colour[labels]
    canvas *= np.clip(1.0 + texture, 0.4, 1.8)[..., None]
    return canvas


def _parcel_colour(
    parcel: Parcel, season: Season, rng: np.random.Generator, fixed: np.random.Generator
) -> NDArray[np.float32]:
    """Crops are drawn anew at each date (`rng`); what a yard is paved with stays (`fixed`)."""
    if parcel.use in (Use.FIELD, Use.GARDEN):
        base = reflectance(season.crops[int(rng.integers(len(season.crops)))])
    elif parcel.use is Use.YARD:
        base = reflectance((season.dry_grass, WORN_CONCRETE, DIRT, season.grass)[int(fixed.integers(4))])
    elif parcel.use is Use.GREENHOUSES:
        base = reflectance(DIRT)
    else:
        base = reflectance(season.grass)
    return np.asarray(base * rng.uniform(0.86, 1.14, 3).astype(np.float32) ** np.float32(0.5))


def _paint_water(canvas: Canvas, plan: Plan, terrain: Terrain, season: Season, rng: np.random.Generator) -> None:
    bank = softened(grown(terrain.water, 15), 3.0)
    blend(canvas, bank, reflectance(season.grass) * np.float32(0.8))
    shore = softened(grown(terrain.water, 5), 1.5)
    blend(canvas, shore, reflectance(SAND) * np.float32(0.8))
    depth = softened(terrain.water, 9.0).astype(np.float32) / np.float32(255.0)
    ripples = fractal_noise(plan.shape, {60.0: 0.5, 9.0: 0.2, 2.0: 0.3}, rng)
    tone = (1.25 - 0.4 * depth) * (1.0 + np.float32(0.06) * ripples)
    blend(canvas, terrain.water, tone[..., None] * reflectance(season.water))


def _paint_roads(canvas: Canvas, plan: Plan) -> None:
    lanes = lines_of(plan, EdgeKind.LANE)
    blend(canvas, stroke(plan, lanes, EDGE_WIDTH_PX[EdgeKind.LANE]), reflectance(WORN_CONCRETE))
    roads = lines_of(plan, EdgeKind.ROAD)
    width = EDGE_WIDTH_PX[EdgeKind.ROAD]
    blend(canvas, stroke(plan, roads, width + 3), reflectance(SAND))
    blend(canvas, stroke(plan, roads, width), reflectance(ASPHALT))
    blend(canvas, stroke(plan, roads, width - 2.4) // 2, reflectance(PAINT_WHITE))
    blend(canvas, stroke(plan, roads, width - 4.0), reflectance(ASPHALT))
    blend(canvas, stroke(plan, _dashes(roads), 1.0) // 4 * 3, reflectance(PAINT_YELLOW))


def _dashes(lines: list[Points], stride: int = 3) -> list[Points]:
    """Every second step of the lines, left out where another line is near (a junction)."""
    dashes = []
    for index, line in enumerate(lines):
        others = np.vstack([other for number, other in enumerate(lines) if number != index] or [np.full((1, 2), -1e6)])
        for start in range(0, len(line) - 1, stride):
            dash = line[start : start + 2]
            if np.min(np.abs(others - dash[0]).max(axis=1)) > 26.0:
                dashes.append(dash)
    return dashes
