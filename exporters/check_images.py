"""The images that a graph and its source model are compared on."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.catalogue import Pretraining

Images = NDArray[np.uint8]


@dataclass(frozen=True)
class CheckImages:
    """Batches of images, uint8 RGB [B, H, W, 3] each, H and W multiples of the stride.

    Attributes:
        sizes: the batches of one image size after the other; matches are compared within a size.
        photographs: how many different photographs they show; 0 for made-up images.
    """

    sizes: tuple[tuple[Images, ...], ...]
    photographs: int = 0

    @property
    def batches(self) -> list[Images]:
        return [batch for size in self.sizes for batch in size]

    def pairs(self) -> Iterator[tuple[tuple[int, int], tuple[int, int]]]:
        """Every two different photographs of a size, each as (batch, index in it)."""
        if not self.photographs:
            return
        first = 0
        for size in self.sizes:
            seen: dict[bytes, tuple[int, int]] = {}
            for batch, images in enumerate(size, first):
                for index, image in enumerate(images):
                    seen.setdefault(image.tobytes(), (batch, index))
            places = list(seen.values())
            first += len(size)
            yield from ((a, b) for order, a in enumerate(places) for b in places[order + 1 :])


def made_up_images(stride: int) -> CheckImages:
    """Two batches: a square single one and a wide pair. Always the same."""
    return CheckImages(tuple((batch,) for batch in default_batches(stride)))


def default_batches(stride: int) -> list[Images]:
    """The batches of `made_up_images`: waves and noise."""
    random = np.random.default_rng(7)
    batches = []
    for images, rows, cols in ((1, 7, 7), (2, 6, 10)):
        height, width = rows * stride, cols * stride
        y, x = np.mgrid[0:height, 0:width]
        waves = random.uniform(0.02, 0.2, (images, 2, 3, 1, 1))
        smooth = 127.5 + 90.0 * np.sin(waves[:, 0] * y + waves[:, 1] * x + random.uniform(0, 6.28, (images, 3, 1, 1)))
        noisy = smooth + random.normal(0.0, 25.0, smooth.shape)
        batches.append(np.clip(noisy, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1).copy())
    return batches


def normalise(images: Images, pretraining: Pretraining) -> Tensor:
    """uint8 RGB [B, H, W, 3] to the normalised float32 [B, 3, H, W] that a source model takes."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255.0
    mean, std = (torch.tensor(values)[:, None, None] for values in (pretraining.mean, pretraining.std))
    return (pixels - mean) / std
