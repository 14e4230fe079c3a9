"""Tiles of a large overlap: its structure matched at higher and higher resolution, one tile in memory at a time."""

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project
from engine.refine.frame import Overlap, box_frame
from engine.refine.matches import FrameMatches, joined
from engine.refine.photograph import Matrix, Photograph
from engine.refine.structure import Blocks, structure_matches

TILE_PX = 448
"""Side of a tile in pixels of the resolution looked at."""
TILES_AT_MOST = 16
"""Tiles looked at; of a larger overlap, an even sample."""
_SMALLEST_SHARE = 0.25


def tile_matches(
    a: Photograph, b: Photograph, a_to_b: Matrix, overlap: Overlap, resolution: float, blocks: Blocks
) -> FrameMatches:
    """Structure matches of tiles spread over the overlap; points in original pixels of a and b.

    Neighbouring tiles share the rim in which blocks cannot be searched, so that blocks cover the whole where all tiles
    are looked at. Tiles that b does not show are left out.

    Args:
        resolution: pixels of the tiles per pixel of a.
        blocks: how each tile is searched, in its pixels.
    """
    parts = []
    side = TILE_PX / resolution
    shared = (blocks.side + 2 * blocks.reach - blocks.step) / resolution
    for corner in tile_corners(overlap, side, shared):
        if not _is_seen(b, a_to_b, corner, side):
            continue
        frame = box_frame(a, b, a_to_b, corner, np.array([side, side]), (TILE_PX, TILE_PX))
        found = structure_matches(frame, blocks)
        parts.append(frame.in_photographs(found))
    return joined(parts) if parts else FrameMatches(*(np.empty((0, 2)),) * 2, *(np.empty(0),) * 2)


def _is_seen(b: Photograph, a_to_b: Matrix, corner: NDArray[np.float64], side: float) -> bool:
    """Whether b shows anything of a tile: the box around a turned overlap has corners that it does not."""
    box = project(a_to_b, corner + side * np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]))
    if not np.isfinite(box).all():
        return False
    return bool((box.max(axis=0) >= 0).all() and (box.min(axis=0) <= np.array(b.size) - 1).all())


def tile_corners(overlap: Overlap, side: float, shared: float) -> NDArray[np.float64]:
    """[T, 2] upper left corners of tiles of a side, in original pixels of a; at most `TILES_AT_MOST`, spread evenly."""
    along = []
    for low, extent in zip(overlap.low, overlap.extent, strict=True):
        count = max(1, int(np.ceil((extent - shared) / max(side - shared, 1.0) - _SMALLEST_SHARE)))
        along.append((low, max(extent - side, 0.0), count))
    across, down = (count for _, _, count in along)
    while across * down > TILES_AT_MOST:
        across, down = (across - 1, down) if across >= down else (across, down - 1)
    x, y = (
        low + room * (np.linspace(0, 1, number) if number > 1 else np.array([0.5]))
        for (low, room, _), number in zip(along, (across, down), strict=True)
    )
    grid_x, grid_y = np.meshgrid(x, y)
    return np.column_stack([grid_x.ravel(), grid_y.ravel()])
