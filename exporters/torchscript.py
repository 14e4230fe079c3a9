"""Graphs in TorchScript form, for programs that need it still. PyTorch deprecates it: this file can be deleted.

With it go `plugins/runtime_torchscript.py`, its name in `plugins/__init__.py`, `--format` in `engine/cli_export.py` and
`engine/cli_sources.py`, and the storing of figures in `engine/cli_verify.py`.
The contract is that of ONNX graphs (`models.contract`): uint8 pixels in, tokens out, the same metadata, kept as the
extra file `dinov3_match.json` of the archive. The network is traced, and traces may freeze a size: the verification
compares sizes and batches other than the traced ones.
"""

import json
import os
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from exporters.aside import folder_aside, publish
from exporters.check_images import CheckImages
from exporters.export import ExportReport, Progress, graph_name
from exporters.graph_check import GraphCheck, require_close
from exporters.graph_file import WrittenGraph
from exporters.metadata import describe
from exporters.precisions import PRECISIONS
from exporters.room import available_memory, require_free_disk
from exporters.sources.loaded import LoadedSource
from exporters.verify import Steps, check_graph
from models.build import build_with_weights
from models.catalogue import Pretraining
from models.contract import KEY_VERIFICATION, KEY_VERSIONS
from models.errors import UsageError, WorkError

SUFFIX = ".torchscript"
METADATA_FILE = "dinov3_match.json"
PROVIDER = "TorchScript cpu"
"""What the runtime `torchscript` calls itself where these figures are made."""

_COPIES = 3.0
"""Of the weights in memory: the source, the traced module, and the one loaded from the file to be compared."""


class ImageModel(nn.Module):
    """A source model behind the contract's input: uint8 RGB [B, H, W, 3] to patch tokens and global descriptor."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, pretraining: Pretraining) -> None:
        super().__init__()
        self.model = model
        for name, values in (("mean", pretraining.mean), ("std", pretraining.std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        pixels = image.permute(0, 3, 1, 2).to(torch.float32) / 255.0
        tokens = self.model((pixels - self.mean) / self.std)
        return tokens[0], tokens[1]


def export_torchscript(
    source: LoadedSource,
    folder: Path,
    precision: str = "fp32",
    progress: Progress | None = None,
    *,
    images: CheckImages | None = None,
) -> ExportReport:
    """Traces a loaded network, verifies the file against the source model, and only then gives it its name.

    Args:
        folder: of the file, `<alias>-fp32.torchscript`.
        images: as for `exporters.export.export_backbone`.

    Raises:
        UsageError: another precision than fp32.
        WorkError: memory is short, the folder is not writable, the model cannot be traced or the file differs from it.
    """
    if precision != "fp32":
        raise UsageError(f"--format torchscript knows fp32 only, not {precision}: take --format onnx")
    start, network, numbers = time.perf_counter(), source.network, PRECISIONS[precision]
    tell = progress or (lambda stage, done, total: None)
    final = (folder / graph_name(network.alias, precision, source.source)).with_suffix(SUFFIX)
    model = ImageModel(_traceable(source), network.pretraining).eval()
    weight_bytes = sum(value.nbytes for value in model.state_dict().values())
    _require_memory(final.name, weight_bytes)
    with folder_aside(final) as aside:
        try:
            require_free_disk(final, weight_bytes)
            path = aside / final.name
            traced = _traced(model, network.stride)
            metadata = describe(source, precision, WrittenGraph(path))
            versions = json.loads(metadata[KEY_VERSIONS])
            metadata[KEY_VERSIONS] = json.dumps({name: versions[name] for name in ("dinov3-match", "torch")})
            tell("write", 0, 1)
            _save(traced, path, metadata)
            tell("write", 1, 1)
            check = _check(path, source, images, lambda done, total: tell("verify", done, total))
            require_close(check, numbers, final.name)
            _save(traced, path, {**metadata, KEY_VERIFICATION: check.to_json()})
            publish(path, final)
        except OSError as error:
            raise WorkError(f"{final} could not be written: {error.strerror or error}") from error
    seconds = time.perf_counter() - start
    return ExportReport(
        network.alias, precision, final, final.stat().st_size, seconds, source.checkpoint, check, notes=source.notes
    )


def store_torchscript_check(path: Path, check: GraphCheck) -> str:
    """Replaces a file by a copy with these figures, in one step; returns what was done, for the user.

    Raises:
        WorkError: the copy cannot be written; the file is as it was.
    """
    kept = {METADATA_FILE: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(path), map_location="cpu", _extra_files=kept)  # type: ignore[no-untyped-call]
    metadata = json.loads(kept[METADATA_FILE])
    if metadata.get(KEY_VERIFICATION) == check.to_json():
        return "the graph holds these figures already"
    with folder_aside(path) as aside:
        try:
            copy = aside / path.name
            _save(module, copy, {**metadata, KEY_VERIFICATION: check.to_json()})
            publish(copy, path)
        except (OSError, RuntimeError) as error:
            raise WorkError(f"the figures could not be stored in {path}: {error}") from error
    return "the figures were stored in the graph; feature maps are encoded again, as the file is another now"


def _traceable(source: LoadedSource) -> nn.Module:
    """A module to trace: of DINOv3 models, this program's definition holding all weights of the source, as in ONNX
    graphs; else the source's own. What the file is compared with is the source's own model in any case."""
    if source.state is not None:
        return build_with_weights(source.backbone, dict(source.state))
    if isinstance(source.model, nn.Module):
        return source.model
    raise UsageError(f"{source.model_id} is no module that can be traced: take --format onnx")


def _traced(model: ImageModel, stride: int) -> torch.jit.ScriptModule:
    example = torch.zeros((1, 3 * stride, 5 * stride, 3), dtype=torch.uint8)
    try:
        with torch.inference_mode(), warnings.catch_warnings():
            # Deprecation of TorchScript, and sizes taken for constants: the verification is what judges these.
            warnings.simplefilter("ignore")
            return torch.jit.trace(model, example, check_trace=False)  # type: ignore[no-untyped-call, no-any-return]
    except RuntimeError as error:
        raise WorkError(f"the model cannot be traced to TorchScript: {str(error).splitlines()[0]}") from error


def _save(module: torch.jit.ScriptModule, path: Path, metadata: dict[str, str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(module, path, _extra_files={METADATA_FILE: json.dumps(metadata)})
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _check(path: Path, source: LoadedSource, images: CheckImages | None, steps: Steps) -> GraphCheck:
    """The file's own outputs, loaded afresh, beside those of the source model."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        module = torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]

    def run(batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        try:
            with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
                tokens, descriptor = module(torch.from_numpy(batch))
        except RuntimeError as error:
            size = " x ".join(str(side) for side in batch.shape[2:0:-1])
            raise WorkError(
                f"{source.network.alias} traced to TorchScript does not run {len(batch)} images of {size} px, as "
                "tracing froze a size: take --format onnx"
            ) from error
        return tokens.numpy(), descriptor.numpy()

    return check_graph(
        path, source.model, source.network, images, PRECISIONS["fp32"], PROVIDER, progress=steps, run=run
    )


def _require_memory(name: str, weight_bytes: int) -> None:
    free, needed = available_memory(), int(weight_bytes * _COPIES)
    if free is not None and free < needed:
        raise WorkError(
            f"{free / 1e9:.1f} GB of memory are free, and tracing and verifying {name} needs {needed / 1e9:.1f} GB: "
            "end other programs, export on a larger machine, or take --format onnx"
        )
