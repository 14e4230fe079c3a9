"""The plan of a scene: what lies where. Drawn once from a seed; dates and seasons only change how it looks."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from engine.demo.polygons import Cut, Points, Warp, area_px2, cut_across, cut_by_line, densify, long_axis

BLOCK_AREA_PX2 = 200_000.0
"""Land is cut by roads and tracks down to about this, then by field edges."""
MARGIN_PX = 160.0


class Use(IntEnum):
    """What a parcel is used for."""

    FIELD = 0
    VILLAGE = 1
    GREENHOUSES = 2
    ORCHARD = 3
    POND = 4
    YARD = 5
    GARDEN = 6


class EdgeKind(IntEnum):
    """What runs between two pieces of land."""

    ROAD = 0
    LANE = 1
    TRACK = 2
    RIDGE = 3
    DITCH = 4
    HEDGE = 5
    WALL = 6


@dataclass(frozen=True, eq=False)
class Parcel:
    """A piece of land. `direction` is that of its long side, and of its crop rows, in radians."""

    outline: Points
    use: Use
    direction: float


@dataclass(frozen=True, eq=False)
class Edge:
    """A line between pieces of land; [K, 2] points."""

    line: Points
    kind: EdgeKind


@dataclass(frozen=True, eq=False)
class Plan:
    """Parcels, edges and river of a scene of `size` (width, height) pixels; `seed` sets all that is drawn later."""

    size: tuple[int, int]
    seed: int
    parcels: tuple[Parcel, ...]
    edges: tuple[Edge, ...]
    river: Points
    river_width_px: float

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width), as arrays have it."""
        return self.size[1], self.size[0]

    def rng(self, *purpose: int) -> np.random.Generator:
        """A generator for one purpose, independent of the others."""
        return np.random.default_rng([self.seed, *purpose])


def draw_plan(size: tuple[int, int], seed: int) -> Plan:
    """Plans a scene of `size` (width, height) pixels, about 0.4 m each."""
    rng = np.random.default_rng([seed, 1])
    warp = Warp.draw(rng)
    blocks, edges = _cut_blocks(_ground_outline(size, rng), rng)
    parcels: list[Parcel] = []
    for block, use in zip(blocks, _deal_uses(blocks, rng), strict=True):
        block_parcels, block_edges = _cut_parcels(block, use, rng)
        parcels += block_parcels
        edges += block_edges
    warped_edges = tuple(Edge(warp(densify(edge.line, closed=False)), edge.kind) for edge in edges)
    return Plan(
        size,
        seed,
        tuple(Parcel(warp(densify(p.outline, closed=True)), p.use, p.direction) for p in parcels),
        warped_edges,
        _draw_river(size, rng),
        float(rng.uniform(38, 52)),
    )


def _ground_outline(size: tuple[int, int], rng: np.random.Generator) -> Points:
    """A turned rectangle that covers the scene, so that roads do not run parallel to its sides."""
    turn = rng.choice([-1, 1]) * np.deg2rad(rng.uniform(12, 32))
    cos, sin = np.cos(turn), np.sin(turn)
    rotation = np.array([[cos, -sin], [sin, cos]])
    corners = np.array([[0, 0], [size[0], 0], [size[0], size[1]], [0, size[1]]], np.float64) - np.array(size) / 2
    reach = np.abs(corners @ rotation).max(axis=0) + MARGIN_PX
    box = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * reach
    return np.asarray(box @ rotation.T + np.array(size) / 2)


def _cut_blocks(ground: Points, rng: np.random.Generator) -> tuple[list[Points], list[Edge]]:
    blocks: list[Points] = []
    edges: list[Edge] = []
    pending = [ground]
    while pending:
        piece = pending.pop()
        area = area_px2(piece)
        if area < BLOCK_AREA_PX2 * rng.uniform(0.8, 1.5):
            blocks.append(piece)
            continue
        cut = cut_across(piece, rng, jitter_deg=9.0)
        kind = EdgeKind.ROAD if area > 1_600_000 else EdgeKind.LANE if area > 600_000 else EdgeKind.TRACK
        edges.append(Edge(cut.segment, kind))
        pending += [cut.first, cut.second]
    return blocks, edges


