"""A backbone on a GPU beside PyTorch and beside a bare matrix product. Run by `python -m benchmarks.gpu`.

The bf16 graph of a checkpoint of random values runs on the provider; in the same run, the same network compiled by
`torch.compile` under bf16 autocast, and one large matrix product. Outputs are compared with the float32 network.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.runtime import open_graph
from exporters.check_images import normalise
from exporters.export import export_backbone
from exporters.precisions import PRECISIONS
from exporters.sources.builtin import load_builtin
from models.catalogue import Backbone
from models.cost import gflops
from models.random_checkpoint import write_random_checkpoint

BATCH, REPEATS = 32, 10
PRODUCT_SIDE = 8192
COMPILED_BAR = 0.8
"""Least ratio of this program's images/s to those of torch.compile."""


@dataclass(frozen=True)
class BackboneRow:
    """Figures of one backbone; rates are medians.

    Attributes:
        product_tflops: rate of one square matrix product of the same precision.
        smallest_cosine: of patch tokens, to those of the float32 network.
    """

    alias: str
    precision: str
    gflops_an_image: float
    images_s: float
    compiled_images_s: float
    product_tflops: float
    smallest_cosine: float

    @property
    def within_bounds(self) -> bool:
        """Whether the outputs are as close as this precision must be."""
        bound = PRECISIONS[self.precision].bounds.smallest_cosine
        return bound is None or self.smallest_cosine >= bound

    def __str__(self) -> str:
        reached = self.images_s * self.gflops_an_image / 1e3
        ratio, share = self.images_s / self.compiled_images_s, reached / self.product_tflops
        return (
            f"{self.alias} {self.precision}: {self.images_s:.0f} images/s, {ratio:.2f} of torch.compile's "
            f"{self.compiled_images_s:.0f} (bar {COMPILED_BAR}); {reached:.1f} TFLOP/s, {share:.0%} of the "
            f"{self.product_tflops:.0f} TFLOP/s of a bare product; smallest cosine to the float32 network "
            f"{self.smallest_cosine:.6f}, {'within' if self.within_bounds else 'BELOW'} the bound"
        )


def measure_backbone(
    backbone: Backbone,
    images: NDArray[np.uint8],
    folder: Path,
    provider: str = "cuda",
    precision: str = "bf16",
    product_side: int = PRODUCT_SIDE,
) -> BackboneRow:
    """Measures one backbone.

    Args:
        images: [B, H, W, 3] uint8, encoded together.
        folder: scratch folder for checkpoint and graph.
        provider: `cuda` or `cpu`; PyTorch computes there, too.
    """
    import torch

    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)
    checkpoint = write_random_checkpoint(backbone, folder)
    graph = export_backbone(backbone, checkpoint, folder, precision, unofficial=True).graph_path
    runtime = open_graph(graph, provider)
    model = load_builtin(backbone, checkpoint, unofficial=True).model.to(provider)
    compiled = torch.compile(model)
    pixels = normalise(images, backbone.pretraining).to(provider)

    def in_torch(network: Callable[[Any], Any], low: bool) -> NDArray[np.float32]:
        with torch.inference_mode(), torch.autocast(provider, dtype, enabled=low and dtype != torch.float32):
            return np.asarray(network(pixels)[0].float().cpu().numpy())

    tokens, reference = runtime(images)[0], in_torch(model, low=False)
    cosines = (tokens * reference).sum(-1) / (np.linalg.norm(tokens, axis=-1) * np.linalg.norm(reference, axis=-1))
    left = torch.randn(product_side, product_side, device=provider, dtype=dtype)

    def product() -> float:
        return float((left @ left)[0, 0].item())  # waits for the device

    own, theirs, bare = _medians(lambda: runtime(images), lambda: in_torch(compiled, low=True), product)
    return BackboneRow(
        alias=backbone.alias,
        precision=precision,
        gflops_an_image=gflops(backbone, images.shape[1], images.shape[2]),
        images_s=len(images) / own,
        compiled_images_s=len(images) / theirs,
        product_tflops=2 * product_side**3 / bare / 1e12,
        smallest_cosine=float(cosines.min()),
    )


def _medians(*runs: Callable[[], object]) -> list[float]:
    """Median seconds of each, in turns, after a turn that warms up."""
    spent: list[list[float]] = [[] for _ in runs]
    for _ in range(1 + REPEATS):
        for run, times in zip(runs, spent, strict=True):
            started = time.perf_counter()
            run()
            times.append(time.perf_counter() - started)
    return [float(np.median(times[1:])) for times in spent]
