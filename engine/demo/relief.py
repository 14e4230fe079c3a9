"""Raises buildings and trees: writes their colour on the ground and their height into a height map."""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.demo.buildings import Building, Roof
from engine.demo.noise import Field, fractal_noise
from engine.demo.season import Season, reflectance
from engine.demo.strokes import Canvas
from engine.demo.trees import Trees

_CROWN_SHAPES = 24
_LARGEST_CROWN_PX = 25
_SMALLEST_STAINED_PX = 18.0


def raise_building(ground: Canvas, height: Field, building: Building, rng: np.random.Generator) -> None:
    """Draws one building in place: roof colour with ribs, ridge and stains, and the height of its roof."""
    reach = 0.5 * float(np.hypot(building.length, building.width)) + 2.0
    rows, cols = _window(building.x, building.y, reach, height.shape)
    if rows.start >= rows.stop or cols.start >= cols.stop:
        return
    y, x = np.mgrid[rows, cols].astype(np.float32)
    cos, sin = np.cos(building.angle), np.sin(building.angle)
    u = (x - building.x) * cos + (y - building.y) * sin
    v = -(x - building.x) * sin + (y - building.y) * cos
    inside_u, inside_v = building.length / 2 - np.abs(u), building.width / 2 - np.abs(v)
    coverage = np.clip(inside_u + 0.5, 0, 1) * np.clip(inside_v + 0.5, 0, 1)
    if building.roof is Roof.FLAT:
        parapet = (np.minimum(inside_u, inside_v) < 1.3) & (building.length > _SMALLEST_STAINED_PX)
        top = np.full_like(u, building.eaves) + np.float32(1.2) * parapet
        ridge = np.zeros_like(u)
    elif building.roof is Roof.ARCH:
        across = np.clip(np.abs(v) / (building.width / 2), 0, 1)
        top = building.eaves + building.rise * np.sqrt(1.0 - across * across)
        ridge = np.zeros_like(u)
    else:
        run = np.minimum(inside_u, inside_v) if building.roof is Roof.HIP else inside_v
        top = building.eaves + building.rise * np.clip(run / (building.width / 2), 0, 1)
        ridge = np.clip(1.2 - np.abs(v), 0, 1) * np.float32(0.12)
    ribs = np.float32(0.05) * np.sin(u * np.float32(2 * np.pi / 3.4)) if building.roof is not Roof.FLAT else 0.0
    large = building.length > _SMALLEST_STAINED_PX
    stains = np.float32(0.07) * fractal_noise(u.shape, {9.0: 0.8, 2.5: 0.5}, rng) if large else 0.0
    colour = reflectance(building.colour) * np.float32(rng.uniform(0.85, 1.12))
    paint = colour * np.clip(1.0 + ridge + ribs + stains, 0.5, 1.5)[..., None]
    ground[rows, cols] += (paint - ground[rows, cols]) * coverage[..., None].astype(np.float32)
    raised = (top * coverage).astype(np.float32)
    height[rows, cols] = np.maximum(height[rows, cols], raised)


def raise_trees(ground: Canvas, height: Field, trees: Trees, season: Season, rng: np.random.Generator) -> None:
    """Draws all trees in place: lobed crowns, the higher one in front where two meet."""
    shapes = _crown_shapes(rng)
    conifers = [reflectance(colour) for colour in season.conifers]
    broadleaves = [reflectance(colour) for colour in season.broadleaves]
    tints = np.exp(rng.normal(0, 0.13, len(trees.x))).astype(np.float32)
    choices = rng.integers(0, 1 << 16, (len(trees.x), 2))
    for index in range(len(trees.x)):
        size = min(max(5, 2 * round(float(trees.radius[index])) + 3), _LARGEST_CROWN_PX)
        shape = shapes[size, int(choices[index, 0]) % _CROWN_SHAPES]
        left, top = round(float(trees.x[index])) - size // 2, round(float(trees.y[index])) - size // 2
        rows, cols = (
            slice(max(top, 0), min(top + size, height.shape[0])),
            slice(max(left, 0), min(left + size, height.shape[1])),
        )
        if rows.start >= rows.stop or cols.start >= cols.stop:
            continue
        dome = shape[rows.start - top : rows.stop - top, cols.start - left : cols.stop - left]
        crown = dome * np.float32(trees.height[index])
        front = (dome > 0.25) & (crown > height[rows, cols])
        palette = conifers if trees.kind[index] < 0.5 else broadleaves
        colour = palette[int(choices[index, 1]) % len(palette)] * tints[index]
        patch = ground[rows, cols]
        patch[front] = colour * (0.7 + 0.5 * dome[front])[:, None]
        below = height[rows, cols]
        below[front] = crown[front]


def _crown_shapes(rng: np.random.Generator) -> dict[tuple[int, int], NDArray[np.float32]]:
    """Domes [size, size] float32, 0 to about 1, with lobes: by odd size and number."""
    shapes = {}
    for size in range(5, _LARGEST_CROWN_PX + 1, 2):
        y, x = np.mgrid[0:size, 0:size].astype(np.float32) - np.float32(size // 2)
        angle = np.arctan2(y, x)
        for number in range(_CROWN_SHAPES):
            lobes = int(rng.integers(3, 6))
            edge = (size / 2 - 1) * (1 + 0.14 * np.sin(lobes * angle + rng.uniform(0, 2 * np.pi)))
            share = np.clip(1.0 - (x * x + y * y) / (edge * edge), 0.0, 1.0)
            bumps = 1.0 + 0.16 * cv2.GaussianBlur(rng.standard_normal((size, size), np.float32), (0, 0), 0.8)
            shapes[size, number] = np.asarray(np.sqrt(share) * bumps, np.float32)
    return shapes


def _window(x: float, y: float, reach: float, shape: tuple[int, ...]) -> tuple[slice, slice]:
    rows = slice(max(0, int(y - reach)), min(shape[0], int(y + reach) + 2))
    cols = slice(max(0, int(x - reach)), min(shape[1], int(x + reach) + 2))
    return rows, cols
