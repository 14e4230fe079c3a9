"""Every operator of every graph has a CUDA kernel for the very type it works on, by ONNX Runtime's published table.

`cuda_kernels.json` holds the rows of that table, and says which pinned releases they were compared with. This is no run
on a GPU: it shows that nothing has to fall back.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from large_files import remove_large_files  # noqa: F401
from onnx import TensorProto

from exporters.graph_file import write_graph
from exporters.onnx_graph import build_graph
from exporters.precisions import PRECISIONS
from models.catalogue import BACKBONES, Backbone, ConvNeXtArch, ViTArch
from models.random_checkpoint import random_state

ROOT = Path(__file__).parents[2]
TABLE = json.loads((Path(__file__).parent / "cuda_kernels.json").read_text(encoding="utf-8"))
NAMES = {
    TensorProto.FLOAT: "float",
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.INT64: "int64",
    TensorProto.UINT8: "uint8",
}
INTEGER_RESULTS = {"Shape"}
"""Operators whose result is of type int64 whatever they are given."""


def value_types(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, int]]:
    """Each node with the type it works on: that of its first input."""
    types = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    types |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in model.graph.node:
        first = types[node.input[0]]
        yield node, first
        result = first
        if node.op_type == "Cast":
            result = node.attribute[0].i
        elif node.op_type in INTEGER_RESULTS:
            result = TensorProto.INT64
        types |= dict.fromkeys(node.output, result)


def small(alias: str) -> Backbone:
    """The backbone with one block a stage and few channels: its graph has the operators of the whole."""
    backbone = BACKBONES[alias]
    arch = backbone.arch
    if isinstance(arch, ViTArch):
        return replace(backbone, arch=replace(arch, depth=1, dim=64, heads=2, ffn_hidden=96))
    assert isinstance(arch, ConvNeXtArch)
    return replace(backbone, arch=replace(arch, depths=(1, 1, 1, 1), dims=(8, 8, 16, 16)))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("alias", BACKBONES)
def test_every_operator_has_a_kernel(alias: str, precision: str, tmp_path: Path) -> None:
    backbone = small(alias)
    graph = build_graph(backbone, random_state(backbone), PRECISIONS[precision])
    model = onnx.load(write_graph(graph, tmp_path / "g.onnx").path)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 20, "com.microsoft": 1}
    seen = set()
    for node, kind in value_types(model):
        assert NAMES[kind] in TABLE[node.domain].get(node.op_type, ()), f"{node.name}: {node.op_type} of {NAMES[kind]}"
        seen.add((node.op_type, NAMES[kind]))
    half = {"fp32": "float", "bf16": "bfloat16", "fp16": "float16"}[precision]
    assert ("Gemm", half) in seen
    if isinstance(BACKBONES[alias].arch, ViTArch):
        assert ("MultiHeadAttention", half) in seen
        assert ("RotaryEmbedding", "float") in seen


def test_types_are_those_that_the_graph_was_typed_with(tmp_path: Path) -> None:
    """The types above are inferred by hand, as the fused operators have no inference in onnx: ONNX's own, else."""
    backbone = small("cxTiny")
    graph = build_graph(backbone, random_state(backbone), PRECISIONS["bf16"])
    model = onnx.load(write_graph(graph, tmp_path / "g.onnx").path)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    known = {value.name: value.type.tensor_type.elem_type for value in inferred.graph.value_info}
    compared = 0
    for node, kind in value_types(model):
        if node.input[0] in known:
            assert known[node.input[0]] == kind, node.name
            compared += 1
    assert compared > 50


def test_the_table_was_compared_with_the_releases_that_are_pinned() -> None:
    pinned = set()
    for name in ("constraints-gpu.txt", "constraints-gpu-cu13.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pinned |= {line.removeprefix("onnxruntime-gpu==") for line in lines if line.startswith("onnxruntime-gpu==")}
    assert len(pinned) == 2
    assert pinned == set(TABLE["releases"]["seen in"]), "a pin moved: see 'how' in cuda_kernels.json"


def test_the_table_would_catch_a_missing_kernel() -> None:
    assert "bfloat16" not in TABLE[""]["Conv"]
    assert "bfloat16" not in TABLE[""]["Cos"]
    assert "DynamicQuantizeMatMul" not in TABLE["com.microsoft"], "int8 graphs are for CPUs"
