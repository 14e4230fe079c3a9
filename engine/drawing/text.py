"""Text on pictures, with the scalable fonts that OpenCV 5 carries inside: Latin, Korean, Chinese and Japanese alike.

The older Hershey fonts of OpenCV print a question mark for every letter beyond ASCII, so they are not used.
"""

import unicodedata
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.drawing.palette import Colour
from engine.errors import WorkError

REGULAR, SEMIBOLD = 400, 600
_ELLIPSIS = "…"


@lru_cache(maxsize=1)
def _face() -> Any:
    make: Any = getattr(cv2, "FontFace", None)
    if make is None:
        raise WorkError(
            f"drawing needs OpenCV 5 or later for its fonts, and cv2 is {cv2.__version__}: "
            "uninstall every other opencv package, then pip install -U opencv-python-headless"
        )
    return make("sans")


def printable(text: str) -> str:
    """The text with composed letters (file systems may store Hangul decomposed) and without control characters."""
    composed = unicodedata.normalize("NFC", text)
    return "".join(" " if unicodedata.category(letter).startswith(("C", "Z")) else letter for letter in composed)


def text_width(text: str, size: int, weight: int = REGULAR) -> int:
    """Width in pixels of the text at `size` pixels."""
    if not text:
        return 0
    box = cv2.getTextSize((1 << 16, 256), printable(text), (0, 128), _face(), size, weight)
    return int(box[0] + box[2])


def shorten(text: str, width: int, size: int, weight: int = REGULAR) -> str:
    """The text, or as much of its beginning and end around an ellipsis as fits into `width` pixels."""
    text = printable(text)
    if text_width(text, size, weight) <= width:
        return text
    for kept in range(len(text) - 1, 0, -1):
        head, tail = (kept + 1) // 2, kept // 2
        candidate = text[:head] + _ELLIPSIS + (text[-tail:] if tail else "")
        if text_width(candidate, size, weight) <= width:
            return candidate
    return _ELLIPSIS


def put_text(
    image: NDArray[np.uint8], text: str, x: int, baseline: int, size: int, colour: Colour, weight: int = REGULAR
) -> int:
    """Writes one line into `image` (uint8 RGB, in place), from `x` on the `baseline`; returns where it ends."""
    if text:
        # A range far wider than the picture keeps OpenCV from breaking the line at the right border.
        wrap = (0, 1 << 16)
        cv2.putText(image, printable(text), (x, baseline), colour, _face(), size, weight, cv2.PUT_TEXT_ALIGN_LEFT, wrap)
    return x + text_width(text, size, weight)
