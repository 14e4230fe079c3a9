"""How b's light, season and camera differ from a's. Pictures are [H, W, 3] float32 RGB, 0 to 255."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]

_GAMMA = 2.2
_GREY = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of Rec. 601."""
_DETAIL_PX, _LEAVES_PX = 4.0, 2.0
"""Standard deviations of the Gaussians that part fine detail from the rest, and that smooth where leaves are."""
_PATCHES = 6
"""Cells a side of the pattern in which fields change tone with the season."""


@dataclass(frozen=True)
class Photometry:
    """What becomes of a picture after its geometry.

    Attributes:
        stops: exposure; +1 doubles the light (a factor of 2 before a gamma of 2.2, 1.37 on pixel values).
        season: 0 to 1, another season's colours (see `change_season`).
        blur_px: standard deviation of a Gaussian, pixels.
        noise: standard deviation of Gaussian noise, grey levels, each channel by itself.
    """

    stops: float = 0.0
    season: float = 0.0
    blur_px: float = 0.0
    noise: float = 0.0


def develop(picture: Picture, change: Photometry, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Applies season, exposure, blur and noise in this order; rounds to [H, W, 3] uint8.

    The same draws are taken whatever the strengths, so that levels of one factor differ in that factor alone.
    """
    season_seed, noise_seed = rng.integers(0, 2**32, 2)
    result = change_season(picture, change.season, np.random.default_rng(season_seed))
    result = result * np.float32(2.0 ** (change.stops / _GAMMA))
    result = np.clip(result, 0, 255)
    if change.blur_px > 0:
        result = np.asarray(cv2.GaussianBlur(result, (0, 0), change.blur_px), np.float32)
    grain = np.random.default_rng(noise_seed).standard_normal(result.shape, np.float32)
    result = result + np.float32(change.noise) * grain
    return np.clip(np.rint(result), 0, 255).astype(np.uint8)


def change_season(picture: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """Another season, made simply, in proportion to `strength` (0 to 1).

    At 1: green things turn straw-coloured and what was dark of them becomes light (leaves fall, crops ripen); detail
    finer than about 4 px is nine tenths another's (leaves, furrows, cars and shadows are not the same ones); ground
    brightens and darkens by up to 35 % in smooth patches (ploughed, wet, shaded); colours lose half their saturation;
    each channel's gain changes by up to 20 % and the contrast curve by a gamma of 0.75 to 1.33.
    """
    cells = rng.uniform(-1, 1, (_PATCHES, _PATCHES)).astype(np.float32)
    gains = rng.uniform(-1, 1, 3).astype(np.float32)
    bend = float(rng.uniform(-1, 1))
    moved = rng.uniform(0.25, 0.75, 2)
    if strength <= 0:
        return picture
    power = np.float32(strength)
    height, width = picture.shape[:2]
    value = _other_detail(
        picture / np.float32(255), 1 - 0.9 * strength, (int(moved[0] * height), int(moved[1] * width))
    )
    green = np.minimum(value[..., 1] - value[..., 0], value[..., 1] - value[..., 2])
    leafy = cv2.GaussianBlur((1 + np.tanh((green - 0.01) / 0.02)) / 2, (0, 0), _LEAVES_PX)
    straw = (0.72 - 0.7 * value @ _GREY)[..., None] * np.array([1.12, 1.0, 0.78], np.float32)
    value = value + power * leafy[..., None] * (straw - value)
    tones = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC)
    value = value * (1 + 0.35 * power * tones[..., None])
    grey = (value @ _GREY)[..., None]
    value = grey + (1 - 0.5 * power) * (value - grey)
    value = np.clip(value * (1 + 0.2 * power * gains), 0, 1) ** np.float32(4 / 3) ** (power * bend)
    return np.asarray(255 * value, np.float32)


def _other_detail(value: Picture, kept: float, moved: tuple[int, int]) -> Picture:
    """The picture with a share of its fine detail exchanged, its strength kept.

    The detail put in is the picture's own, moved (rows, cols) and mirrored: of the right kind, but no match for itself,
    as no turn maps it back.
    """
    smooth = np.asarray(cv2.GaussianBlur(value, (0, 0), _DETAIL_PX), np.float32)
    detail = value - smooth
    other = np.roll(detail[:, ::-1], moved, axis=(0, 1))
    return np.asarray(smooth + np.float32(kept) * detail + np.float32((1 - kept**2) ** 0.5) * other, np.float32)
