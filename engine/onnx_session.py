"""Sessions of ONNX Runtime: options set on purpose, and the provider asked for or an error.

Threads. One session runs one operator at a time and spreads it over all cores this process may use (not the machine's:
a container or `taskset` may allow fewer). ONNX Runtime's threads by default spin while they wait for the next operator,
and for a while after the run. That saves waking them, as long as nothing else wants the cores; but here other workers
decode the next photographs and verify pairs meanwhile, and are starved by it: on busy cores both the runs and the
decoding beside them are slower with spinning. Stopping only the spinning after a run (`session.force_spinning_stop`)
leaves that within the run. So threads sleep.

CUDA. `kSameAsRequested`: memory grows by what is asked for; the default doubles, and fails where the request itself
would still fit, as photographs of mixed sizes make it do. `HEURISTIC`: cuDNN chooses convolutions (the ConvNeXt
backbones have them) by rule; the default times every candidate anew at each new image size. `use_tf32` off: TF32
rounds the inputs of fp32 products to 10 bits, which is not what a graph called fp32 was verified with; bf16 is there
for speed.
"""

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from engine.errors import GraphError, ProviderError
from engine.graph_data import data_folder, require_data_file
from engine.graph_figures import stored_quantisation
from engine.graph_metadata import read_metadata
from engine.providers import NUMBERED, PROVIDERS, usable_cores
from models import contract
from models.processor import cpu_flags, exact_byte_products

CUDA_OPTIONS = {
    "arena_extend_strategy": "kSameAsRequested",
    "cudnn_conv_algo_search": "HEURISTIC",
    "use_tf32": "0",
}
"""Options of the CUDA provider; see above for the reasons."""

DATA_FOLDER = "session.model_external_initializers_file_folder_path"
"""Where a session made from a graph's bytes finds the data file."""

_GRAPH_FAULTS = ("InvalidProtobuf", "InvalidGraph", "NoModel", "NoSuchFile", "InvalidArgument")
"""Exceptions of ONNX Runtime that are about the file, whatever the provider."""


def open_session(ort: Any, path: Path, name: str, device: int | None, threads: int | None) -> Any:
    """A session of the graph on the provider `name`.

    Args:
        ort: the module `onnxruntime`.
        device: number of the GPU, or None for the first.
        threads: of the CPU provider; None for all cores this process may use.

    Raises:
        GraphError: the file or its data file is missing, damaged or altered.
        ProviderError: the provider is not there, cannot run such a graph, or did not start.
    """
    require_provider(ort, name)
    if name in NUMBERED and hasattr(ort, "preload_dlls"):
        with _captured_stderr():
            ort.preload_dlls()
    options = session_options(ort, threads)
    _require_arithmetic(path, name)
    model = _model_source(path, options)
    captured: list[str] = []
    try:
        with _captured_stderr(captured):
            # ONNX Runtime would go on with the CPU by itself, at loading and in the middle of a run.
            session = ort.InferenceSession(
                model, options, providers=[provider_options(name, device)], enable_fallback=0
            )
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        if name != PROVIDERS["cpu"] and type(error).__name__ not in _GRAPH_FAULTS:
            raise ProviderError(f"{name} did not start with {path}: {reason}") from error
        raise GraphError(f"{path} cannot be loaded ({reason}): it may be damaged; export it again") from error
    started = session.get_providers()[0]
    if started != name:
        raise ProviderError(f"{name} did not start, ONNX Runtime fell back to {started}: {_reason(captured)}")
    return session


def require_provider(ort: Any, name: str) -> None:
    """Raises ProviderError, with the remedy, where the installed build does not have the provider."""
    available = ort.get_available_providers()
    if name not in available:
        hint = "install a build that has it"
        if name == PROVIDERS["cuda"]:
            hint = (
                "install the extra 'gpu' in place of 'cpu' (pip uninstall onnxruntime, then "
                "pip install 'dinov3-match[gpu]')"
            )
        installed = f"the installed ONNX Runtime {ort.__version__} (it has {', '.join(available)})"
        raise ProviderError(f"{name} is not part of {installed}: {hint}")


def session_options(ort: Any, threads: int | None = None) -> Any:
    """Options of every session; the head of this module gives the reasons."""
    options = ort.SessionOptions()
    options.log_severity_level = 2
    options.intra_op_num_threads = threads or usable_cores()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def provider_options(name: str, device: int | None) -> str | tuple[str, dict[str, str]]:
    """The provider as a session takes it, with its options where it has any."""
    options = dict(CUDA_OPTIONS) if name == PROVIDERS["cuda"] else {}
    if device is not None:
        options["device_id"] = str(device)
    return (name, options) if options else name


def _require_arithmetic(path: Path, name: str) -> None:
    """Says in advance what ONNX Runtime would say of a missing kernel.

    Raises:
        ProviderError: a bf16 graph on the CPU, an int8 graph on CUDA, which would leave most of it to the CPU, or one
            of the full 8-bit range on a processor whose products of it saturate without a word.
    """
    metadata = read_metadata(path)
    precision = metadata.get(contract.KEY_PRECISION)
    if name in NUMBERED and precision == "int8":
        raise ProviderError(f"{path} computes in int8, which is for CPUs: take the precision bf16 on a GPU")
    if name == PROVIDERS["cpu"] and precision == "bf16":
        raise ProviderError(
            f"{path} computes in bf16, for which ONNX Runtime has no matrix product on CPUs: take the precision fp32 "
            "or int8 here, or run it on a GPU"
        )
    if name == PROVIDERS["cpu"] and precision == "int8":
        flags, full_range = cpu_flags(), stored_quantisation(path, metadata).reduced_range is False
        if full_range and flags is not None and exact_byte_products(flags) is None:
            raise ProviderError(
                f"{path} was made on a processor with VNNI, and 8-bit products of its full range saturate on this one, "
                "which has none: export it again here, where the range will be reduced, or take the precision fp32"
            )


def _model_source(path: Path, options: Any) -> str | bytes:
    """What a session is made from: the file, or its bytes where the data file beside it is a link.

    Raises:
        GraphError: the data file of a large graph is missing or altered.
    """
    real = path.resolve()
    data = require_data_file(real, read_metadata(real))
    if data is None or not data.is_symlink():
        return str(real)
    options.add_session_config_entry(DATA_FOLDER, str(data_folder(data)))
    return real.read_bytes()


def _reason(captured: list[str]) -> str:
    telling = [line for line in captured if "error" in line.lower() or "fail" in line.lower() or "cuda" in line.lower()]
    if not telling:
        return "no reason given; check the driver with nvidia-smi, and that CUDA and cuDNN fit this ONNX Runtime"
    return telling[0].strip()


@contextlib.contextmanager
def _captured_stderr(lines: list[str] | None = None) -> Iterator[None]:
    """Collects what native code prints to standard error: ONNX Runtime tells the reason of a fall-back only there."""
    with tempfile.TemporaryFile() as sink:
        saved = os.dup(2)
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            sink.seek(0)
            text = sink.read().decode("utf-8", "replace")
            if lines is not None:
                lines.extend(text.splitlines())
