"""ONNX Runtime: opening a graph on the provider that was asked for, and running it there.

Names of providers stand in `engine.providers`, options of sessions in `engine.onnx_session`, and what every runtime
gives in `engine.loaded_graph`; what other code needs of them can be imported from here.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import GraphError, OutOfMemory, ProviderError, UsageError
from engine.graph_data import data_folder, require_data_file
from engine.graph_info import GraphInfo
from engine.graph_metadata import read_metadata
from engine.loaded_graph import (
    DEFAULT_RUNTIME,
    GraphRuntime,
    LoadedGraph,
    require_file,
    require_images,
    run_failure,
)
from engine.onnx_session import DATA_FOLDER, open_session
from engine.providers import (
    AUTO,
    NUMBERED,
    PROVIDERS,
    check_provider,
    parse_provider,
    provider_name,
    usable_cores,
)
from models import contract

__all__ = [
    "AUTO",
    "DATA_FOLDER",
    "DEFAULT_RUNTIME",
    "INPUT_IMAGE",
    "OUTPUTS",
    "PROVIDERS",
    "GraphError",
    "GraphInfo",
    "GraphRuntime",
    "LoadedGraph",
    "OnnxRuntime",
    "OutOfMemory",
    "ProviderError",
    "UsageError",
    "check_provider",
    "data_folder",
    "open_graph",
    "open_session",
    "parse_provider",
    "provider_name",
    "read_metadata",
    "require_data_file",
    "usable_cores",
]

INPUT_IMAGE = contract.INPUT_IMAGE
OUTPUTS = (contract.OUTPUT_PATCH_TOKENS, contract.OUTPUT_GLOBAL_DESCRIPTOR)
"""Names of a graph's input and outputs."""


class OnnxRuntime:
    """One graph, loaded. Implements `engine.loaded_graph.GraphRuntime`.

    Attributes:
        graph: what the file says of itself.
        provider: the provider that ONNX Runtime really put in front, for example `CUDAExecutionProvider`.
        precision: of the graph.
        device: number of the GPU it runs on; 0 on a CPU.
    """

    def __init__(self, session: Any, graph: GraphInfo, bound_to: tuple[str, int] | None = None) -> None:
        """`bound_to`: the device, such as ("cuda", 0), that inputs are copied to and outputs stay on during a run."""
        self._session = session
        self._bound_to = bound_to
        self.graph = graph
        self.provider: str = session.get_providers()[0]
        self.precision: str = graph.precision
        self.device: int = 0 if bound_to is None else bound_to[1]

    def __call__(self, images: NDArray[np.uint8], /) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """uint8 RGB [B, H, W, 3], H and W multiples of the stride, to patch tokens [B, N, D] and globals [B, D].

        Raises:
            ValueError: an array of another shape or type.
            OutOfMemory: the provider could not get the memory for these images.
            ProviderError: the runtime failed otherwise.
        """
        require_images(images, self.graph.stride)
        run = self._run if self._bound_to is None else self._run_bound
        try:
            tokens, global_descriptor = run(np.ascontiguousarray(images))
        except Exception as error:
            raise run_failure(self.provider, self.graph.path, images, error) from error
        return tokens, global_descriptor

    def _run(self, images: NDArray[np.uint8]) -> Any:
        return self._session.run(list(OUTPUTS), {INPUT_IMAGE: images})

    def _run_bound(self, images: NDArray[np.uint8]) -> Any:
        """The same with IO binding: one copy to the device before the run, and one of each output back after it."""
        import onnxruntime

        kind, number = self._bound_to or ("cpu", 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(INPUT_IMAGE, onnxruntime.OrtValue.ortvalue_from_numpy(images, kind, number))
        for name in OUTPUTS:
            binding.bind_output(name, kind, number)
        self._session.run_with_iobinding(binding)
        return binding.copy_outputs_to_cpu()


def open_graph(path: Path, provider: str = AUTO, threads: int | None = None) -> OnnxRuntime:
    """Opens a graph on a provider.

    Args:
        path: the `.onnx` file.
        provider: `auto` takes CUDA where it works and the CPU otherwise; any other value is taken or refused.
        threads: threads of the CPU provider; by default, the cores this process may use.

    Raises:
        GraphError: the file or its data file is missing, damaged, altered, or not ours.
        ProviderError: the session did not come up on the provider asked for; the message gives the reason.
    """
    import onnxruntime

    require_file(path)
    GraphInfo.from_metadata(path, read_metadata(path))
    if provider != AUTO:
        return _open_on(onnxruntime, path, *parse_provider(provider), threads)
    if PROVIDERS["cuda"] in onnxruntime.get_available_providers():
        try:
            return _open_on(onnxruntime, path, PROVIDERS["cuda"], None, threads)
        except ProviderError:
            # `auto` promises the best provider that works; the caller prints which one it is.
            pass
    return _open_on(onnxruntime, path, PROVIDERS["cpu"], None, threads)


def _open_on(ort: Any, path: Path, name: str, device: int | None, threads: int | None) -> OnnxRuntime:
    session = open_session(ort, path, name, device, threads)
    graph = GraphInfo.from_metadata(path, dict(session.get_modelmeta().custom_metadata_map))
    return OnnxRuntime(session, graph, ("cuda", device or 0) if name in NUMBERED else None)
