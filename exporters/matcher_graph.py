"""Builds the small graphs that matchers run: `python -m exporters.matcher_graph` writes them beside the matchers.

They hold no weights. They are kept in the repository, so that matching needs neither torch nor onnx.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

OPSET, IR_VERSION = 20, 9
"""What every supported ONNX Runtime reads."""
FOLDER = Path(__file__).resolve().parents[1] / "plugins"
NO_MATCH = -4.0
"""Added to the similarities of tokens that only fill a map up to the size of the largest; cosines end at -1."""


def float_product() -> onnx.ModelProto:
    """a [N, D] and b [M, D] float32 to all their dot products [N, M] float32."""
    node = helper.make_node("Gemm", ["a", "b"], ["similarity"], "similarity", transB=1)
    return _model(
        "product_fp32",
        [node],
        [("a", TensorProto.FLOAT, ["N", "D"]), ("b", TensorProto.FLOAT, ["M", "D"])],
        [("similarity", TensorProto.FLOAT, ["N", "M"])],
    )


def int8_product() -> onnx.ModelProto:
    """a [N, D] uint8 with its zero at 128, and b [D, M] int8, to their dot products [N, M] int32."""
    node = helper.make_node("MatMulInteger", ["a", "b", "zero"], ["similarity"], "similarity")
    return _model(
        "product_int8",
        [node],
        [("a", TensorProto.UINT8, ["N", "D"]), ("b", TensorProto.INT8, ["D", "M"])],
        [("similarity", TensorProto.INT32, ["N", "M"])],
        [helper.make_tensor("zero", TensorProto.UINT8, [], [128])],
    )


def mutual_block() -> onnx.ModelProto:
    """Mutual nearest neighbours of every map of a block a with every map of a block b, for a GPU.

    Inputs: `a` [A, N, D] and `b` [B, M, D] float16, `fill_a` [A, N, 1] and `fill_b` [B, M, 1] float16: 0 for a token,
    `NO_MATCH` for one that only fills a map up to N or M tokens. The products are of float32 and so those of float16
    values without loss, with sums in float32; TF32 units hold float16 values exactly too.

    Outputs, [A, B, K] with K the most matches of any pair: `index_a`, `index_b` int32 and `similarity` float32, best
    first (ties by index in a); `count` [A, B] int64, how many of K are matches.
    """
    f32, i64 = TensorProto.FLOAT, TensorProto.INT64
    nodes: list[onnx.NodeProto] = []

    def add(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    # The columns (a, 1, fill) and (b, fill, 1) add both fills to the product, so that nothing has to be masked in it.
    add("Mul", ["fill_a", "zero"], "nothing_a")
    add("Add", ["nothing_a", "one"], "one_a")
    add("Mul", ["fill_b", "zero"], "nothing_b")
    add("Add", ["nothing_b", "one"], "one_b")
    add("Concat", ["a", "one_a", "fill_a"], "columns_a", axis=2)
    add("Concat", ["b", "fill_b", "one_b"], "columns_b", axis=2)
    add("Cast", ["columns_a"], "wide_a", to=f32)
    add("Cast", ["columns_b"], "wide_b", to=f32)
    add("Transpose", ["wide_b"], "turned_b", perm=[0, 2, 1])
    add("Unsqueeze", ["wide_a", "axis_1"], "each_a")
    add("Unsqueeze", ["turned_b", "axis_0"], "each_b")
    add("MatMul", ["each_a", "each_b"], "all")
    add("ArgMax", ["all"], "nearest_b", axis=3, keepdims=0)
    add("ArgMax", ["all"], "nearest_a", axis=2, keepdims=0)
    add("ReduceMax", ["all", "axis_3"], "best", keepdims=0)
    # Row i is mutual where the nearest of its nearest is i.
    add("GatherElements", ["nearest_a", "nearest_b"], "back", axis=2)
    add("Shape", ["a"], "tokens_a", start=1, end=2)
    add("Squeeze", ["tokens_a"], "rows")
    add("Range", ["first", "rows", "step"], "row")
    add("Equal", ["back", "row"], "returns")
    add("Greater", ["best", "lowest"], "real")
    add("And", ["returns", "real"], "mutual")
    add("Where", ["mutual", "best", "no_match"], "score")
    add("Cast", ["mutual"], "flags", to=i64)
    add("ReduceSum", ["flags", "axis_2"], "count", keepdims=0)
    add("ReduceMax", ["count"], "most", keepdims=0)
    add("Unsqueeze", ["most", "axis_0"], "kept")
    nodes.append(helper.make_node("TopK", ["score", "kept"], ["similarity", "order"], "similarity", axis=2))
    add("GatherElements", ["nearest_b", "order"], "order_b", axis=2)
    add("Cast", ["order"], "index_a", to=TensorProto.INT32)
    add("Cast", ["order_b"], "index_b", to=TensorProto.INT32)
    constants = [helper.make_tensor(f"axis_{axis}", i64, [1], [axis]) for axis in range(4)]
    constants += [helper.make_tensor(name, i64, [], [value]) for name, value in (("first", 0), ("step", 1))]
    constants += [
        helper.make_tensor(name, f32, [], [value]) for name, value in (("lowest", NO_MATCH / 2), ("no_match", NO_MATCH))
    ]
    constants += [
        helper.make_tensor(name, TensorProto.FLOAT16, [], [value]) for name, value in (("zero", 0.0), ("one", 1.0))
    ]
    half = TensorProto.FLOAT16
    return _model(
        "mutual_block",
        nodes,
        [
            ("a", half, ["A", "N", "D"]),
            ("fill_a", half, ["A", "N", 1]),
            ("b", half, ["B", "M", "D"]),
            ("fill_b", half, ["B", "M", 1]),
        ],
        [
            ("index_a", TensorProto.INT32, ["A", "B", "K"]),
            ("index_b", TensorProto.INT32, ["A", "B", "K"]),
            ("similarity", f32, ["A", "B", "K"]),
            ("count", i64, ["A", "B"]),
        ],
        constants,
    )


GRAPHS = {"product_fp32": float_product, "product_int8": int8_product, "mutual_block": mutual_block}
"""File name without suffix, and what makes the graph."""


def _model(
    name: str,
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[tuple[str, int, Sequence[str | int]]],
    outputs: Sequence[tuple[str, int, Sequence[str | int]]],
    constants: Sequence[onnx.TensorProto] = (),
) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info(*entry) for entry in inputs],
        [helper.make_tensor_value_info(*entry) for entry in outputs],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    onnx.checker.check_model(model, full_check=True)
    return model


def main() -> int:
    """Writes all graphs."""
    for name, build in GRAPHS.items():
        path = FOLDER / f"{name}.onnx"
        path.write_bytes(build().SerializeToString(deterministic=True))
        print(f"wrote {path} ({path.stat().st_size} bytes)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
