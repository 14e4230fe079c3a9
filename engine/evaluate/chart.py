"""A small line chart, drawn with OpenCV: one panel of an axis frame, curves, marks and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.drawing.palette import BRIGHT, DIM, PANEL, RULE, Colour
from engine.drawing.strokes import SHIFT, draw_bar
from engine.drawing.text import REGULAR, SEMIBOLD, put_text, text_width

Picture = NDArray[np.uint8]

TITLE_PX, LABEL_PX = 24, 19
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 28, 64, 84
_CURVE_PX, _MARK_PX = 4, 6


@dataclass(frozen=True)
class Axis:
    """An axis: positions of its ticks, their labels, the range shown (in the units of positions), and its title."""

    ticks: tuple[float, ...]
    labels: tuple[str, ...]
    low: float
    high: float
    title: str = ""


@dataclass(frozen=True, eq=False)
class Curve:
    """Points [N, 2] (x, y) in the axes' units; those that are not finite break the line."""

    points: NDArray[np.float64]
    colour: Colour
    marks: bool = True


def draw_panel(
    image: Picture,
    corner: tuple[int, int],
    size: tuple[int, int],
    title: str,
    x: Axis,
    y: Axis,
    curves: Sequence[Curve],
) -> None:
    """Draws one panel into `image` (uint8 RGB, in place), at `corner` (x, y) with `size` (width, height)."""
    left, top = corner
    cv2.rectangle(image, corner, (left + size[0] - 1, top + size[1] - 1), PANEL, cv2.FILLED)
    put_text(image, title, left + 24, top + 38, TITLE_PX, BRIGHT, SEMIBOLD)
    inner = (left + _LEFT, top + _TOP, left + size[0] - _RIGHT, top + size[1] - _BOTTOM)
    _draw_grid(image, inner, x, y)
    for curve in curves:
        _draw_curve(image, _to_pixels(curve.points, inner, x, y), curve)


def _draw_grid(image: Picture, inner: tuple[int, int, int, int], x: Axis, y: Axis) -> None:
    left, top, right, bottom = inner
    for tick, label in zip(y.ticks, y.labels, strict=True):
        row = round(bottom - (tick - y.low) / (y.high - y.low) * (bottom - top))
        cv2.line(image, (left, row), (right, row), RULE, 1)
        put_text(image, label, left - 12 - text_width(label, LABEL_PX), row + 6, LABEL_PX, DIM, REGULAR)
    ended = -(1 << 16)
    for tick, label in zip(x.ticks, x.labels, strict=True):
        column = round(left + (tick - x.low) / (x.high - x.low) * (right - left))
        cv2.line(image, (column, bottom), (column, bottom + 6), RULE, 1)
        width = text_width(label, LABEL_PX)
        if column - width // 2 > ended + 8:
            put_text(image, label, column - width // 2, bottom + 28, LABEL_PX, DIM, REGULAR)
            ended = column + width // 2
    put_text(image, x.title, (left + right - text_width(x.title, LABEL_PX)) // 2, bottom + 60, LABEL_PX, DIM, REGULAR)


def _to_pixels(points: NDArray[np.float64], inner: tuple[int, int, int, int], x: Axis, y: Axis) -> NDArray[np.float64]:
    """Places of points in the picture; what lies above or below the range is put on its border."""
    left, top, right, bottom = inner
    across = left + (points[:, 0] - x.low) / (x.high - x.low) * (right - left)
    down = bottom - (np.clip(points[:, 1], y.low, y.high) - y.low) / (y.high - y.low) * (bottom - top)
    return np.column_stack([across, down])


def _draw_curve(image: Picture, places: NDArray[np.float64], curve: Curve) -> None:
    there = np.asarray(np.isfinite(places).all(axis=1), bool)
    for at in range(len(places) - 1):
        if there[at] and there[at + 1]:
            draw_bar(image, places[at], places[at + 1], _CURVE_PX, curve.colour)
    if not curve.marks:
        return
    one = 1 << SHIFT
    for place in places[there]:
        centre = (round(float(place[0]) * one), round(float(place[1]) * one))
        cv2.circle(image, centre, (_MARK_PX + 2) * one, PANEL, cv2.FILLED, cv2.LINE_AA, SHIFT)
        cv2.circle(image, centre, _MARK_PX * one, curve.colour, cv2.FILLED, cv2.LINE_AA, SHIFT)
