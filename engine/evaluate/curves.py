"""Curves of accuracy: success and median error over each factor, and success over the limit, as PNG."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.drawing.palette import BACKGROUND, BRIGHT, DIM, Colour
from engine.drawing.text import REGULAR, SEMIBOLD, put_text
from engine.errors import WorkError
from engine.evaluate.chart import Axis, Curve, draw_panel
from engine.evaluate.factors import FACTORS, Factor, Level
from engine.evaluate.measure import Row
from engine.evaluate.metrics import SUCCESS_LIMITS_PCT, Summary
from engine.evaluate.report import levels_of
from engine.store.atomic import write_bytes

Picture = NDArray[np.uint8]

COLOURS: tuple[Colour, ...] = (
    (94, 201, 98),
    (255, 176, 59),
    (86, 180, 233),
    (230, 130, 190),
    (240, 228, 66),
    (213, 94, 0),
    (160, 160, 255),
)
"""Told apart without full colour vision (after Okabe and Ito, 2008); the method under test is first."""

_PANEL = (660, 520)
_EDGE, _HEAD, _LEGEND = 32, 92, 64
_LOW_PCT, _HIGH_PCT = 0.01, 100.0
_LARGEST_LIMIT_PCT = 5.0
_PERCENT_AXIS = Axis((0, 25, 50, 75, 100), ("0", "25", "50", "75", "100"), -2, 102)


def draw_curves(rows_of: Mapping[str, Sequence[Row]], folder: Path) -> list[Path]:
    """Draws a picture for each factor of more than one level, and one of success over the limit; returns the files.

    Raises:
        WriteError: a file cannot be written.
    """
    colours = _colours(rows_of)
    pictures = []
    for factor in FACTORS:
        levels = levels_of(rows_of).get(factor.name, {})
        if len(levels) > 1:
            path = folder / f"{factor.name}.png"
            _write(path, factor_picture(factor, levels, colours))
            pictures.append(path)
    path = folder / "success.png"
    _write(path, success_picture(rows_of, colours))
    return [*pictures, path]


def _colours(rows_of: Mapping[str, Sequence[Row]]) -> dict[str, Colour]:
    names = list(dict.fromkeys(item.method for rows in rows_of.values() for item in rows[0].measured))
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}


def factor_picture(
    factor: Factor, levels: Mapping[Level, Mapping[str, Summary]], colours: Mapping[str, Colour]
) -> Picture:
    """Left: success at 1 % of the diagonal; right: median error, on a logarithmic axis. uint8 RGB."""
    at_1_pct = SUCCESS_LIMITS_PCT.index(1.0)
    places = _places(factor, list(levels))
    spread = (max(places) - min(places)) * 0.03
    across = Axis(
        tuple(places),
        tuple(str(level) for level in levels),
        min(places) - spread,
        max(places) + spread,
        f"{factor.name}, {factor.unit}",
    )
    success, errors = [], []
    # The method under test is drawn last, on top.
    for name in reversed(list(colours)):
        of_method = [summaries[name] for summaries in levels.values()]
        reached = [100.0 * summary.success[at_1_pct] for summary in of_method]
        medians = [_logarithm(summary.median_error_pct) for summary in of_method]
        success.append(Curve(np.column_stack([places, reached]), colours[name]))
        errors.append(Curve(np.column_stack([places, medians]), colours[name]))
    pairs = next(iter(next(iter(levels.values())).values())).pairs
    picture = _sheet(factor.name.capitalize(), f"{pairs} pairs at each level", colours)
    right = (2 * _EDGE + _PANEL[0], _HEAD)
    draw_panel(picture, (_EDGE, _HEAD), _PANEL, "Pairs within 1 % of the diagonal, %", across, _PERCENT_AXIS, success)
    draw_panel(picture, right, _PANEL, "Median error, % of the diagonal", across, _error_axis(), errors)
    return picture


def success_picture(rows_of: Mapping[str, Sequence[Row]], colours: Mapping[str, Colour]) -> Picture:
    """Success over the limit, for all pairs: left to 5 %, right to 1 % of the diagonal. uint8 RGB."""
    errors: dict[str, list[float]] = {}
    for rows in rows_of.values():
        for place, item in enumerate(rows[0].measured):
            measured = [row.measured[place].error_pct for row in rows]
            errors[item.method] = sorted(math.inf if error is None else error for error in measured)
    picture = _sheet("All pairs", f"{len(next(iter(errors.values())))} pairs", colours)
    for number, limit in enumerate((_LARGEST_LIMIT_PCT, 1.0)):
        limits = np.linspace(0, limit, 201)
        curves = [
            Curve(
                np.column_stack([limits, 100.0 * np.searchsorted(errors[name], limits, "right") / len(errors[name])]),
                colours[name],
                marks=False,
            )
            for name in reversed(list(colours))
        ]
        ticks = tuple(limit * step / 5 for step in range(6))
        across = Axis(ticks, tuple(f"{tick:g}" for tick in ticks), 0, limit, "largest error, % of the diagonal")
        corner = (_EDGE + number * (_EDGE + _PANEL[0]), _HEAD)
        draw_panel(picture, corner, _PANEL, f"Pairs within a limit, to {limit:g} %", across, _PERCENT_AXIS, curves)
    return picture


def _places(factor: Factor, levels: Sequence[Level]) -> list[float]:
    if factor.axis == "even":
        return [float(place) for place in range(len(levels))]
    return [math.log(float(level)) if factor.axis == "log" else float(level) for level in levels]


def _logarithm(error_pct: float) -> float:
    """Decimal logarithm within the axis; what has no model lies on its upper border."""
    return math.log10(min(max(error_pct, _LOW_PCT), _HIGH_PCT))


def _error_axis() -> Axis:
    ticks = (0.01, 0.1, 1.0, 10.0, 100.0)
    return Axis(tuple(math.log10(t) for t in ticks), ("0.01", "0.1", "1", "10", "≥ 100"), -2.06, 2.06)


def _sheet(title: str, note: str, colours: Mapping[str, Colour]) -> Picture:
    width = 3 * _EDGE + 2 * _PANEL[0]
    sheet = np.full((_HEAD + _PANEL[1] + _LEGEND, width, 3), BACKGROUND, np.uint8)
    end = put_text(sheet, title, _EDGE, 58, 34, BRIGHT, SEMIBOLD)
    put_text(sheet, note, end + 24, 58, 22, DIM, REGULAR)
    at, line = _EDGE, sheet.shape[0] - 24
    for name, colour in colours.items():
        cv2.line(sheet, (at, line - 7), (at + 34, line - 7), colour, 5, cv2.LINE_AA)
        at = put_text(sheet, name, at + 46, line, 22, BRIGHT, REGULAR) + 40
    return sheet


def _write(path: Path, picture: Picture) -> None:
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise WorkError(f"{path}: OpenCV could not encode the picture as PNG: reinstall opencv-python-headless")
    write_bytes(path, bytes(data.tobytes()))
