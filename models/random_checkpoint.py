"""Checkpoints of the official format with random values, for tests and benchmarks.

Values are chosen so that every term of the network counts: LayerScale gains of 0.1 to 0.6, non-zero biases, norms
that differ per channel. Trained weights are needed to match photographs; these only have the right shape.
"""

import hashlib
import math
import mmap
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from models.build import expected_shapes
from models.catalogue import Backbone, ViTArch
from models.errors import WorkError

_BLOCK_BYTES = 1 << 22


def shortened(backbone: Backbone, depth: int = 2) -> Backbone:
    """The same backbone with `depth` blocks (a ConvNeXt: in every stage) of unchanged width."""
    if isinstance(backbone.arch, ViTArch):
        return replace(backbone, arch=replace(backbone.arch, depth=depth))
    return replace(backbone, arch=replace(backbone.arch, depths=(depth,) * 4))


def random_state(backbone: Backbone, seed: int = 0) -> dict[str, Tensor]:
    """A state dict with the keys, shapes and kinds of values of an official checkpoint, float32."""
    generator = torch.Generator().manual_seed(seed)
    state = {key: _random_value(key, shape, generator) for key, shape in expected_shapes(backbone).items()}
    for key in [key for key in state if key.startswith("norms.3.")]:
        state[key] = state[key.replace("norms.3.", "norm.")]
    return state


def write_random_checkpoint(backbone: Backbone, folder: Path, seed: int = 0) -> Path:
    """Writes a random checkpoint named by the official rule with its own SHA-256, and returns its path.

    For a smaller network pass `shortened(backbone)`, or `dataclasses.replace(backbone, arch=...)`.
    """
    return write_checkpoint(backbone, random_state(backbone, seed), folder)


def write_checkpoint(backbone: Backbone, state: dict[str, Tensor], folder: Path) -> Path:
    """Saves a state dict as `<official stem>-<first 8 hex digits of its own SHA-256>.pth`, and returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    aside = folder / f"{backbone.checkpoint_stem}.{os.getpid()}.partial"
    try:
        with aside.open("wb") as file:  # an open file: with a path, its name would become part of the content
            torch.save(state, file)
        path = folder / f"{backbone.checkpoint_stem}-{_sha256(aside)[:8]}.pth"
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def write_large_checkpoint(
    backbone: Backbone, folder: Path, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> Path:
    """The same file as `write_random_checkpoint` gives, but for the seed, with one tensor in memory at a time.

    An empty checkpoint is written first, its data left out; then it is mapped into memory and filled tensor by tensor.

    Args:
        progress: called with (tensors done, tensors in all).

    Raises:
        WorkError: the disk has too little space.
    """
    shapes = expected_shapes(backbone)
    needed, free = sum(4 * math.prod(shape) for shape in shapes.values()), shutil.disk_usage(folder).free
    if free < needed:
        raise WorkError(f"{folder} has {free / 1e9:.1f} GB free and the checkpoint needs {needed / 1e9:.1f} GB")
    aside = folder / f"{backbone.checkpoint_stem}.{os.getpid()}.partial"
    try:
        with FakeTensorMode():
            empty = {key: torch.empty(shape) for key, shape in shapes.items()}
        with torch.serialization.skip_data(materialize_fake_tensors=True), aside.open("wb") as file:
            torch.save(empty, file)
        with torch.serialization.set_default_mmap_options(mmap.MAP_SHARED):
            state = torch.load(aside, mmap=True, weights_only=True)
        generator = torch.Generator().manual_seed(seed)
        for done, (key, tensor) in enumerate(state.items(), 1):
            # The final norm of a ConvNeXt stands in the file twice, first as `norm`.
            twin = key.replace("norms.3.", "norm.") if key.startswith("norms.3.") else None
            tensor.copy_(state[twin] if twin else _random_value(key, tuple(tensor.shape), generator))
            if progress is not None:
                progress(done, len(state))
        del state, tensor
        path = folder / f"{backbone.checkpoint_stem}-{_sha256(aside)[:8]}.pth"
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
    return path


def _random_value(key: str, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    if key.endswith("periods"):
        exponents = torch.arange(shape[0], dtype=torch.float32) / shape[0]
        return (100.0**exponents).bfloat16().float()
    if key.endswith("bias_mask"):
        mask = torch.ones(shape)
        mask[shape[0] // 3 : 2 * shape[0] // 3] = 0.0
        return mask
    if key.endswith("gamma"):
        return torch.rand(shape, generator=generator) * 0.5 + 0.1
    normal = torch.randn(shape, generator=generator)
    if key.endswith("bias"):
        return normal * 0.2
    if len(shape) == 1:
        return 1.0 + 0.2 * normal
    if key.endswith(("token", "tokens")):
        return normal
    return normal / math.sqrt(math.prod(shape[1:]))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()
