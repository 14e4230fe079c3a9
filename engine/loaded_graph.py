"""A loaded graph as the rest of the engine uses it, whatever runtime executes it."""

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.errors import Dinov3MatchError, GraphError, OutOfMemory, ProviderError
from engine.graph_info import GraphInfo
from engine.hooks import Runtime

Images = NDArray[np.uint8]
Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]

DEFAULT_RUNTIME = "onnxruntime"

_MEMORY_WORDS = (
    "out of memory",
    "failed to allocate",
    "allocation failed",
    "bad allocation",
    "bad_alloc",
    "not enough memory",
    "cannot allocate memory",
    "can't allocate memory",
    "alloc_failed",
)
"""How ONNX Runtime's arenas, CUDA, cuBLAS and cuDNN, PyTorch, oneDNN and the C++ library say that memory is short."""


class GraphRuntime(Protocol):
    """A graph that runs: what it says of itself, where it runs, and the run.

    Attributes:
        graph: what the file says of itself.
        provider: what really computes, for example `CUDAExecutionProvider`.
        precision: the arithmetic really used; mostly that of the graph.
        device: number of the GPU, where ONNX Runtime computes on one.
    """

    @property
    def graph(self) -> GraphInfo: ...

    @property
    def provider(self) -> str: ...

    @property
    def precision(self) -> str: ...

    @property
    def device(self) -> int: ...

    def __call__(self, images: Images, /) -> Outputs:
        """uint8 RGB [B, H, W, 3], H and W multiples of the stride, to patch tokens [B, N, D] and globals [B, D]."""
        ...


class LoadedGraph:
    """A graph opened by a runtime of a plugin, with its contract held on both sides.

    Attributes:
        graph: what the file says of itself.
        provider: what really computes, as the runtime says.
        precision: the arithmetic really used, where the runtime says that it is another than the graph's.
        device: 0; only ONNX Runtime shares its GPU with matchers.
    """

    device = 0

    def __init__(self, runtime: Runtime, graph: GraphInfo) -> None:
        self._runtime = runtime
        self.graph = graph
        self.provider: str = runtime.provider
        self.precision: str = getattr(runtime, "precision", graph.precision)

    def __call__(self, images: Images, /) -> Outputs:
        """uint8 RGB [B, H, W, 3], H and W multiples of the stride, to patch tokens [B, N, D] and globals [B, D].

        Raises:
            ValueError: an array of another shape or type.
            OutOfMemory: the runtime could not get the memory for these images.
            ProviderError: the runtime failed otherwise, or gave something else than a graph promises.
        """
        require_images(images, self.graph.stride)
        try:
            tokens, global_descriptor = self._runtime(np.ascontiguousarray(images))
        except Dinov3MatchError:
            raise
        except Exception as error:
            raise run_failure(self.provider, self.graph.path, images, error) from error
        batch, height, width, _ = images.shape
        count = (height // self.graph.stride) * (width // self.graph.stride)
        wanted = ((batch, count, self.graph.dim), (batch, self.graph.dim))
        for name, found, shape in zip(("tokens", "globals"), (tokens, global_descriptor), wanted, strict=True):
            if not isinstance(found, np.ndarray) or found.dtype != np.float32 or found.shape != shape:
                given = f"{found.dtype} {list(found.shape)}" if isinstance(found, np.ndarray) else type(found).__name__
                raise ProviderError(
                    f"{self.provider} gave {name} as {given} instead of float32 {list(shape)} with "
                    f"{self.graph.path.name}: the runtime's plugin is at fault"
                )
        return tokens, global_descriptor


def require_images(images: Images, stride: int) -> None:
    """Raises ValueError unless these are uint8 RGB images [B, H, W, 3], H and W multiples of the stride."""
    if images.ndim != 4 or images.shape[3] != 3 or images.dtype != np.uint8:
        raise ValueError(f"expected uint8 [B, H, W, 3], got {images.dtype} {list(images.shape)}")
    if images.shape[1] % stride or images.shape[2] % stride:
        raise ValueError(f"height and width must be multiples of {stride}, got {images.shape[1]} x {images.shape[2]}")


def run_failure(provider: str, path: Path, images: Images, error: Exception) -> ProviderError:
    """The error to raise when a run on these images failed: `OutOfMemory` where that is the reason."""
    text = str(error) or type(error).__name__
    size = f"{images.shape[0]} image(s) of {images.shape[2]} x {images.shape[1]} px"
    told = f"{provider} failed on {size} with {path.name}: {text.splitlines()[0]}"
    return OutOfMemory(told) if memory_is_short(error) else ProviderError(told)


def memory_is_short(error: Exception) -> bool:
    """Whether an error of ONNX Runtime, PyTorch or another library says that memory could not be had."""
    return isinstance(error, MemoryError) or any(word in str(error).lower() for word in _MEMORY_WORDS)


def require_file(path: Path) -> None:
    """Raises GraphError unless the graph file is there."""
    if not path.is_file():
        raise GraphError(f"{path} does not exist: make it with 'engine export'")
