"""The two dates: sun, light and colours. Colours are sRGB, 0 to 255; rendering works on their squares (gamma 2)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RGB = tuple[int, int, int]


@dataclass(frozen=True)
class Season:
    """How the land looks at one date.

    Attributes:
        index: sets apart what is drawn anew at each date (cars, crops, bales).
        sun_azimuth_deg: direction the light comes from, in the scene: 0 is +x (right), 90 is +y (down).
        sun_elevation_deg: height of the sun above the horizon.
        crops: colours of fields, one drawn per field.
        row_contrast: strength of crop rows.
        sunlight, skylight: strength per RGB channel.
    """

    index: int
    name: str
    sun_azimuth_deg: float
    sun_elevation_deg: float
    crops: tuple[RGB, ...]
    row_contrast: float
    grass: RGB
    dry_grass: RGB
    forest_floor: RGB
    conifers: tuple[RGB, ...]
    broadleaves: tuple[RGB, ...]
    water: RGB
    sunlight: tuple[float, float, float]
    skylight: tuple[float, float, float]


SUMMER = Season(
    index=0,
    name="summer",
    sun_azimuth_deg=205.0,
    sun_elevation_deg=52.0,
    crops=(
        (104, 134, 70),
        (90, 124, 60),
        (116, 142, 78),
        (124, 140, 84),
        (84, 112, 64),
        (140, 146, 92),
        (78, 102, 60),
        (150, 136, 104),
        (134, 112, 86),
        (110, 128, 82),
    ),
    row_contrast=0.10,
    grass=(108, 124, 76),
    dry_grass=(142, 138, 98),
    forest_floor=(50, 62, 42),
    conifers=((50, 76, 50), (44, 68, 48), (58, 84, 52)),
    broadleaves=((72, 102, 54), (84, 112, 58), (64, 94, 50), (96, 118, 64)),
    water=(62, 84, 80),
    sunlight=(1.02, 1.0, 0.93),
    skylight=(0.27, 0.31, 0.38),
)

AUTUMN = Season(
    index=1,
    name="autumn",
    sun_azimuth_deg=318.0,
    sun_elevation_deg=35.0,
    crops=(
        (172, 150, 112),
        (160, 138, 102),
        (186, 166, 122),
        (142, 118, 92),
        (128, 106, 86),
        (150, 136, 112),
        (176, 158, 96),
        (120, 126, 84),
        (104, 122, 72),
        (136, 110, 82),
    ),
    row_contrast=0.15,
    grass=(132, 126, 88),
    dry_grass=(164, 148, 112),
    forest_floor=(78, 68, 54),
    conifers=((56, 74, 52), (50, 66, 50), (62, 80, 54)),
    broadleaves=((128, 102, 58), (142, 110, 62), (112, 98, 62), (134, 84, 54), (98, 96, 58)),
    water=(70, 82, 84),
    sunlight=(1.06, 1.0, 0.88),
    skylight=(0.25, 0.31, 0.41),
)

ROOFS: tuple[tuple[RGB, float], ...] = (
    ((82, 112, 158), 0.18),
    ((156, 96, 76), 0.18),
    ((134, 78, 68), 0.09),
    ((98, 98, 100), 0.20),
    ((150, 150, 150), 0.10),
    ((204, 202, 196), 0.08),
    ((96, 128, 108), 0.07),
    ((120, 98, 84), 0.06),
)
"""Roof colours and how often they occur. Roofs are the same at both dates."""

CARS: tuple[RGB, ...] = ((222, 222, 222), (52, 54, 58), (150, 152, 156), (150, 40, 36), (44, 72, 120), (238, 238, 236))
TRUCK_BLUE: RGB = (84, 112, 158)

ASPHALT: RGB = (118, 118, 118)
WORN_CONCRETE: RGB = (168, 164, 154)
DIRT: RGB = (166, 146, 116)
PAINT_WHITE: RGB = (222, 222, 216)
PAINT_YELLOW: RGB = (198, 176, 112)
DITCH: RGB = (74, 78, 60)
SAND: RGB = (176, 164, 138)
WALL: RGB = (150, 146, 138)
PLASTIC_FILM: RGB = (196, 204, 206)


def reflectance(colour: RGB) -> NDArray[np.float32]:
    """[3] float32 in 0 to 1: an sRGB colour on the scale that light adds up on (gamma 2)."""
    return np.asarray(np.square(np.array(colour, np.float32) / np.float32(255.0)), np.float32)
