"""A graph of 16-bit products as float32 arithmetic that rounds where the graph does.

ONNX Runtime has no bfloat16 matrix product on CPUs. Hardware that has one multiplies exactly and sums up in float32, so
float32 products of rounded inputs, their results rounded again, give what it gives up to the order of summation. Every
weight is read from the graph's own file, every conversion is done by the runtime's own `Cast`.

It shows what rounding (and in float16, overflow) does to the outputs, and that file and wiring are right. It does not
show that a GPU's kernels are right: that is what a verification on that GPU is for.
"""

import onnx
from onnx import TensorProto, helper

RANGE_SUFFIX = ".range"
"""Added to the name of a 16-bit value: the output with its largest absolute value before rounding."""

_MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze"})
"""Operators that compute nothing: their result is rounded already."""


def emulate_half(model: onnx.ModelProto, half: int, known: frozenset[str] = frozenset()) -> frozenset[str]:
    """Rewrites the model's graph in place; returns the names of all values that are 16-bit in the original.

    Args:
        half: the `TensorProto.DataType` to emulate.
        known: 16-bit values that come from outside, for a part of a graph; they come as float32.
    """
    graph, halves = model.graph, set(known)
    nodes: list[onnx.NodeProto] = []
    ranges: list[str] = []
    for tensor in graph.initializer:
        if tensor.data_type == half:
            halves.add(tensor.name)
            stored = f"{tensor.name}.stored"
            nodes.append(helper.make_node("Cast", [stored], [tensor.name], stored, to=TensorProto.FLOAT))
            tensor.name = stored
    for node in graph.node:
        narrowing = node.op_type == "Cast" and node.attribute[0].i == half
        if not narrowing and (node.op_type == "Cast" or halves.isdisjoint(node.input)):
            nodes.append(node)
            continue
        (output,) = node.output
        halves.add(output)
        if narrowing:
            nodes += _rounded(node.input[0], output, half)
        elif node.op_type in _MOVES:
            nodes.append(node)
            continue
        else:
            wide = f"{output}.wide"
            node.output[0] = wide
            nodes += [node, *_rounded(wide, output, half)]
        ranges.append(f"{output}{RANGE_SUFFIX}")
    del graph.node[:]
    graph.node.extend(nodes)
    graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, []) for name in ranges)
    return frozenset(halves)


def _rounded(wide: str, output: str, half: int) -> list[onnx.NodeProto]:
    narrow, magnitude, reach = f"{output}.narrow", f"{output}.magnitude", f"{output}{RANGE_SUFFIX}"
    return [
        helper.make_node("Cast", [wide], [narrow], narrow, to=half),
        helper.make_node("Cast", [narrow], [output], f"{narrow}.back", to=TensorProto.FLOAT),
        helper.make_node("Abs", [wide], [magnitude], magnitude),
        helper.make_node("ReduceMax", [magnitude], [reach], reach, keepdims=0),
    ]
