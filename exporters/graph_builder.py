"""Writes ONNX nodes and weights down in order. Weights are produced one at a time, when the file is written.

A graph is built from the description of a network, not traced: node names are stable, every constant is deliberate,
and nothing depends on the tracer of a PyTorch release.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from exporters.number_formats import FULL_RANGE, STORAGE, channel_scales, to_half, to_int8, uint8_scale
from exporters.precisions import PRECISIONS, Precision

OPSET = 20
"""The first ONNX operator set with Gelu, and one that every supported ONNX Runtime executes."""

MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own fused operators; its version is 1."""

Array = NDArray[Any]


@dataclass(frozen=True)
class Weight:
    """One initialiser: its shape is known at once, its values when `produce` is called.

    Attributes:
        element_type: a `TensorProto.DataType`.
        produce: returns the values, of this very shape, in the NumPy type that `STORAGE` names for the element type.
    """

    name: str
    element_type: int
    shape: tuple[int, ...]
    produce: Callable[[], Array]

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * np.dtype(STORAGE[self.element_type]).itemsize


class GraphBuilder:
    """Collects nodes and weights. Methods that add a node return the name of its (first) output.

    Weights are announced in float32; `linear` narrows them as the precision asks. Values are float32 unless they come
    from a narrow one: `as_half` and `as_float` convert where a network needs it, and do nothing where there is no need.

    Args:
        int8_largest: largest absolute value of 8-bit weights.
        ranges: smallest and largest of each value that goes into an 8-bit product; None to take them in every call.
    """

    def __init__(
        self,
        name: str,
        precision: Precision = PRECISIONS["fp32"],
        int8_largest: int = FULL_RANGE,
        ranges: Mapping[str, tuple[float, float]] | None = None,
    ) -> None:
        self.name = name
        self.precision = precision
        self._int8_largest = int8_largest
        self._ranges = ranges
        self._half_values: set[str] = set()
        self._quantised: set[str] = set()
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Weight] = {}
        self.inputs: list[onnx.ValueInfoProto] = []
        self.outputs: list[onnx.ValueInfoProto] = []

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights together."""
        return sum(weight.bytes for weight in self.weights.values())

    def input(self, name: str, element_type: int, shape: Sequence[int | str]) -> str:
        self.inputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def output(self, name: str, element_type: int, shape: Sequence[int | str]) -> str:
        self.outputs.append(helper.make_tensor_value_info(name, element_type, shape))
        return name

    def weight(self, name: str, shape: Sequence[int], produce: Callable[[], Array]) -> str:
        """A float32 weight, produced when the file is written."""
        self.weights[name] = Weight(name, TensorProto.FLOAT, tuple(shape), produce)
        return name

    def constant(self, name: str, values: Any, dtype: type[np.generic] = np.int64) -> str:
        """A small constant. The same name may be given again, for the same values only."""
        array = np.asarray(values, dtype)
        known = self.weights.get(name)
        if known is None:
            element_type = helper.np_dtype_to_tensor_dtype(array.dtype)
            self.weights[name] = Weight(name, element_type, array.shape, lambda: array)
        elif not np.array_equal(known.produce(), array):
            raise ValueError(f"two constants of different values are called {name}")
        return name

    def node(self, operator: str, inputs: Sequence[str], output: str, domain: str = "", **attributes: Any) -> str:
        """Adds a node called like its output."""
        if operator != "Cast" and not self._half_values.isdisjoint(inputs):
            self._half_values.add(output)
        self.nodes.append(helper.make_node(operator, inputs, [output], output, domain=domain, **attributes))
        return output

    def split(self, value: str, outputs: Sequence[str], axis: int) -> None:
        """Splits a value into equal parts."""
        self.nodes.append(helper.make_node("Split", [value], outputs, outputs[0], axis=axis, num_outputs=len(outputs)))

    def as_half(self, value: str) -> str:
        """The value as an input of matrix products: in the precision's 16-bit float, where it has one."""
        half = self.precision.half
        if half is None or value in self._half_values:
            return value
        narrow = f"{value}.half"
        if narrow not in self._half_values:
            self._half_values.add(self.node("Cast", [value], narrow, to=half))
        return narrow

    def as_float(self, value: str) -> str:
        """The value in float32."""
        if value not in self._half_values:
            return value
        return self.node("Cast", [value], f"{value}.float", to=TensorProto.FLOAT)

    def linear(self, value: str, weight: str, bias: str | None, output: str, exact: bool = False) -> str:
        """`value @ weight.T + bias` of a [rows, in] value and an [out, in] weight, as PyTorch stores it.

        Args:
            exact: compute in float32, whatever the precision.
        """
        if self.precision.integer and not exact:
            return self._integer_linear(value, weight, bias, output)
        if self.precision.half is not None and not exact:
            value = self.as_half(value)
            for name in (weight, bias):
                if name is not None:
                    self._narrow(name, self.precision.half)
        inputs = [value, weight] if bias is None else [value, weight, bias]
        return self.node("Gemm", inputs, output, transB=1)

    def _narrow(self, name: str, half: int) -> None:
        wide = self.weights[name]
        self.weights[name] = replace(wide, element_type=half, produce=lambda: to_half(wide.produce(), half))

    def _integer_linear(self, value: str, weight: str, bias: str | None, output: str) -> str:
        """One operator that quantises the value with a scale of this call, multiplies, scales back and adds the bias.

        Where ranges of values are known, the value is quantised with a constant scale before, once for all products.
        A missing zero point means 0: the weight's steps lie symmetrically about it.
        """
        wide, largest = self.weights.pop(weight), self._int8_largest
        rows, columns = wide.shape
        steps, scale = f"{weight}.int8", f"{weight}.scale"
        self.weights[steps] = Weight(steps, TensorProto.INT8, (columns, rows), lambda: to_int8(wide.produce(), largest))
        self.weight(scale, (rows,), lambda: channel_scales(wide.produce(), largest))
        if self._ranges is not None:
            narrow, step, zero = self._as_uint8(value, *self._ranges[value])
            inputs = [narrow, steps, step, scale, zero] + ([] if bias is None else ["", bias])
            return self.node("MatMulIntegerToFloat", inputs, output, MICROSOFT)
        inputs = [value, steps, scale] if bias is None else [value, steps, scale, "", bias]
        return self.node("DynamicQuantizeMatMul", inputs, output, MICROSOFT)

    def _as_uint8(self, value: str, low: float, high: float) -> tuple[str, str, str]:
        """The value in 256 steps from `low` to `high`, clipped there; names of the steps, the step, the zero."""
        narrow = f"{value}.uint8"
        step_size, zero_point = uint8_scale(low, high)
        step = self.constant(f"{narrow}.step", step_size, np.float32)
        zero = self.constant(f"{narrow}.zero", zero_point, np.uint8)
        if narrow not in self._quantised:
            self._quantised.add(self.node("QuantizeLinear", [value, step, zero], narrow))
        return narrow, step, zero

    def layer_norm(self, value: str, gain: str, bias: str, output: str, eps: float) -> str:
        """Normalises the last axis."""
        return self.node("LayerNormalization", [value, gain, bias], output, axis=-1, epsilon=eps)
