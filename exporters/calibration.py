"""Ranges of the values that go into 8-bit matrix products, from the source model on photographs.

The model is run block by block over all photographs, so that weights mapped from a large checkpoint are read once, and
memory holds the tokens of the photographs and one block's values.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from exporters.check_images import CheckImages, normalise
from models.build import DinoModel
from models.catalogue import Backbone
from models.errors import UsageError, WorkError
from models.vit import Block, DinoVisionTransformer

VALUES = {
    "attn.qkv": "norm1",
    "attn.proj": "attn.mixed.rows",
    "mlp.fc1": "norm2",
    "mlp.fc2": "mlp.gelu",
    "mlp.w1": "norm2",
    "mlp.w2": "norm2",
    "mlp.w3": "mlp.gated",
    "pwconv1": "norm",
    "pwconv2": "gelu",
    "1": "patches.rows",
}
"""Linear layers of a block (`1` is the convolution of a ConvNeXt's halving), and what graphs call their inputs."""

Steps = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""


@dataclass
class Range:
    """The smallest and the largest value seen; 0 always counts, as quantised values must be able to be 0."""

    low: float = 0.0
    high: float = 0.0

    def take(self, values: Tensor) -> None:
        """Widens the range to hold these values.

        Raises:
            WorkError: one is not finite.
        """
        low, high = torch.aminmax(values)
        if not (math.isfinite(low) and math.isfinite(high)):
            raise WorkError(
                "on a photograph to calibrate on, the source model computes values that are not finite: the checkpoint "
                "is not fit for use"
            )
        self.low, self.high = min(self.low, float(low)), max(self.high, float(high))


@dataclass(frozen=True)
class Calibration:
    """Smallest and largest of values, by their names in a graph.

    Attributes:
        photographs: how many different ones they come from.
        shapes: (images, height, width) of every batch of them.
    """

    photographs: int
    shapes: tuple[tuple[int, int, int], ...]
    ranges: Mapping[str, tuple[float, float]] = field(repr=False)

    def described(self) -> dict[str, object]:
        """As recorded in a graph's metadata."""
        return {"photographs": self.photographs, "shapes": self.shapes}


def calibrate(model: DinoModel, backbone: Backbone, images: CheckImages, progress: Steps | None = None) -> Calibration:
    """The range of every value that goes into an 8-bit product of the backbone's graph, over all images.

    Args:
        progress: called with steps done: blocks of a ViT, batches of a ConvNeXt.

    Raises:
        UsageError: the images are no photographs.
        WorkError: a value is not finite on one of them.
    """
    if not images.photographs:
        raise UsageError("activations are calibrated on photographs: name a folder of them with --calibrate")
    ranges: dict[str, Range] = {}
    tell = progress or (lambda done, total: None)
    batches = [normalise(batch, backbone.pretraining) for batch in images.batches]
    with torch.inference_mode(), _watched(model, ranges):
        if isinstance(model, DinoVisionTransformer):
            _run_blocks(model, batches, tell)
        else:
            for done, batch in enumerate(batches, 1):
                model(batch)
                tell(done, len(batches))
    shapes = tuple((len(batch), batch.shape[1], batch.shape[2]) for batch in images.batches)
    return Calibration(images.photographs, shapes, {name: (found.low, found.high) for name, found in ranges.items()})


def _run_blocks(model: DinoVisionTransformer, batches: Sequence[Tensor], tell: Steps) -> None:
    states = [model.embed(batch) for batch in batches]
    total = len(model.blocks)
    for done, block in enumerate(model.blocks, 1):
        states = [(block(tokens, sin, cos), sin, cos) for tokens, sin, cos in states]
        tell(done, total)


@contextmanager
def _watched(model: nn.Module, ranges: dict[str, Range]) -> Iterator[None]:
    """Writes the ranges of linear layers' inputs down while the block lasts."""
    hooks = []
    try:
        for prefix, name, layer in _linear_layers(model):
            found = ranges.setdefault(f"{prefix}.{VALUES[name]}", Range())
            hooks.append(layer.register_forward_pre_hook(_watcher(found, model.get_submodule(prefix), name)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _linear_layers(model: nn.Module) -> Iterator[tuple[str, str, nn.Module]]:
    """Name of the block, name of the layer in it, layer."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            endings = (ending for ending in VALUES if name.endswith(f".{ending}"))
            yield from ((name.removesuffix(f".{ending}"), ending, layer) for ending in endings)


def _watcher(found: Range, block: nn.Module, name: str) -> Callable[[nn.Module, tuple[Tensor]], None]:
    def watch(layer: nn.Module, inputs: tuple[Tensor]) -> None:
        del layer
        offset = _folded_bias(block, name)  # asked for while the block runs: a streamed one has its weights only then
        found.take(inputs[0] if offset is None else inputs[0] - offset)

    return watch


def _folded_bias(block: nn.Module, name: str) -> Tensor | None:
    """The value bias, which graphs fold into the output projection: what goes into it there lacks the bias."""
    if name != "attn.proj" or not isinstance(block, Block):
        return None
    qkv = block.attn.qkv
    return None if qkv.bias is None else (qkv.bias * qkv.bias_mask).chunk(3)[2]
