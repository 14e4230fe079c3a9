"""What the synthetic pairs vary: one factor at a time over stated levels, all else within a narrow, stated range.

The ranges of all else are `BASELINE`. Pairs are numbered within a level; pair n of every level of a factor has the same
source, place and chance, so that levels differ in the factor alone.
"""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from engine.errors import UsageError
from engine.evaluate.layout import Geometry
from engine.evaluate.photometry import Photometry

Level = float | str
SIDE_PX = 512


@dataclass(frozen=True)
class Ranges:
    """What is drawn for each pair, evenly unless said otherwise: (lowest, highest)."""

    rotation_deg: tuple[float, float]
    scale: tuple[float, float]  # even in the logarithm
    tilt_deg: tuple[float, float]
    overlap: tuple[float, float]
    stops: tuple[float, float]
    season: tuple[float, float]
    blur_px: tuple[float, float]
    noise: tuple[float, float]
    sizes_b: tuple[tuple[int, int], ...] = ((SIDE_PX, SIDE_PX),)


CROPS = ((320, 320), (256, 512), (512, 256), (384, 512), (512, 384), (360, 640), (640, 360), (768, 768))
BASELINE = Ranges(
    rotation_deg=(-10.0, 10.0),
    scale=(0.9, 1.1),
    tilt_deg=(0.0, 5.0),
    overlap=(0.6, 0.8),
    stops=(-0.25, 0.25),
    season=(0.0, 0.1),
    blur_px=(0.0, 0.5),
    noise=(0.0, 3.0),
)
EVERYTHING = Ranges(
    rotation_deg=(-180.0, 180.0),
    scale=(1 / 3, 3.0),
    tilt_deg=(0.0, 20.0),
    overlap=(0.4, 1.0),
    stops=(-1.0, 1.0),
    season=(0.0, 0.6),
    blur_px=(0.0, 1.5),
    noise=(0.0, 10.0),
    sizes_b=((SIDE_PX, SIDE_PX), *CROPS),
)


@dataclass(frozen=True)
class Setting:
    """Everything about a pair but its source and place."""

    geometry: Geometry
    photometry: Photometry


@dataclass(frozen=True)
class Factor:
    """Something that is varied.

    Attributes:
        name: also part of file names: letters only.
        unit: of the levels.
        levels, quick_levels: all, and those of a quick run.
        apply: the setting at a level, from a setting within the baseline.
        baseline: ranges of all else.
        axis: how a curve spaces the levels: linear, log or even.
        more: this many times the pairs at each level.
    """

    name: str
    unit: str
    levels: tuple[Level, ...]
    quick_levels: tuple[Level, ...]
    apply: Callable[[Setting, Level], Setting]
    baseline: Ranges = BASELINE
    axis: str = "linear"
    more: int = 1


def _scaled(setting: Setting, level: Level) -> Setting:
    return replace(setting, geometry=replace(setting.geometry, scale=float(level)))


def _tilted(setting: Setting, level: Level) -> Setting:
    return replace(setting, geometry=replace(setting.geometry, tilt_deg=float(level)))


def _overlapping(setting: Setting, level: Level) -> Setting:
    return replace(setting, geometry=replace(setting.geometry, overlap=float(level) / 100))


def _photometry(field: str) -> Callable[[Setting, Level], Setting]:
    def apply(setting: Setting, level: Level) -> Setting:
        return replace(setting, photometry=replace(setting.photometry, **{field: float(level)}))

    return apply


def _rotated(setting: Setting, level: Level) -> Setting:
    sign = 1.0 if setting.geometry.rotation_deg >= 0 else -1.0
    return replace(setting, geometry=replace(setting.geometry, rotation_deg=sign * float(level)))


def _cropped(setting: Setting, level: Level) -> Setting:
    width, height = (int(side) for side in str(level).split("x"))
    return replace(setting, geometry=replace(setting.geometry, size_b=(width, height)))


def _as_drawn(setting: Setting, level: Level) -> Setting:
    return setting


FACTORS = (
    Factor("rotation", "degrees", tuple(range(0, 181, 15)), (0, 45, 90, 180), _rotated),
    Factor(
        "scale",
        "b / a",
        (0.25, 0.333, 0.5, 0.707, 1, 1.414, 2, 3, 4),
        (0.333, 1, 3),
        _scaled,
        axis="log",
    ),
    Factor("perspective", "degrees of tilt", (0, 5, 10, 15, 20, 25, 30), (0, 15, 30), _tilted),
    Factor("brightness", "stops", (-2, -1, -0.5, 0, 0.5, 1, 2), (-2, 0, 2), _photometry("stops")),
    Factor("season", "strength", (0, 0.25, 0.5, 0.75, 1), (0, 0.5, 1), _photometry("season")),
    Factor("blur", "sigma, px", (0, 1, 2, 3, 4), (0, 2, 4), _photometry("blur_px")),
    Factor("noise", "sigma, grey levels", (0, 5, 10, 20, 40), (0, 10, 40), _photometry("noise")),
    Factor(
        "overlap",
        "% of the smaller footprint",
        (20, 30, 40, 60, 80, 100),
        (20, 40, 100),
        _overlapping,
        # Large enough a difference that the smaller footprint, turned by 10 degrees, can lie wholly in the other.
        replace(BASELINE, scale=(1.3, 1.4)),
    ),
    Factor(
        "crop",
        "size of b, px",
        tuple(f"{width}x{height}" for width, height in CROPS),
        ("320x320", "512x256", "640x360"),
        _cropped,
        axis="even",
    ),
    Factor("everything", "", ("all at once",), ("all at once",), _as_drawn, EVERYTHING, axis="even", more=4),
)


def chosen_factors(names: Sequence[str]) -> tuple[Factor, ...]:
    """The factors of these names, all where there are none.

    Raises:
        UsageError: an unknown name.
    """
    known = {factor.name: factor for factor in FACTORS}
    for name in names:
        if name not in known:
            raise UsageError(f"--factors: there is no factor '{name}'; there are {', '.join(known)}")
    return tuple(factor for factor in FACTORS if not names or factor.name in names)


def chance(factor: Factor, number: int, seed: int) -> np.random.Generator:
    """The random numbers of pair `number` (from 0) of every level of a factor."""
    return np.random.default_rng([seed, zlib.crc32(factor.name.encode()), number])


def draw_setting(factor: Factor, level: Level, rng: np.random.Generator) -> Setting:
    """A pair's setting at a level."""
    ranges = factor.baseline
    low, high = np.log(ranges.scale)
    drawn = Setting(
        Geometry(
            size_a=(SIDE_PX, SIDE_PX),
            size_b=ranges.sizes_b[int(rng.integers(len(ranges.sizes_b)))],
            rotation_deg=float(rng.uniform(*ranges.rotation_deg)),
            scale=float(np.exp(rng.uniform(low, high))),
            tilt_deg=float(rng.uniform(*ranges.tilt_deg)),
            tilt_towards_deg=float(rng.uniform(0, 360)),
            overlap=float(rng.uniform(*ranges.overlap)),
            offset_deg=float(rng.uniform(0, 360)),
        ),
        Photometry(
            stops=float(rng.uniform(*ranges.stops)),
            season=float(rng.uniform(*ranges.season)),
            blur_px=float(rng.uniform(*ranges.blur_px)),
            noise=float(rng.uniform(*ranges.noise)),
        ),
    )
    return factor.apply(drawn, level)


def units() -> dict[str, str]:
    """Unit of the levels of each factor, by name."""
    return {factor.name: factor.unit for factor in FACTORS}
