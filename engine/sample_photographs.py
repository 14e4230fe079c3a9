"""A few photographs of a folder, encoded at several sizes: what a graph is compared with its source model on."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import DataSetError
from engine.imaging import encoded_size, read_image, resize
from models.contract import BILINEAR

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"})
SIZES_PX = (224, 336)
"""Shorter sides that photographs are encoded at."""

_BATCH = 2

Batches = tuple[NDArray[np.uint8], ...]


def find_photographs(folder: Path, at_most: int) -> list[Path]:
    """Photographs anywhere below a folder, evenly spread over its sorted files; empty where there are none."""
    if not folder.is_dir():
        return []
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(files) <= at_most:
        return files
    return [files[(2 * index + 1) * len(files) // (2 * at_most)] for index in range(at_most)]


def encode_photographs(
    paths: list[Path], stride: int, sizes_px: Sequence[int] = (), resampling: str = BILINEAR
) -> tuple[Batches, ...]:
    """For each shorter side, the photographs in batches of one or two, uint8 RGB [B, H, W, 3].

    Of two photographs of one size, the first is there twice: alone, and beside the other.

    Args:
        sizes_px: the shorter sides, by default `SIZES_PX`.
        resampling: of the graph, one of `models.contract.RESAMPLINGS`.

    Raises:
        DataSetError: no photograph.
        ImageReadError: one cannot be read.
    """
    if not paths:
        raise DataSetError("there is no photograph to compare graph and source model on: name a folder with --images")
    pixels = [read_image(path) for path in paths]
    return tuple(_batches(pixels, side_px, stride, resampling) for side_px in sizes_px or SIZES_PX)


def _batches(pixels: list[NDArray[np.uint8]], side_px: int, stride: int, resampling: str) -> Batches:
    sizes = [encoded_size((image.shape[1], image.shape[0]), side_px, stride) for image in pixels]
    encoded = [resize(image, size, kernel=resampling) for image, size in zip(pixels, sizes, strict=True)]
    encoded.sort(key=lambda image: image.shape)
    batches: list[NDArray[np.uint8]] = []
    for _, same in groupby(encoded, key=lambda image: image.shape):
        images = list(same)
        # A single image and a batch are both compared wherever there are photographs enough.
        batches.append(np.stack(images[:1]))
        rest = images if len(images) == _BATCH else images[1:]
        batches += [np.stack(rest[first : first + _BATCH]) for first in range(0, len(rest), _BATCH)]
    return tuple(batches)
