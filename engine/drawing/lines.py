"""Mode `lines`: matches from photograph to photograph, and where the frame of a falls on b."""

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project
from engine.drawing.captions import draw_footer
from engine.drawing.frames import draw_arrow, draw_segments, projected_frame, top_arrow
from engine.drawing.layout import WIDTH, Layout, blank, place, place_photograph, view
from engine.drawing.palette import FRAME, OUTLIER, scale_colours
from engine.drawing.scene import PairScene
from engine.drawing.strokes import Strokes, draw_lines, draw_points

_OUTLIER_OPACITY = 0.6
"""Of what inliers have."""

FRAME_WIDTH = 4


def lines_picture(scene: PairScene, strokes: Strokes) -> NDArray[np.uint8]:
    """Both photographs side by side with their matches, below an empty header."""
    layout = place(scene.size_a, scene.size_b)
    picture = blank(layout.height)
    place_photograph(picture, scene.image_a, layout.panel_a)
    place_photograph(picture, scene.image_b, layout.panel_b)
    drawn = draw_matches(picture, scene, layout, strokes)
    if scene.point_map is not None:
        draw_frames(picture, scene.point_map, layout)
    draw_footer(picture, scene, layout, drawn)
    return picture


def draw_matches(picture: NDArray[np.uint8], scene: PairScene, layout: Layout, strokes: Strokes) -> int:
    """Outliers first, then inliers, the best on top. Returns the number of lines drawn."""
    kept = scene.kept
    best_first = np.lexsort((-np.asarray(scene.similarity, np.float64), ~kept))
    chosen = best_first[: strokes.max_lines if strokes.linewidth else 0][::-1]
    good, bad = chosen[kept[chosen]], chosen[~kept[chosen]]
    on_a = project(layout.panel_a.matrix, scene.points_a_px)
    on_b = project(layout.panel_b.matrix, scene.points_b_px)
    low, high = scene.similarity_range or (0.0, 1.0)
    colours = scale_colours(scene.similarity, low, high)
    colours[~kept] = OUTLIER
    width = strokes.width_for(len(good))
    thin = min(width, max(1, width // 2))
    seam = (layout.panel_a.right + layout.panel_b.left) / 2
    opacity = strokes.opacity_along(WIDTH, seam, len(chosen))
    draw_lines(picture, on_a[bad], on_b[bad], colours[bad], thin, opacity * _OUTLIER_OPACITY, halo=False)
    draw_lines(picture, on_a[good], on_b[good], colours[good], width, opacity, halo=True)
    if strokes.points:
        radius = strokes.radius_for(width)
        worst_first = best_first[::-1]
        for rows, size in (
            (worst_first[~kept[worst_first]], (radius + 1) // 2),
            (worst_first[kept[worst_first]], radius),
        ):
            for points in (on_a, on_b):
                draw_points(picture, points[rows], colours[rows], size)
    return len(chosen)


def draw_frames(picture: NDArray[np.uint8], point_map: NDArray[np.float64], layout: Layout) -> None:
    """The border of a around a, and where it falls on b."""
    panel_a, panel_b = layout.panel_a, layout.panel_b
    cv2.rectangle(
        picture,
        (panel_a.left - 2, panel_a.top - 2),
        (panel_a.right + 1, panel_a.bottom + 1),
        FRAME,
        FRAME_WIDTH,
        cv2.LINE_8,
    )
    starts, ends = projected_frame(point_map, panel_a.image_size)
    arrow = top_arrow(panel_a.image_size)
    corner_a, corner_b = ([float(panel.left), float(panel.top)] for panel in (panel_a, panel_b))
    draw_arrow(view(picture, panel_a), project(panel_a.matrix, arrow) - corner_a)
    on_b = view(picture, panel_b)
    starts, ends = (project(panel_b.matrix, points) - corner_b for points in (starts, ends))
    draw_segments(on_b, starts, ends, FRAME_WIDTH)
    draw_arrow(on_b, project(panel_b.matrix, project(point_map, arrow)) - corner_b)
