"""Every operator of every graph has a CUDA kernel, by ONNX Runtime's published table: for its version, the types of all
its inputs, and what it casts to.

`cuda_kernels.json` holds the rows of that table, and says which pinned releases they were compared with. This is no run
on a GPU: it shows that nothing has to fall back.
"""

import json
from collections.abc import Iterator, Sequence
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
    TensorProto.STRING: "string",
}


class NoKernelError(Exception):
    """The table has no kernel for a node."""


def since_version(node: onnx.NodeProto, opset: int) -> int:
    """The version of an operator that an opset means. Those of com.microsoft are all of version 1."""
    return 1 if node.domain else int(onnx.defs.get_schema(node.op_type, opset).since_version)


def require_kernel(node: onnx.NodeProto, given: Sequence[str], version: int) -> list[str]:
    """The types of a node's outputs from those of its inputs (an absent one is ""), where one kernel takes them all.

    Raises:
        NoKernelError: no row of the table fits operator, version and every type.
    """
    told = f"{node.name}: {node.op_type} version {version} of {list(given)}"
    entry = TABLE[node.domain].get(node.op_type)
    if entry is None:
        raise NoKernelError(told)
    declared = list(entry["inputs"])
    if declared[-1] == "...":
        declared = declared[:1] * len(given)
    if len(declared) < len(given):
        raise NoKernelError(told)
    for row in entry["rows"]:
        first, last = row["versions"]
        bound = {"int64": "int64"}
        if node.op_type == "Cast":
            (bound["T2"],) = (NAMES[attribute.i] for attribute in node.attribute if attribute.name == "to")
        fits = first <= version and (last is None or version <= last)
        for letter, kind in zip(declared, given, strict=False):
            fits &= not kind or bound.setdefault(letter, kind) == kind
        if fits and all(kind in row.get(letter, [letter]) for letter, kind in bound.items()):
            return [bound[letter] for letter in entry["outputs"]]
    raise NoKernelError(told)


def kernels(model: onnx.ModelProto) -> Iterator[tuple[onnx.NodeProto, list[str]]]:
    """Each node with the types of its inputs, after a kernel was found for it."""
    opset = {entry.domain: entry.version for entry in model.opset_import}[""]
    types = {value.name: NAMES[value.type.tensor_type.elem_type] for value in model.graph.input}
    types |= {tensor.name: NAMES[tensor.data_type] for tensor in model.graph.initializer}
    for node in model.graph.node:
        given = [types[name] if name else "" for name in node.input]
        types |= zip(node.output, require_kernel(node, given, since_version(node, opset)), strict=True)
        yield node, given


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
    seen = {(node.op_type, given[0]) for node, given in kernels(model)}
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
    known = {value.name: NAMES[value.type.tensor_type.elem_type] for value in inferred.graph.value_info}
    compared = 0
    for node, given in kernels(model):
        for name, kind in zip(node.input, given, strict=True):
            if name in known:
                assert known[name] == kind, node.name
                compared += 1
    assert compared > 50


def test_the_table_was_compared_with_the_releases_that_are_pinned() -> None:
    pinned = set()
    for name in ("constraints-gpu.txt", "constraints-gpu-cu13.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pinned |= {line.removeprefix("onnxruntime-gpu==") for line in lines if line.startswith("onnxruntime-gpu==")}
    assert len(pinned) == 2
    assert pinned == set(TABLE["releases"]["seen in"]), "a pin moved: see 'how' in cuda_kernels.json"


@pytest.mark.parametrize(
    ("operator", "given", "attributes", "opset", "there"),
    [
        ("Conv", ["float", "float", "float"], {}, 20, True),
        ("Conv", ["bfloat16", "bfloat16", "bfloat16"], {}, 20, False),
        ("Conv", ["bfloat16", "bfloat16", "bfloat16"], {}, 22, True),
        ("Gemm", ["bfloat16", "bfloat16", "bfloat16"], {}, 20, True),
        ("Gemm", ["bfloat16", "float", "bfloat16"], {}, 20, False),
        ("Cos", ["bfloat16"], {}, 20, False),
        ("Cast", ["float"], {"to": TensorProto.BFLOAT16}, 20, True),
        ("Cast", ["float"], {"to": TensorProto.STRING}, 20, False),
        ("LayerNormalization", ["float", "float", "float"], {}, 17, True),
        ("ReduceMean", ["float", "int64"], {}, 13, False),
        ("MatMulInteger", ["uint8", "int8"], {}, 20, False),
    ],
)
def test_the_table_catches_a_missing_kernel(
    operator: str, given: list[str], attributes: dict[str, int], opset: int, there: bool
) -> None:
    node = onnx.helper.make_node(operator, [f"in{index}" for index in range(len(given))], ["out"], **attributes)
    if there:
        assert len(require_kernel(node, given, since_version(node, opset))) == 1
        return
    with pytest.raises(NoKernelError, match=operator):
        require_kernel(node, given, since_version(node, opset))


def test_graphs_of_8_bit_products_are_for_cpus() -> None:
    assert "DynamicQuantizeMatMul" not in TABLE["com.microsoft"]
