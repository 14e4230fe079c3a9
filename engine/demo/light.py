"""Sunlight on a height map: slopes, cast shadows, sky light. One sun for the whole scene, so shadows agree."""

import cv2
import numpy as np

from engine.demo.noise import Field
from engine.demo.season import Season
from engine.demo.strokes import Canvas


def cast_shadows(height: Field, season: Season) -> Field:
    """Share of sunlight that is blocked, [H, W] float32 in 0 to 1.

    A point is in shadow when something towards the sun rises above the sun's ray. The highest ray over all distances
    is found by doubling: with `ray[n]` the best over n steps, `ray[2n](p) = max(ray[n](p), ray[n](p + n d) - n tan e)`.
    """
    rise = float(np.tan(np.deg2rad(season.sun_elevation_deg)))
    azimuth = np.deg2rad(season.sun_azimuth_deg)
    towards_sun = np.array([np.cos(azimuth), np.sin(azimuth)])
    reach = float(height.max()) / rise
    ray = _shifted(height, towards_sun) - np.float32(rise)
    steps = 1
    while steps < reach:
        farther = _shifted(ray, towards_sun * steps) - np.float32(rise * steps)
        ray = np.maximum(ray, farther)
        steps *= 2
    return np.asarray(np.clip((ray - height) * np.float32(0.8) + np.float32(0.2), 0.0, 1.0), np.float32)


def _shifted(field: Field, by: np.ndarray) -> Field:
    """The field seen `by` (x, y) pixels further on: out(p) = field(p + by)."""
    matrix = np.array([[1.0, 0.0, by[0]], [0.0, 1.0, by[1]]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    shape = (field.shape[1], field.shape[0])
    return np.asarray(cv2.warpAffine(field, matrix, shape, flags=flags, borderMode=cv2.BORDER_REPLICATE), np.float32)


def lit(ground: Canvas, height: Field, season: Season) -> Canvas:
    """Light leaving the scene, [H, W, 3] float32, gamma 2; sunlit flat ground keeps about its reflectance.

    Lambert's law for the sun; the sky's share falls where higher things stand around.
    """
    azimuth, elevation = np.deg2rad(season.sun_azimuth_deg), np.deg2rad(season.sun_elevation_deg)
    slope_x = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3, scale=0.125)
    slope_y = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3, scale=0.125)
    against = slope_x * np.float32(np.cos(azimuth)) + slope_y * np.float32(np.sin(azimuth))
    facing = np.float32(1.0) - against * np.float32(1.0 / np.tan(elevation))
    facing /= np.sqrt(1.0 + slope_x * slope_x + slope_y * slope_y)
    sun = np.clip(facing, 0.0, 1.7) * (1.0 - cast_shadows(height, season))
    crowding = cv2.GaussianBlur(height, (0, 0), 6.0) - height
    sky = np.clip(1.0 - np.float32(0.05) * crowding, 0.45, 1.15)
    light = np.empty_like(ground)
    for channel in range(3):
        light[..., channel] = sun * np.float32(season.sunlight[channel] * 0.82)
        light[..., channel] += sky * np.float32(season.skylight[channel])
    light *= ground
    return light
