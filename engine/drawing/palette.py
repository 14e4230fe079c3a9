"""The colours of pictures. RGB, 0 to 255."""

import cv2
import numpy as np
from numpy.typing import NDArray

Colour = tuple[int, int, int]

BACKGROUND: Colour = (17, 20, 24)
PANEL: Colour = (28, 32, 38)
RULE: Colour = (52, 58, 66)
BRIGHT: Colour = (240, 243, 247)
DIM: Colour = (150, 160, 173)
HALO: Colour = (12, 14, 16)
FRAME: Colour = (255, 255, 255)
OUTLIER: Colour = (235, 84, 98)
WARNING: Colour = (255, 176, 59)
GOOD: Colour = (94, 201, 98)

_DARKEST_ON_SCALE = 72
"""Where the scale begins on viridis. Its purple end would vanish on dark ground and read like the red of outliers."""


def _scale() -> NDArray[np.uint8]:
    levels = np.linspace(_DARKEST_ON_SCALE, 255, 256).round().astype(np.uint8)
    coloured = cv2.applyColorMap(levels[:, None], cv2.COLORMAP_VIRIDIS)
    return np.ascontiguousarray(coloured[:, 0, ::-1])


SCALE: NDArray[np.uint8] = _scale()
"""[256, 3] perceptual scale, blue through green to yellow: viridis, readable without full colour vision."""


def scale_colours(values: NDArray[np.floating], low: float, high: float) -> NDArray[np.uint8]:
    """[N, 3] colours of `values` on a scale from `low` to `high`."""
    span = max(high - low, 1e-9)
    level = np.clip((np.asarray(values, np.float64) - low) / span, 0.0, 1.0)
    return SCALE[(level * 255).round().astype(np.intp)]
