"""Runtime `torchscript`: graphs that `engine export --format torchscript` writes, executed by PyTorch.

PyTorch deprecates TorchScript: this is for programs that need it still. See also `exporters.torchscript`.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Runtime, RuntimeRecord, UsageError, WorkError, hookimpl

Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]

_METADATA_MEMBER = "extra/dinov3_match.json"
"""Where the file, a ZIP archive, holds its metadata: below the archive's one folder."""


class TorchScriptRuntime:
    """A loaded module. `provider` is the device, for example `TorchScript cpu`."""

    def __init__(self, module: Any, device: Any) -> None:
        self._module = module
        self._device = device
        self.provider = f"TorchScript {device}"

    def __call__(self, images: NDArray[np.uint8], /) -> Outputs:
        """uint8 RGB [B, H, W, 3] to patch tokens [B, N, D] and global descriptors [B, D], float32."""
        import torch

        # The executor that PyTorch takes by default compiles anew for every image size it meets.
        with torch.inference_mode(), torch.jit.optimized_execution(False):  # type: ignore[attr-defined]
            tokens, global_descriptor = self._module(torch.from_numpy(images).to(self._device))
        return tokens.cpu().numpy(), global_descriptor.cpu().numpy()


def open_torchscript(path: Path, provider: str = "auto") -> TorchScriptRuntime:
    """Loads a graph.

    Args:
        provider: `auto` (CUDA where PyTorch has it), `cpu`, or `cuda` with or without a number.

    Raises:
        UsageError: another provider.
        WorkError: PyTorch is missing, does not have the device, or cannot load the file.
    """
    from engine.runtime import PROVIDERS, parse_provider, usable_cores

    try:
        import torch
    except ImportError as error:
        raise WorkError(
            f"the runtime torchscript needs PyTorch ({error}): install the extra 'export' "
            "(pip install 'dinov3-match[export]'), or take --runtime onnxruntime"
        ) from error
    if provider == "auto":
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    else:
        name, number = parse_provider(provider)
        kinds = {PROVIDERS["cpu"]: "cpu", PROVIDERS["cuda"]: "cuda"}
        if name not in kinds:
            raise UsageError(f"--provider {provider}: the runtime torchscript knows auto, cpu and cuda")
        if kinds[name] == "cuda" and not torch.cuda.is_available():
            raise WorkError(
                f"PyTorch {torch.__version__} finds no GPU: leave --provider out, or install its CUDA build"
            )
        device = torch.device(kinds[name], number) if number is not None else torch.device(kinds[name])
    torch.set_num_threads(usable_cores())
    try:
        module = torch.jit.load(str(path), map_location=device).eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise WorkError(
            f"{path} cannot be loaded ({str(error).splitlines()[0]}): it may be damaged; export it again"
        ) from error
    return TorchScriptRuntime(module, device)


def read_torchscript_metadata(path: Path) -> Mapping[str, str]:
    """The metadata of a file, read without PyTorch.

    Raises:
        WorkError: the file is damaged or was not written by this program.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [name for name in archive.namelist() if name.partition("/")[2] == _METADATA_MEMBER]
            if len(members) != 1:
                raise WorkError(f"{path} is not a graph exported by this program: make one with 'engine export'")
            entries = json.loads(archive.read(members[0]))
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise WorkError(f"{path} cannot be loaded ({error}): it may be damaged; export it again") from error
    return {str(key): str(value) for key, value in entries.items()}


def _factory() -> Callable[..., Runtime]:
    return open_torchscript


@hookimpl
def engine_runtimes() -> list[RuntimeRecord]:
    """The runtime of this module."""
    return [
        RuntimeRecord(
            name="torchscript",
            help="PyTorch, for graphs in TorchScript form, on CPU or GPU",
            suffixes=(".torchscript",),
            factory=_factory,
            metadata=read_torchscript_metadata,
        )
    ]