def _deal_uses(blocks: list[Points], rng: np.random.Generator) -> list[Use]:
    """Deals uses from a repeated deck in order of y, so that every part of the scene gets its share of each."""
    deck = [Use.FIELD] * 9 + [Use.VILLAGE] * 5 + [Use.GREENHOUSES, Use.ORCHARD, Use.POND]
    uses = [Use.FIELD] * len(blocks)
    hand: list[Use] = []
    for index in np.argsort([block[:, 1].mean() for block in blocks]):
        if not hand:
            hand = [deck[card] for card in rng.permutation(len(deck))]
        uses[int(index)] = hand.pop()
    return uses


def _cut_parcels(block: Points, use: Use, rng: np.random.Generator) -> tuple[list[Parcel], list[Edge]]:
    target_px2 = {
        Use.FIELD: float(rng.uniform(11_000, 26_000)),
        Use.VILLAGE: 6_200.0,
        Use.GREENHOUSES: 24_000.0,
        Use.ORCHARD: 34_000.0,
        Use.POND: 26_000.0,
        Use.YARD: 0.0,
        Use.GARDEN: 0.0,
    }[use]
    parcels: list[Parcel] = []
    edges: list[Edge] = []
    pending = [block]
    while pending:
        piece = pending.pop()
        area = area_px2(piece)
        if area < target_px2 * rng.uniform(0.8, 1.6):
            parcels += _finish_parcel(piece, use, rng)
            continue
        cut = cut_across(piece, rng, jitter_deg=3.0)
        edges.append(Edge(cut.segment, _edge_kind(use, area, rng)))
        pending += [cut.first, cut.second]
    return parcels, edges


def _edge_kind(use: Use, area: float, rng: np.random.Generator) -> EdgeKind:
    if use is Use.VILLAGE:
        return EdgeKind.LANE if area > 60_000 else EdgeKind.TRACK if area > 22_000 else EdgeKind.WALL
    kinds = [EdgeKind.RIDGE, EdgeKind.DITCH, EdgeKind.HEDGE, EdgeKind.TRACK]
    return kinds[int(rng.choice(4, p=[0.55, 0.2, 0.13, 0.12]))]


def _finish_parcel(piece: Points, use: Use, rng: np.random.Generator) -> list[Parcel]:
    """Some parcels stay in one piece; some fields become strips; some village lots become gardens."""
    direction = long_axis(piece)[1]
    if use is Use.VILLAGE:
        chosen = Use.GARDEN if rng.random() < 0.18 else Use.YARD
        return [Parcel(piece, chosen, direction)]
    if use is not Use.FIELD or rng.random() > 0.22:
        return [Parcel(piece, use, direction)]
    strips = [piece]
    for _ in range(int(rng.integers(3, 8))):
        largest = max(range(len(strips)), key=lambda index: area_px2(strips[index]))
        cut = _cut_along(strips.pop(largest), direction, rng)
        strips += [cut.first, cut.second]
    return [Parcel(strip, use, direction) for strip in strips]


def _cut_along(piece: Points, direction: float, rng: np.random.Generator) -> Cut:
    normal = np.array([-np.sin(direction), np.cos(direction)])
    reach = piece @ normal
    level = reach.min() + (reach.max() - reach.min()) * rng.uniform(0.35, 0.65)
    return cut_by_line(piece, normal * level, normal)


def _draw_river(size: tuple[int, int], rng: np.random.Generator) -> Points:
    """A meandering line from above the scene to below it."""
    width, height = size
    y = np.linspace(-80, height + 80, 220)
    x = np.full_like(y, width * rng.uniform(0.4, 0.6))
    for wavelength_px, swing in ((2100.0, 0.26), (820.0, 0.07), (330.0, 0.025)):
        x += swing * width * np.sin(2 * np.pi * y / wavelength_px + rng.uniform(0, 2 * np.pi))
    return np.column_stack([x, y])
