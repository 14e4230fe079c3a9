"""Modes `heatmap` and `pca`: what the tokens of both photographs have in common."""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project
from engine.drawing.captions import draw_files, legend_baseline, put_field, put_scale, put_words
from engine.drawing.layout import MARGIN, Panel, blank, fitted, place, place_photograph, view
from engine.drawing.palette import HALO, PANEL, SCALE, Colour
from engine.drawing.scene import PairScene, TokenScene
from engine.drawing.token_colours import (
    on_photograph,
    principal_colours,
    similarity_to,
    spread_over,
    token_at,
    token_to_panel,
)
from engine.errors import WorkError

_HEAT_OPACITY = (0.35, 0.8)
"""Of the least and the most similar patches: what is alike stands out, and elsewhere the photograph shows through."""
_COLOUR_OPACITY = 0.82
_LOWEST_PERCENTILE = 5.0
"""Where the colours of the heat map begin: a few patches unlike everything must not use up the scale."""
MARK: Colour = (255, 255, 255)
_EXPECTED: Colour = (255, 84, 98)


def heatmap_picture(scene: PairScene, tokens: TokenScene) -> NDArray[np.uint8]:
    """a with a patch marked, and b coloured by the similarity of its patches to that one, below an empty header.

    Raises:
        WorkError: no patch is chosen.
    """
    point = tokens.point_px
    if point is None:
        raise WorkError(
            "--mode heatmap shows one patch of a, and this pair has no match to take it from: add --point X,Y"
        )
    layout = place(scene.size_a, scene.size_b)
    picture = blank(layout.height)
    place_photograph(picture, scene.image_a, layout.panel_a)
    similarity = similarity_to(tokens.a, token_at(tokens.a, point), tokens.b)
    real = on_photograph(tokens.b)
    low, high = float(np.percentile(similarity[real], _LOWEST_PERCENTILE)), float(similarity[real].max())
    levels = np.clip((similarity - low) / max(high - low, 1e-6), 0.0, 1.0)
    heat = spread_over(SCALE[np.round(levels * 255).astype(np.intp)], tokens.b, layout.panel_b)
    level = spread_over(np.round(levels * 255).astype(np.uint8), tokens.b, layout.panel_b)
    weight = np.interp(level, (0, 255), _HEAT_OPACITY).astype(np.float32)
    photograph = fitted(scene.image_b, layout.panel_b)
    view(picture, layout.panel_b)[:] = cv2.blendLinear(heat, photograph, weight, np.float32(1.0) - weight)
    best = tokens.b.points_px[int(np.where(real, similarity, -np.inf).argmax())]
    _mark_patch(picture, layout.panel_a, tokens, point)
    _circle(picture, _on(layout.panel_b, best), 26, 5, MARK)
    expected = None if scene.point_map is None else project(scene.point_map, np.array([point]))[0]
    if expected is not None and _inside(expected, scene.size_b):
        _plus(picture, _on(layout.panel_b, expected), 64, 5, _EXPECTED)
    draw_files(picture, scene, layout)
    baseline = legend_baseline(picture)
    x = put_scale(picture, "similarity to the patch of a", f"≤ {_two_places(low)}", _two_places(high), MARGIN, baseline)
    _circle(picture, (x + 16, baseline - 9), 13, 3, MARK)
    x = put_words(picture, f"most similar patch, at {best[0]:,.0f}, {best[1]:,.0f}", x + 48, baseline)
    if expected is not None:
        where = "where the geometry puts it" if _inside(expected, scene.size_b) else "the geometry puts it outside b"
        _plus(picture, (x + 16, baseline - 9), 30, 3, _EXPECTED)
        x = put_words(picture, where, x + 48, baseline)
    put_words(picture, f"patch of a: at {point[0]:,.0f}, {point[1]:,.0f}", x, baseline)
    return picture


def pca_picture(scene: PairScene, tokens: TokenScene) -> NDArray[np.uint8]:
    """Both photographs in the colours of their tokens' principal components, below an empty header."""
    layout = place(scene.size_a, scene.size_b)
    picture = blank(layout.height)
    painted = principal_colours((tokens.a, tokens.b), tokens.keypoint_threshold)
    left_out = False
    for image, features, panel, (colours, counted) in zip(
        (scene.image_a, scene.image_b), (tokens.a, tokens.b), (layout.panel_a, layout.panel_b), painted, strict=True
    ):
        shown = np.where(counted[..., None], colours, np.array(PANEL, np.uint8))
        left_out = left_out or not counted.all()
        large = spread_over(shown, features, panel, smooth=True)
        view(picture, panel)[:] = cv2.addWeighted(
            large, _COLOUR_OPACITY, _grey(fitted(image, panel)), 1.0 - _COLOUR_OPACITY, 0.0
        )
    draw_files(picture, scene, layout)
    x, baseline = MARGIN, legend_baseline(picture)
    for colour, words in (
        ((255, 60, 60), "first"),
        ((60, 220, 60), "second"),
        ((80, 110, 255), "third component of all patches of both photographs: like colours, like patches"),
    ):
        x = put_field(picture, colour, words, x, baseline)
    if left_out:
        put_field(picture, PANEL, "left out of matching", x, baseline)
    return picture


def _two_places(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # never -0.00


def _grey(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def _inside(point: NDArray[np.float64], size: tuple[int, int]) -> bool:
    return bool(np.isfinite(point).all() and (point >= -0.5).all() and (point <= np.array(size) - 0.5).all())


def _on(panel: Panel, point: NDArray[np.float64] | tuple[float, float]) -> tuple[int, int]:
    """A point of the photograph in whole pixels of the picture."""
    x, y = project(panel.matrix, np.array([point], np.float64))[0]
    return round(x), round(y)


def _mark_patch(picture: NDArray[np.uint8], panel: Panel, tokens: TokenScene, point: tuple[float, float]) -> None:
    """The border of the point's patch, and the point."""
    row, col = divmod(token_at(tokens.a, point), tokens.a.grid[1])
    around = np.add((col, row), [(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
    border = np.rint(project(token_to_panel(tokens.a, panel), around)).astype(np.int32)
    for colour, thickness in ((HALO, 10), (MARK, 5)):
        cv2.polylines(picture, [border], True, colour, thickness)
    cv2.circle(picture, _on(panel, point), 8, HALO, cv2.FILLED, cv2.LINE_AA)
    cv2.circle(picture, _on(panel, point), 5, MARK, cv2.FILLED, cv2.LINE_AA)


def _circle(picture: NDArray[np.uint8], middle: tuple[int, int], radius: int, width: int, colour: Colour) -> None:
    for ink, thickness in ((HALO, width + 4), (colour, width)):
        cv2.circle(picture, middle, radius, ink, thickness, cv2.LINE_AA)


def _plus(picture: NDArray[np.uint8], middle: tuple[int, int], reach: int, width: int, colour: Colour) -> None:
    for ink, thickness in ((HALO, width + 6), (colour, width)):
        cv2.drawMarker(picture, middle, ink, cv2.MARKER_CROSS, reach, thickness, cv2.LINE_AA)
