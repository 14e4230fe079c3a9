"""The camera: takes a picture of the scene through a homography, with light, lens, sensor and sharpness of its own."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
"""[H, W, 3] float32 RGB, 0 to 1 (sRGB)."""
Matrix = NDArray[np.float64]

_OVERSAMPLING = 2


@dataclass(frozen=True)
class Look:
    """What the camera and the air do to the colours.

    Attributes:
        exposure: factor on the picture.
        white_balance: factor per channel, RGB.
        saturation: 1 keeps the colours, 0 makes grey.
        haze: share of `haze_colour` (sRGB, 0 to 1) mixed in.
        vignetting: loss of light in the corners.
        blur_px: standard deviation of the lens blur.
        noise: standard deviation of the sensor noise, 1 is white.
    """

    exposure: float
    white_balance: tuple[float, float, float]
    saturation: float
    haze: float
    haze_colour: tuple[float, float, float]
    vignetting: float
    blur_px: float
    noise: float


def sample(scene: Picture, picture_to_scene: Matrix, size: tuple[int, int]) -> Picture:
    """The scene seen through a homography, antialiased; outside the scene its border is mirrored.

    Each pixel is the mean of 2 x 2 bicubic samples around its centre, which is right up to two scene pixels a pixel.

    Args:
        picture_to_scene: [3, 3] map of pixel coordinates, pixel centres at integers in both.
        size: (width, height) of the picture.
    """
    fine_size = (size[0] * _OVERSAMPLING, size[1] * _OVERSAMPLING)
    shift = 0.5 / _OVERSAMPLING - 0.5
    fine_to_picture = np.array([[1 / _OVERSAMPLING, 0, shift], [0, 1 / _OVERSAMPLING, shift], [0, 0, 1.0]])
    flags = cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP
    fine = cv2.warpPerspective(
        scene, picture_to_scene @ fine_to_picture, fine_size, flags=flags, borderMode=cv2.BORDER_REFLECT_101
    )
    return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.float32)


def develop(picture: Picture, look: Look, rng: np.random.Generator) -> NDArray[np.uint8]:
    """What the camera stores, [H, W, 3] uint8 RGB."""
    blurred = cv2.GaussianBlur(picture, (0, 0), look.blur_px) if look.blur_px > 0 else picture
    grey = blurred @ np.array([0.299, 0.587, 0.114], np.float32)
    pixels = grey[..., None] + (blurred - grey[..., None]) * np.float32(look.saturation)
    pixels = pixels * (look.exposure * np.array(look.white_balance, np.float32))
    pixels *= (1.0 - np.float32(look.vignetting) * _corner_distance(picture.shape))[..., None]
    pixels += (np.array(look.haze_colour, np.float32) - pixels) * np.float32(look.haze)
    if look.noise > 0:
        grain = rng.standard_normal(picture.shape, np.float32)
        pixels += np.float32(look.noise) * (0.6 * grain + 0.6 * grain.mean(axis=2, keepdims=True))
    return np.asarray(np.clip(pixels * 255.0 + 0.5, 0, 255).astype(np.uint8))


def _corner_distance(shape: tuple[int, ...]) -> NDArray[np.float32]:
    """[H, W]: squared distance from the middle, 1 in the corners."""
    y = np.linspace(-1, 1, shape[0], dtype=np.float32)[:, None]
    x = np.linspace(-1, 1, shape[1], dtype=np.float32)[None, :]
    return np.asarray((x * x + y * y) / 2, np.float32)
