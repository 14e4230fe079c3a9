"""What a model's `preprocessor_config.json` says about its input, for the graph and for resizing photographs.

Read as data: the image processors themselves need torchvision, and none of their work is done here but normalising.
Size and crop of the processor do not count: `--image-size` decides.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporters.sources.hf_repository import HuggingFaceError
from models.catalogue import RGB, Pretraining
from models.contract import BICUBIC, BILINEAR, LANCZOS

WHITE = 255.0
"""Statistics of `Pretraining` are of pixels divided by it."""

_RESAMPLINGS = {1: LANCZOS, 2: BILINEAR, 3: BICUBIC}
"""Pillow's numbers, which the file uses."""
_OTHER_RESAMPLINGS = {0: "nearest", 4: "box", 5: "hamming"}


@dataclass(frozen=True)
class Preprocessing:
    """How pixels become input.

    Attributes:
        mean, std: of pixels divided by 255, whatever factor the processor rescales with.
        resampling: how the processor resizes photographs, one of `models.contract.RESAMPLINGS`.
    """

    mean: RGB
    std: RGB
    resampling: str

    def as_pretraining(self, name: str) -> Pretraining:
        return Pretraining(name, self.mean, self.std)


def read_preprocessing(config: Mapping[str, Any], path: Path) -> Preprocessing:
    """Preprocessing from the content of the file.

    A processor computes `(pixel * factor - mean) / std`; the same in terms of `pixel / 255` has the statistics
    `mean / (255 factor)` and `std / (255 factor)`.

    Args:
        path: of the file, for messages.

    Raises:
        HuggingFaceError: a value is missing, of another kind, or of a kind of resizing that the engine does not do.
    """
    factor = _number(config, "rescale_factor", 1 / WHITE, path) if config.get("do_rescale", True) else 1.0
    mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    if config.get("do_normalize", True):
        mean, std = _colour(config, "image_mean", path), _colour(config, "image_std", path)
    if not factor > 0 or min(std) <= 0:
        raise HuggingFaceError(f"{path}: rescale_factor and image_std must be above 0")
    number = config.get("resample", 2)
    if number not in _RESAMPLINGS:
        raise HuggingFaceError(
            f"{path} resizes by resample {number} ({_OTHER_RESAMPLINGS.get(number, 'unknown')}), and this program by "
            f"{', '.join(f'{key} ({name})' for key, name in _RESAMPLINGS.items())} only"
        )
    scale = WHITE * factor
    red, green, blue = (value / scale for value in mean)
    spread_red, spread_green, spread_blue = (value / scale for value in std)
    return Preprocessing((red, green, blue), (spread_red, spread_green, spread_blue), _RESAMPLINGS[number])


def _number(config: Mapping[str, Any], name: str, default: float, path: Path) -> float:
    value = config.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise HuggingFaceError(f"{path}: {name} is {value!r}, not a number")
    return float(value)


def _colour(config: Mapping[str, Any], name: str, path: Path) -> RGB:
    values = config.get(name)
    numbers = isinstance(values, list) and len(values) == 3 and all(isinstance(item, int | float) for item in values)
    if not numbers or not all(math.isfinite(item) for item in values or ()):
        raise HuggingFaceError(f"{path}: {name} is {values!r}, not three numbers (red, green, blue)")
    red, green, blue = (float(item) for item in values or ())
    return red, green, blue
