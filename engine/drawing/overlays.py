"""Modes `overlay` and `checkerboard`: b warped onto a by the geometry found."""

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project
from engine.drawing.captions import draw_rule, draw_words, legend_baseline, put_frame, put_words
from engine.drawing.frames import draw_arrow, draw_segments, projected_frame, top_arrow
from engine.drawing.layout import MARGIN, WIDTH, Panel, blank, fitted, place, place_one, view
from engine.drawing.lines import FRAME_WIDTH
from engine.drawing.scene import PairScene
from engine.drawing.warping import Warped, b_on_a, blended, checkered
from engine.errors import WorkError

OVERLAYS = ("overlay", "checkerboard")
_FIELDS = 8
"""Fields of the checkerboard along the shorter side."""
_WORDS = {
    "overlay": "half a, half b: where both agree, the picture is sharp; where not, it is double",
    "checkerboard": "a and b in turn: edges run on from field to field where both agree",
}


def overlay_picture(scene: PairScene, modes: tuple[str, ...]) -> NDArray[np.uint8]:
    """One mode, or both side by side, in the frame of a, below an empty header.

    Raises:
        WorkError: there is no point map.
    """
    point_map = require_point_map(scene, modes[0])
    panels: tuple[Panel, ...]
    if len(modes) == 1:
        height, panel = place_one(scene.size_a)
        panels = (panel,)
    else:
        layout = place(scene.size_a, scene.size_a)
        height, panels = layout.height, (layout.panel_a, layout.panel_b)
    picture = blank(height)
    for mode, panel, span in zip(modes, panels, _spans(panels), strict=True):
        warped = b_on_a(scene.image_b, point_map, panel)
        image_a = fitted(scene.image_a, panel)
        if mode == "overlay":
            painted = blended(image_a, warped)
        else:
            painted = checkered(image_a, warped, max(1, min(panel.width, panel.height) // _FIELDS))
        view(picture, panel)[:] = painted
        _draw_frame_of_b(view(picture, panel), warped, panel, scene.size_b)
        draw_words(picture, _WORDS[mode], span)
    draw_rule(picture)
    baseline = legend_baseline(picture)
    x = put_frame(picture, "frame of b on a, the arrow at its upper side", MARGIN, baseline)
    put_words(picture, f"a  {scene.file_a}     b  {scene.file_b}", x, baseline)
    return picture


def require_point_map(scene: PairScene, mode: str) -> NDArray[np.float64]:
    """The point map of a scene.

    Raises:
        WorkError: there is none; the message says why, and what to do.
    """
    if scene.point_map is not None:
        return scene.point_map
    if not scene.model_found:
        why = "no geometry was found for this pair"
    elif scene.inliers is None:
        why = "this pair was not verified"
    else:
        why = "this pair was verified with a filter whose geometry maps points to lines, not to points"
    raise WorkError(
        f"--mode {mode} lays b over a, and {why}. Verify again, for example with --ransac homography, or draw "
        "--mode lines"
    )


def _spans(panels: tuple[Panel, ...]) -> list[tuple[int, int]]:
    if len(panels) == 1:
        return [(MARGIN, WIDTH - MARGIN)]
    return [(panel.left, panel.right) for panel in panels]


def _draw_frame_of_b(pixels: NDArray[np.uint8], warped: Warped, panel: Panel, size_b: tuple[int, int]) -> None:
    corner = [float(panel.left), float(panel.top)]
    starts, ends = (project(panel.matrix, points) - corner for points in projected_frame(warped.matrix, size_b))
    draw_segments(pixels, starts, ends, FRAME_WIDTH)
    draw_arrow(pixels, project(panel.matrix, project(warped.matrix, top_arrow(size_b))) - corner)
