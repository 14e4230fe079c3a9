"""Smooth random fields, the raw material of soil, crops, water and crowns."""

import cv2
import numpy as np
from numpy.typing import NDArray

Field = NDArray[np.float32]
"""[H, W] float32, one value per scene pixel."""


def smooth_noise(shape: tuple[int, int], scale_px: float, rng: np.random.Generator) -> Field:
    """Noise of one scale: about zero mean and unit variance, features about `scale_px` wide.

    Args:
        shape: (height, width).
    """
    if scale_px <= 1.0:
        return rng.standard_normal(shape, np.float32)
    coarse = (int(shape[0] / scale_px) + 4, int(shape[1] / scale_px) + 4)
    seeds = rng.standard_normal(coarse, np.float32)
    zoom = np.array([[scale_px, 0.0, -1.5 * scale_px], [0.0, scale_px, -1.5 * scale_px]])
    field = cv2.warpAffine(seeds, zoom, (shape[1], shape[0]), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return np.asarray(field, np.float32) * np.float32(1.3)


def fractal_noise(shape: tuple[int, int], scales_px: dict[float, float], rng: np.random.Generator) -> Field:
    """Sum of noises, `scale in pixels -> amplitude`.

    Args:
        shape: (height, width).
    """
    total = np.zeros(shape, np.float32)
    for scale_px, amplitude in scales_px.items():
        total += np.float32(amplitude) * smooth_noise(shape, scale_px, rng)
    return total
