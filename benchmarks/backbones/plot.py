"""The comparison as a picture: a group of bars for every backbone, images a second on a logarithmic scale."""

import math
from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.backbones.measure import Measured
from engine.drawing.palette import BACKGROUND, BRIGHT, DIM, PANEL, RULE, Colour
from engine.drawing.text import SEMIBOLD, put_text, text_width
from engine.evaluate.curves import COLOURS

WIDTH, EDGE, HEAD, AXIS = 1280, 32, 116, 60
BAR, GAP, NAME = 15, 16, 118
TITLE_PX, TEXT_PX, SMALL_PX = 26, 19, 15


def picture(measured: Sequence[Measured], title: str) -> NDArray[np.uint8]:
    """The picture, uint8 RGB."""
    names = list(dict.fromkeys(figure.way for one in measured for figure in one.figures))
    colours = dict(zip(names, COLOURS, strict=False))
    rates = [figure.images_s for one in measured for figure in one.figures]
    low, high = math.floor(math.log10(min(rates)) * 2) / 2, math.log10(max(rates)) + 0.12
    left, right = EDGE + NAME, WIDTH - EDGE - 60
    height = HEAD + sum(len(one.figures) * BAR + GAP for one in measured) + AXIS
    image = np.empty((height, WIDTH, 3), np.uint8)
    image[:] = BACKGROUND
    put_text(image, title, EDGE, 44, TITLE_PX, BRIGHT, SEMIBOLD)
    _legend(image, names, colours)
    cv2.rectangle(image, (left, HEAD - 8), (right, height - AXIS), PANEL, cv2.FILLED)

    def across(rate: float) -> int:
        return round(left + (math.log10(rate) - low) / (high - low) * (right - left))

    _scale(image, low, high, across, height - AXIS)
    top = HEAD
    for one in measured:
        middle = top + len(one.figures) * BAR // 2
        put_text(image, one.alias, left - 14 - text_width(one.alias, TEXT_PX, SEMIBOLD), middle + 7, TEXT_PX, BRIGHT)
        for figure in one.figures:
            end = across(figure.images_s)
            cv2.rectangle(image, (left, top + 1), (end, top + BAR - 3), colours[figure.way], cv2.FILLED)
            put_text(image, f"{figure.images_s:.3g}", end + 8, top + BAR - 3, SMALL_PX, DIM)
            top += BAR
        top += GAP
    return image


def _legend(image: NDArray[np.uint8], names: Sequence[str], colours: dict[str, Colour]) -> None:
    x = EDGE
    for name in names:
        cv2.rectangle(image, (x, 68), (x + 15, 83), colours[name], cv2.FILLED)
        x = put_text(image, name, x + 24, 82, TEXT_PX, DIM) + 26


def _scale(image: NDArray[np.uint8], low: float, high: float, across: Callable[[float], int], bottom: int) -> None:
    for power in range(math.ceil(low) - 1, math.ceil(high) + 1):
        for step in (1, 2, 5):
            rate = step * 10.0**power
            if low <= math.log10(rate) <= high:
                column, label = across(rate), f"{rate:g}"
                cv2.line(image, (column, HEAD - 8), (column, bottom), RULE, 1)
                put_text(image, label, column - text_width(label, SMALL_PX) // 2, bottom + 22, SMALL_PX, DIM)
    title = "images a second, one at a time; logarithmic"
    put_text(image, title, (WIDTH - text_width(title, SMALL_PX)) // 2, bottom + 46, SMALL_PX, DIM)
