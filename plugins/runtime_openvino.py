"""Runtime `openvino`: graphs in ONNX form on the CPU, in bfloat16 where the processor has it and in float32 elsewhere.

OpenVINO reads the graphs as they are, but for one operator: OpenVINO 2026.4 turns the tokens of `com.microsoft`
RotaryEmbedding wrongly (on random values by 130 % of the largest one). So that operator is given here, out of standard
ones; weights and everything else stay as they are in the file.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Runtime, RuntimeRecord, UsageError, WorkError, hookimpl

Outputs = tuple[NDArray[np.float32], NDArray[np.float32]]


class OpenVinoRuntime:
    """A compiled graph.

    Attributes:
        provider: device and arithmetic, for example `OpenVINO CPU bf16`.
        precision: the arithmetic: of a graph with 8-bit weights `int8`, else that of the processor.
    """

    def __init__(self, compiled: Any, arithmetic: str, integer: bool) -> None:
        self._compiled = compiled
        self.provider = f"OpenVINO CPU {arithmetic}"
        self.precision = "int8" if integer else arithmetic

    def __call__(self, images: NDArray[np.uint8], /) -> Outputs:
        """uint8 RGB [B, H, W, 3] to patch tokens [B, N, D] and global descriptors [B, D], float32."""
        from engine.runtime import INPUT_IMAGE, OUTPUTS

        result = self._compiled({INPUT_IMAGE: images})
        # The arrays are views of memory that the next run writes to.
        tokens, global_descriptor = (np.array(result[name], np.float32) for name in OUTPUTS)
        return tokens, global_descriptor


def open_openvino(path: Path, provider: str = "auto", threads: int | None = None) -> OpenVinoRuntime:
    """Compiles a graph for the CPU.

    Args:
        provider: `auto` or `cpu`.
        threads: by default, the cores this process may use.

    Raises:
        UsageError: another provider.
        WorkError: the package is missing, or it cannot read or compile the graph.
    """
    from engine.runtime import read_metadata, usable_cores

    if provider.strip().lower() not in ("auto", "cpu"):
        raise UsageError(f"--provider {provider}: the runtime openvino computes on the CPU; leave --provider out")
    try:
        import openvino
        from openvino.frontend.onnx import ConversionExtension
    except ImportError as error:
        raise WorkError(
            f"the runtime openvino needs the package openvino ({error}): pip install 'dinov3-match[openvino]', or take "
            "--runtime onnxruntime"
        ) from error
    core = openvino.Core()
    core.add_extension(ConversionExtension("RotaryEmbedding", "com.microsoft", rotary_embedding))
    arithmetic = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "fp32"
    options = {
        "INFERENCE_PRECISION_HINT": {"bf16": "bf16", "fp32": "f32"}[arithmetic],
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads or usable_cores(),
        # Pinned threads would wait for their core even while another, left by a decoder, is free.
        "ENABLE_CPU_PINNING": False,
    }
    try:
        compiled = core.compile_model(core.read_model(str(path.resolve())), "CPU", options)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        raise WorkError(
            f"OpenVINO {openvino.__version__} cannot compile {path}: {reason}. Take --runtime onnxruntime"
        ) from error
    integer = any(key.endswith(".precision") and value == "int8" for key, value in read_metadata(path).items())
    return OpenVinoRuntime(compiled, arithmetic, integer)


def rotary_embedding(node: Any) -> list[Any]:
    """`com.microsoft` RotaryEmbedding of [B, T, heads * D] values with tables [T, D / 2], not interleaved, position 0.

    Of each head the first half becomes `first * cos - second * sin`, the second `second * cos + first * sin`
    (https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md#com.microsoft.RotaryEmbedding).
    """
    import openvino.opset13 as ops

    value, cos, sin = node.get_input(0), node.get_input(2), node.get_input(3)
    half = cos.get_partial_shape()[1].get_length()
    spread = np.array([0, 0, -1, 2 * half], np.int64)
    heads = ops.reshape(value, spread, special_zero=True)
    first, second = ops.variadic_split(heads, 3, np.array([half, half], np.int64)).outputs()
    cos_table, sin_table = (ops.unsqueeze(table, np.array([1], np.int64)) for table in (cos, sin))
    turned_first = ops.subtract(ops.multiply(first, cos_table), ops.multiply(second, sin_table))
    turned_second = ops.add(ops.multiply(second, cos_table), ops.multiply(first, sin_table))
    turned = ops.concat([turned_first, turned_second], 3)
    return [ops.reshape(turned, np.array([0, 0, -1], np.int64), special_zero=True).output(0)]


def _factory() -> Callable[..., Runtime]:
    return open_openvino


@hookimpl
def engine_runtimes() -> list[RuntimeRecord]:
    """The runtime of this module."""
    return [
        RuntimeRecord(
            name="openvino", help="OpenVINO, on the CPU, in bf16 where it has it", suffixes=(".onnx",), factory=_factory
        )
    ]
