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


def held_maps() -> onnx.ModelProto:
    """Some of the maps on a device and new ones behind them: `held` [P, N, D], `kept` [K] of them, `new` [Q, N, D]."""
    half = TensorProto.FLOAT16
    return _model(
        "held_maps",
        [
            helper.make_node("Gather", ["held", "kept"], ["stay"], "stay", axis=0),
            helper.make_node("Concat", ["stay", "new"], ["tokens"], "tokens", axis=0),
        ],
        [("held", half, ["P", "N", "D"]), ("kept", TensorProto.INT64, ["K"]), ("new", half, ["Q", "N", "D"])],
        [("tokens", half, ["R", "N", "D"])],
    )


def mutual_block() -> onnx.ModelProto:
    """Mutual nearest neighbours of many pairs of maps, for a GPU.

    Inputs: `tokens` [P, N, D] float16, all maps; `fill` [P, N, 1] float16: 0 for a token, `NO_MATCH` for one that only
    fills a map up to N tokens; `maps_a` [U] and `maps_b` [V] int64, the maps that take part on each side; `rows`
    [X, S] and `columns` [T, Y] int64, which of those make pairs. `rows` [X, 1] and `columns` [1, Y] pair each with
    each, `rows` and `columns` [X, 1] one with one. The products are of float32 and so those of float16 values without
    loss, with sums in float32; TF32 units hold float16 values exactly too.

    Outputs, [X, Y, K] with K the most matches of any pair: `index_a`, `index_b` int32 and `similarity` float32, best
    first (ties by index in a); `count` [X, Y] int64, how many of K are matches.
    """
    f32, i64 = TensorProto.FLOAT, TensorProto.INT64
    nodes: list[onnx.NodeProto] = []

    def add(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], output, **attributes))
        return output

    # The columns (a, 1, fill) and (b, fill, 1) add both fills to the product, so that nothing has to be masked in it.
    for side, ending in (("a", ("one_a", "fill_a")), ("b", ("fill_b", "one_b"))):
        add("Gather", ["tokens", f"maps_{side}"], side, axis=0)
        add("Gather", ["fill", f"maps_{side}"], f"fill_{side}", axis=0)
        add("Mul", [f"fill_{side}", "zero"], f"nothing_{side}")
        add("Add", [f"nothing_{side}", "one"], f"one_{side}")
        add("Concat", [side, *ending], f"columns_{side}", axis=2)
        add("Cast", [f"columns_{side}"], f"wide_{side}", to=f32)
    add("Transpose", ["wide_b"], "turned_b", perm=[0, 2, 1])
    add("Gather", ["wide_a", "rows"], "each_a", axis=0)
    add("Gather", ["turned_b", "columns"], "each_b", axis=0)
    add("MatMul", ["each_a", "each_b"], "all")
    add("ArgMax", ["all"], "nearest_b", axis=3, keepdims=0)
    add("ArgMax", ["all"], "nearest_a", axis=2, keepdims=0)
    add("ReduceMax", ["all", "axis_3"], "best", keepdims=0)
    # Row i is mutual where the nearest of its nearest is i.
    add("GatherElements", ["nearest_a", "nearest_b"], "back", axis=2)
    add("Shape", ["tokens"], "most_tokens", start=1, end=2)
    add("Squeeze", ["most_tokens"], "token_count")
    add("Range", ["first", "token_count", "step"], "row")
    add("Equal", ["back", "row"], "returns")
    add("Greater", ["best", "lowest"], "real")
    add("And", ["returns", "real"], "mutual")
    # Rounding to float16 can lift a norm above 1; what comes out as 1 is sorted by index.
    add("Min", ["best", "highest"], "cosine")
    add("Where", ["mutual", "cosine", "no_match"], "score")
    add("Cast", ["mutual"], "flags", to=i64)
    add("ReduceSum", ["flags", "axis_2"], "count", keepdims=0)
    add("ReduceMax", ["count"], "most", keepdims=0)
    add("Unsqueeze", ["most", "axis_0"], "kept")
    nodes.append(helper.make_node("TopK", ["score", "kept"], ["similarity", "order"], "similarity", axis=2))
    add("GatherElements", ["nearest_b", "order"], "order_b", axis=2)
    add("Cast", ["order"], "index_a", to=TensorProto.INT32)
    add("Cast", ["order_b"], "index_b", to=TensorProto.INT32)
    constants = [helper.make_tensor(f"axis_{axis}", i64, [1], [axis]) for axis in (0, 2, 3)]
    constants += [helper.make_tensor(name, i64, [], [value]) for name, value in (("first", 0), ("step", 1))]
    constants += [
        helper.make_tensor(name, f32, [], [value])
        for name, value in (("highest", 1.0), ("lowest", NO_MATCH / 2), ("no_match", NO_MATCH))
    ]
    half = TensorProto.FLOAT16
    constants += [helper.make_tensor(name, half, [], [value]) for name, value in (("zero", 0.0), ("one", 1.0))]
    return _model(
        "mutual_block",
        nodes,
        [
            ("tokens", half, ["P", "N", "D"]),
            ("fill", half, ["P", "N", 1]),
            ("maps_a", i64, ["U"]),
            ("maps_b", i64, ["V"]),
            ("rows", i64, ["X", "S"]),
            ("columns", i64, ["T", "Y"]),
        ],
        [
            ("index_a", TensorProto.INT32, ["X", "Y", "K"]),
            ("index_b", TensorProto.INT32, ["X", "Y", "K"]),
            ("similarity", f32, ["X", "Y", "K"]),
            ("count", i64, ["X", "Y"]),
        ],
        constants,
    )


GRAPHS = {
    "product_fp32": float_product,
    "product_int8": int8_product,
    "held_maps": held_maps,
    "mutual_block": mutual_block,
}
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
