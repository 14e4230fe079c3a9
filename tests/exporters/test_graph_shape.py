"""The graph that a backbone becomes: its operators, its dynamic sides, and one file for every image size."""

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from large_files import remove_large_files  # noqa: F401

from exporters.check_images import normalise
from exporters.graph_file import write_graph
from exporters.graph_runs import OUTPUTS, open_session
from exporters.onnx_graph import build_graph
from models import contract
from models.build import build_with_weights
from models.catalogue import BACKBONES, Backbone, Ffn, ViTArch
from models.random_checkpoint import random_state, shortened


def graph_file(backbone: Backbone, folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return write_graph(build_graph(backbone, random_state(backbone)), folder / "g.onnx").path


@pytest.mark.parametrize("alias", ["vits16", "vitl16+", "cxTiny"])
def test_activations_are_fused(alias: str, tmp_path: Path) -> None:
    """One operator an activation: Gelu of the opset, or QuickGelu of ONNX Runtime, which is SiLU at alpha 1."""
    backbone = shortened(BACKBONES[alias], 2)
    model = onnx.load(graph_file(backbone, tmp_path))
    gated = isinstance(backbone.arch, ViTArch) and backbone.arch.ffn is Ffn.SWIGLU
    depth = backbone.arch.depth if isinstance(backbone.arch, ViTArch) else sum(backbone.arch.depths)
    count = Counter(node.op_type for node in model.graph.node)
    assert (count["Gelu"], count["QuickGelu"]) == ((0, depth) if gated else (depth, 0))
    assert not count.keys() & {"Erf", "Tanh", "Sigmoid", "Pow", "Sqrt"}
    for node in model.graph.node:
        if node.op_type == "QuickGelu":
            assert node.domain == "com.microsoft"
            assert {attribute.name: attribute.f for attribute in node.attribute} == {"alpha": 1.0}


def test_one_file_serves_small_and_large_images(tmp_path: Path) -> None:
    backbone = shortened(BACKBONES["vitt16"], 1)
    session = open_session(graph_file(backbone, tmp_path))
    model = build_with_weights(backbone, random_state(backbone))
    for height, width in ((224, 224), (1024, 1344)):
        pixels = np.random.default_rng(height).integers(0, 256, (1, height, width, 3), dtype=np.uint8)
        patch_tokens, global_descriptor = session.run(list(OUTPUTS), {contract.INPUT_IMAGE: pixels})
        assert patch_tokens.shape == (1, height * width // 256, backbone.dim)
        assert np.isfinite(patch_tokens).all()
        with torch.inference_mode():
            wanted = model(normalise(pixels, backbone.pretraining))
        np.testing.assert_allclose(patch_tokens, wanted.patch_tokens.numpy(), rtol=0, atol=1e-4)
        np.testing.assert_allclose(global_descriptor, wanted.class_token.numpy(), rtol=0, atol=1e-4)


def test_attention_is_one_operator_and_nothing_branches(tmp_path: Path) -> None:
    for alias in ("vits16", "vits16+", "cxTiny"):
        backbone = shortened(BACKBONES[alias], 2)
        model = onnx.load(graph_file(backbone, tmp_path / alias))
        onnx.checker.check_model(model)
        count = Counter(node.op_type for node in model.graph.node)
        assert not count.keys() & {"If", "Loop", "Scan", "Softmax", "Resize"}
        if isinstance(backbone.arch, ViTArch):
            assert count["MultiHeadAttention"] == 2
            assert count["RotaryEmbedding"] == 4
            assert (count["Sin"], count["Cos"]) == (2, 2), "the tables are made once, for rows and for columns"
            assert count["LayerNormalization"] == 5
        else:
            assert count["Conv"] == 8


def test_the_batch_and_both_sides_are_dynamic(tmp_path: Path) -> None:
    graph = onnx.load(graph_file(shortened(BACKBONES["vits16"], 1), tmp_path)).graph
    dims = [dim.dim_param or dim.dim_value for dim in graph.input[0].type.tensor_type.shape.dim]
    assert dims == ["batch", "height", "width", 3]
    assert graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert [output.name for output in graph.output] == ["patch_tokens", "global_descriptor"]
