"""One picture of one pair: a header, and below it one panel or several, each with its legend."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.drawing.captions import draw_header, draw_title
from engine.drawing.layout import HEADER, blank
from engine.drawing.lines import lines_picture
from engine.drawing.overlays import OVERLAYS, overlay_picture
from engine.drawing.scene import PairScene, TokenScene
from engine.drawing.strokes import Strokes
from engine.drawing.token_panels import heatmap_picture, pca_picture
from engine.errors import WorkError

LINES, OVERLAY, CHECKERBOARD, HEATMAP, PCA = "lines", "overlay", "checkerboard", "heatmap", "pca"
MODES = (LINES, OVERLAY, CHECKERBOARD, HEATMAP, PCA)
TOKEN_MODES = (HEATMAP, PCA)
"""Modes that need a `TokenScene`."""

_TITLES = {
    (LINES,): "Matches",
    (OVERLAY,): "b laid over a",
    (CHECKERBOARD,): "a and b in turn",
    (OVERLAY, CHECKERBOARD): "b laid over a, and in turn with it",
    (CHECKERBOARD, OVERLAY): "a and b in turn, and laid over each other",
    (HEATMAP,): "Similarity to one patch of a",
    (PCA,): "Principal components of the patches",
}
_TITLE_HEIGHT = 72


def draw_pair(
    scene: PairScene, strokes: Strokes, modes: Sequence[str] = (LINES,), tokens: TokenScene | None = None
) -> NDArray[np.uint8]:
    """Paints a pair.

    Args:
        modes: of `MODES`, from top to bottom; `overlay` and `checkerboard` after each other share a row.
        tokens: needed by `TOKEN_MODES`.

    Returns:
        uint8 RGB, 2,400 pixels wide.

    Raises:
        WorkError: a mode cannot be painted, as it needs a geometry that was not found, or tokens.
    """
    rows = [(row, _painted(row, scene, strokes, tokens)) for row in _rows(modes)]
    header = blank(HEADER)
    draw_header(header, scene)
    parts = [header]
    for row, picture in rows:
        if len(rows) > 1:
            title = blank(_TITLE_HEIGHT)
            draw_title(title, _TITLES[row])
            parts.append(title)
        parts.append(picture[HEADER:])
    return np.concatenate(parts)


def _rows(modes: Sequence[str]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for mode in modes:
        if mode in OVERLAYS and rows and len(rows[-1]) == 1 and rows[-1][0] in OVERLAYS and rows[-1] != (mode,):
            rows[-1] = (rows[-1][0], mode)
        else:
            rows.append((mode,))
    return rows


def _painted(row: tuple[str, ...], scene: PairScene, strokes: Strokes, tokens: TokenScene | None) -> NDArray[np.uint8]:
    if row[0] in OVERLAYS:
        return overlay_picture(scene, row)
    if row[0] == LINES:
        return lines_picture(scene, strokes)
    if tokens is None:
        raise WorkError(f"the mode '{row[0]}' needs the feature maps of both photographs")
    return heatmap_picture(scene, tokens) if row[0] == HEATMAP else pca_picture(scene, tokens)
