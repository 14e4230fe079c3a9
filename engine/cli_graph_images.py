"""Which photographs a graph is compared with its source model on, for `engine export` and `engine verify`."""

from pathlib import Path
from typing import TYPE_CHECKING

from engine.context import Context
from engine.errors import UsageError
from engine.sample_photographs import encode_photographs, find_photographs
from models.catalogue import Backbone, ViTArch
from models.contract import BILINEAR

if TYPE_CHECKING:
    from exporters.check_images import CheckImages

PHOTOGRAPHS_WANTED = ("fp16", "int8")
"""Precisions that made-up images say too little about."""

_PHOTOGRAPHS, _PHOTOGRAPHS_OF_LARGE = 6, 2
_CALIBRATION, _CALIBRATION_OF_LARGE = 32, 4
_LARGE_DIM = 2048
"""Tokens of this length are those of a network that takes minutes for one photograph on a CPU."""


def check_images(
    given: str | None, entry: Backbone, context: Context, needed: bool, resampling: str = BILINEAR
) -> "CheckImages | None":
    """Photographs of `--images`, or of `IMG_ROOT` where they are needed; None for made-up images.

    Args:
        resampling: of the graph, one of `models.contract.RESAMPLINGS`.

    Raises:
        UsageError: `--images` names a folder without photographs.
        ImageReadError: a photograph cannot be read.
    """
    from exporters.check_images import CheckImages

    if given is None and not needed:
        return None
    folder = context.roots.images if given is None else Path(given).expanduser()
    paths = find_photographs(folder, _PHOTOGRAPHS_OF_LARGE if _large(entry) else _PHOTOGRAPHS)
    if not paths:
        if given is not None:
            raise UsageError(f"--images {given}: there is no photograph (JPEG, PNG, TIFF, WebP, BMP) in that folder")
        return None
    return CheckImages(encode_photographs(paths, entry.stride, resampling=resampling), len(paths))


def calibration_images(given: str | None, entry: Backbone, resampling: str = BILINEAR) -> "CheckImages | None":
    """Photographs of `--calibrate`, evenly spread over the folder's files; None where it was not given.

    Args:
        resampling: of the graph, one of `models.contract.RESAMPLINGS`.

    Raises:
        UsageError: the folder holds no photograph.
        ImageReadError: a photograph cannot be read.
    """
    from exporters.check_images import CheckImages

    if given is None:
        return None
    paths = find_photographs(Path(given).expanduser(), _CALIBRATION_OF_LARGE if _large(entry) else _CALIBRATION)
    if not paths:
        raise UsageError(f"--calibrate {given}: there is no photograph (JPEG, PNG, TIFF, WebP, BMP) in that folder")
    return CheckImages(encode_photographs(paths, entry.stride, resampling=resampling), len(paths))


def _large(entry: Backbone) -> bool:
    return isinstance(entry.arch, ViTArch) and entry.arch.dim >= _LARGE_DIM
