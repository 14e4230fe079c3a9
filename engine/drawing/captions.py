"""The words on a picture: which pair, what it was found with, the numbers, and how to read the colours."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.drawing.layout import FOOTER, MARGIN, WIDTH, Layout
from engine.drawing.palette import BRIGHT, DIM, FRAME, GOOD, OUTLIER, RULE, SCALE, WARNING, Colour
from engine.drawing.scene import PairScene
from engine.drawing.text import REGULAR, SEMIBOLD, put_text, shorten, text_width

_TITLE, _VALUE, _SUFFIX, _SMALL = 44, 44, 32, 26
_SUFFIX_GAP = 12
_BLOCK_GAP = 56

_NARROW = 560
"""Photographs narrower than this, in pixels of the picture, do not hold their own captions."""


@dataclass(frozen=True)
class Number:
    """A figure of the header: its label and value, and what follows the value in smaller letters."""

    label: str
    value: str
    suffix: str = ""
    colour: Colour = BRIGHT


def header_numbers(scene: PairScene) -> list[Number]:
    """The figures of a pair, left to right."""
    count = len(scene.similarity)
    numbers = [Number("matches", f"{count:,}")]
    if scene.inliers is None:
        numbers.append(Number("inliers", "not verified", colour=DIM))
    elif not scene.model_found:
        numbers.append(Number("inliers", "no model found", colour=WARNING))
    else:
        good = int(scene.inliers.sum())
        share = f"{math.floor(100 * good / count + 0.5)} %" if count else ""
        numbers.append(Number("inliers", f"{good:,}", share, GOOD if good else WARNING))
    if scene.median_error_px is not None:
        numbers.append(Number("median error in b", _figures(scene.median_error_px), "px"))
    if scene.similarity_range is not None:
        low, high = scene.similarity_range
        of = " of inliers" if scene.inliers is not None and scene.inliers.any() else ""
        numbers.append(Number(f"similarity{of}", f"{low:.2f} – {high:.2f}"))
    return numbers


def _figures(value: float) -> str:
    return f"{value:.2f}" if value < 10 else f"{value:,.1f}" if value < 1000 else f"{value:,.0f}"


def draw_header(picture: NDArray[np.uint8], scene: PairScene) -> None:
    """The band above the photographs, in place: the pair on the left, its numbers on the right."""
    right = WIDTH - MARGIN
    upper, lower = 60, 106
    for number in reversed(header_numbers(scene)):
        value_width = text_width(number.value, _VALUE, SEMIBOLD)
        suffix_width = _SUFFIX_GAP + text_width(number.suffix, _SUFFIX) if number.suffix else 0
        width = max(value_width + suffix_width, text_width(number.label, _SMALL))
        end = put_text(picture, number.value, right - width, upper, _VALUE, number.colour, SEMIBOLD)
        put_text(picture, number.suffix, end + _SUFFIX_GAP, upper, _SUFFIX, BRIGHT)
        put_text(picture, number.label, right - width, lower, _SMALL, DIM)
        right -= width + _BLOCK_GAP
    room = max(right - MARGIN, 200)
    title = f"{scene.key_a} → {scene.key_b}"
    size = _TITLE
    while size > 28 and text_width(title, size, SEMIBOLD) > room:
        size -= 2
    half = (room - text_width(" → ", size, SEMIBOLD)) // 2
    if text_width(title, size, SEMIBOLD) > room:
        short_a, short_b = (shorten(key, half, size, SEMIBOLD) for key in (scene.key_a, scene.key_b))
        title = f"{short_a} → {short_b}"
    put_text(picture, title, MARGIN, upper, size, BRIGHT, SEMIBOLD)
    put_text(picture, shorten(scene.subtitle, room, _SMALL), MARGIN, lower, _SMALL, DIM)


def draw_footer(picture: NDArray[np.uint8], scene: PairScene, layout: Layout, lines_drawn: int) -> None:
    """Below the photographs of the mode `lines`, in place: their files, and the legend."""
    draw_files(picture, scene, layout)
    _legend(picture, scene, lines_drawn, legend_baseline(picture))


def draw_files(picture: NDArray[np.uint8], scene: PairScene, layout: Layout) -> None:
    """The names of both files below their photographs, and a rule, in place."""
    top = layout.height - FOOTER
    panels = (layout.panel_a, layout.panel_b)
    spans = [(panel.left, panel.right) for panel in panels]
    if min(panel.width for panel in panels) < _NARROW:
        spans = [(MARGIN, WIDTH // 2 - MARGIN), (WIDTH // 2, WIDTH - MARGIN)]
    for letter, name, panel, span in zip("ab", (scene.file_a, scene.file_b), panels, spans, strict=True):
        _caption(picture, letter, name, panel.image_size, span, top + 40)
    draw_rule(picture)


def draw_words(picture: NDArray[np.uint8], words: str, span: tuple[int, int]) -> None:
    """What a panel shows, below it between two columns, in place."""
    put_text(picture, shorten(words, span[1] - span[0], _SMALL), span[0], len(picture) - FOOTER + 40, _SMALL, DIM)


def draw_rule(picture: NDArray[np.uint8]) -> None:
    """The line between captions and legend, in place."""
    top = len(picture) - FOOTER
    cv2.line(picture, (MARGIN, top + 60), (WIDTH - MARGIN, top + 60), RULE, 1)


def legend_baseline(picture: NDArray[np.uint8]) -> int:
    """Where the legend is written."""
    return len(picture) - FOOTER + 101


def _caption(
    picture: NDArray[np.uint8],
    letter: str,
    name: str,
    image_size: tuple[int, int],
    span: tuple[int, int],
    baseline: int,
) -> None:
    x = put_text(picture, letter, span[0], baseline, _SMALL, BRIGHT, SEMIBOLD) + 14
    size = f"  ·  {image_size[0]:,} × {image_size[1]:,} px"
    room = span[1] - x - text_width(size, _SMALL)
    put_text(picture, shorten(name, room, _SMALL) + size, x, baseline, _SMALL, DIM)


def _legend(picture: NDArray[np.uint8], scene: PairScene, lines_drawn: int, baseline: int) -> None:
    x = MARGIN
    if scene.similarity_range is not None and scene.kept.any():
        low, high = scene.similarity_range
        what = "inliers by similarity" if scene.inliers is not None else "matches by similarity"
        x = put_scale(picture, what, f"{low:.2f}", f"{high:.2f}", x, baseline)
    if scene.inliers is not None:
        cv2.line(picture, (x, baseline - 9), (x + 56, baseline - 9), OUTLIER, 2, cv2.LINE_AA)
        outliers = len(scene.similarity) - int(scene.inliers.sum())
        x = put_words(picture, f"outliers  {outliers:,}", x + 72, baseline)
    if scene.point_map is not None:
        put_frame(picture, "frame of a on b, the arrow at its upper side", x, baseline)
    total = len(scene.similarity)
    if lines_drawn < total:
        note = f"{lines_drawn:,} of {total:,} lines drawn, best first" if lines_drawn else "lines left out"
        put_text(picture, note, WIDTH - MARGIN - text_width(note, _SMALL), baseline, _SMALL, DIM, REGULAR)


def put_words(picture: NDArray[np.uint8], words: str, x: int, baseline: int) -> int:
    """An entry of a legend, in place; returns where the next begins."""
    return put_text(picture, words, x, baseline, _SMALL, DIM) + _BLOCK_GAP


def put_scale(picture: NDArray[np.uint8], what: str, low: str, high: str, x: int, baseline: int) -> int:
    """The colour scale with its ends, in place; returns where the next entry begins."""
    x = put_text(picture, what, x, baseline, _SMALL, DIM) + 18
    x = put_text(picture, low, x, baseline, _SMALL, BRIGHT) + 12
    picture[baseline - 18 : baseline, x : x + 256] = SCALE
    return put_text(picture, high, x + 256 + 12, baseline, _SMALL, BRIGHT) + _BLOCK_GAP


def put_frame(picture: NDArray[np.uint8], words: str, x: int, baseline: int) -> int:
    """A white frame and what it stands for, in place; returns where the next entry begins."""
    cv2.rectangle(picture, (x, baseline - 21), (x + 44, baseline + 3), FRAME, 3)
    return put_words(picture, words, x + 60, baseline)


def put_field(picture: NDArray[np.uint8], colour: Colour, words: str, x: int, baseline: int) -> int:
    """A field of a colour and what it stands for, in place; returns where the next entry begins."""
    cv2.rectangle(picture, (x, baseline - 21), (x + 24, baseline + 3), colour, cv2.FILLED)
    cv2.rectangle(picture, (x, baseline - 21), (x + 24, baseline + 3), DIM, 1)
    return put_words(picture, words, x + 40, baseline)


def draw_title(picture: NDArray[np.uint8], title: str) -> None:
    """The name of a panel among several, on a strip of its own, in place."""
    cv2.line(picture, (0, 0), (WIDTH, 0), RULE, 2)
    put_text(picture, title, MARGIN, len(picture) - 22, _SUFFIX, BRIGHT, SEMIBOLD)
