"""The figures of a comparison, and what fails it."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from large_files import remove_large_files  # noqa: F401
from torch import Tensor, nn

from exporters.check_images import default_batches
from exporters.export import export_backbone
from exporters.graph_check import GraphCheck, OutputCheck, failures, require_close
from exporters.graph_file import write_graph
from exporters.graph_runs import VerificationError
from exporters.onnx_graph import build_graph
from exporters.precisions import PRECISIONS
from exporters.verify import check_graph
from models.build import build_with_weights
from models.catalogue import BACKBONES
from models.errors import WorkError
from models.random_checkpoint import random_state, shortened, write_random_checkpoint
from models.vit import Tokens

TINY = shortened(BACKBONES["vitt16"], 1)


class Altered(nn.Module):
    """A source model whose outputs are changed on purpose."""

    def __init__(self, model: nn.Module, factor: float, offset: float) -> None:
        super().__init__()
        self.model, self.factor, self.offset = model, factor, offset

    def forward(self, image: Tensor) -> Tokens:
        tokens = self.model(image)
        return Tokens(tokens.patch_tokens * self.factor + self.offset, tokens.class_token)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    return write_graph(build_graph(TINY, random_state(TINY)), tmp_path / "graph.onnx").path


def altered(factor: float = 1.0, offset: float = 0.0) -> Altered:
    return Altered(build_with_weights(TINY, random_state(TINY)), factor, offset)


def test_figures_are_the_difference_and_the_cosine(graph: Path) -> None:
    check = check_graph(graph, altered(factor=-1.0), TINY)  # type: ignore[arg-type]
    figures = check.outputs["patch_tokens"]
    assert figures.smallest_cosine == pytest.approx(-1.0, abs=1e-6)
    assert figures.mean_cosine == pytest.approx(-1.0, abs=1e-6)
    assert check.outputs["global_descriptor"].smallest_cosine == pytest.approx(1.0, abs=1e-6)
    shifted = check_graph(graph, altered(offset=0.125), TINY)  # type: ignore[arg-type]
    assert shifted.largest_difference == pytest.approx(0.125, abs=1e-4)
    assert GraphCheck.from_json(shifted.to_json()) == shifted


@pytest.mark.parametrize(
    ("difference", "cosine", "passes"),
    [(1e-3, 0.9999, True), (1.01e-3, 1.0, False), (0.0, 0.9998, False), (float("nan"), 1.0, False)],
)
def test_bounds(difference: float, cosine: float, passes: bool) -> None:
    check = GraphCheck(((1, 96, 96),), {"patch_tokens": OutputCheck(difference, cosine, cosine)}, "cpu")
    if passes:
        require_close(check, PRECISIONS["fp32"], "graph.onnx")
    else:
        with pytest.raises(VerificationError, match=r"graph\.onnx differs from its source model"):
            require_close(check, PRECISIONS["fp32"], "graph.onnx")


def test_outputs_that_are_not_finite_fail(graph: Path) -> None:
    with pytest.raises(VerificationError, match="'patch_tokens' holds values that are not finite"):
        check_graph(graph, altered(offset=float("nan")), TINY)  # type: ignore[arg-type]


def test_a_graph_of_another_width_fails(graph: Path) -> None:
    other = shortened(BACKBONES["vits16"], 1)
    with pytest.raises(VerificationError, match=r"'patch_tokens' has the shape \(1, 49, 192\) instead of"):
        check_graph(graph, build_with_weights(other, random_state(other)), TINY)


def test_a_file_that_is_no_graph_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.onnx"
    path.write_text("not a graph")
    with pytest.raises(WorkError, match=r"notes\.onnx cannot be loaded"):
        check_graph(path, altered(), TINY)  # type: ignore[arg-type]


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "int8"])
@pytest.mark.parametrize("parts_from_bytes", [1, 1 << 60])
def test_a_linked_data_file_is_followed(precision: str, parts_from_bytes: int, tmp_path: Path) -> None:
    checkpoint = write_random_checkpoint(TINY, tmp_path / "weights")
    graph = export_backbone(TINY, checkpoint, tmp_path, precision, single_file_limit_bytes=1000).graph_path
    (data,) = tmp_path.glob("*.data")
    elsewhere = tmp_path / "other disk"
    elsewhere.mkdir()
    data.rename(elsewhere / data.name)
    data.symlink_to(elsewhere / data.name)
    model = build_with_weights(TINY, random_state(TINY))
    check = check_graph(graph, model, TINY, precision=PRECISIONS[precision], parts_from_bytes=parts_from_bytes)
    assert (check.blocks is not None) == (parts_from_bytes == 1)
    assert not failures(check, PRECISIONS[precision])


def test_wrong_colour_statistics_fail(graph: Path) -> None:
    """Normalisation is inside the graph: a source model fed with other statistics is far away."""
    other = replace(TINY, pretraining=BACKBONES["vitl16sat"].pretraining)
    check = check_graph(graph, build_with_weights(TINY, random_state(TINY)), other)
    assert check.largest_difference > 0.05


@pytest.mark.parametrize("stride", [16, 32])
def test_the_images_compared_are_two_sizes_and_a_batch(stride: int) -> None:
    square, wide = default_batches(stride)
    assert square.shape[1] == square.shape[2]
    assert len(wide) > 1
    assert wide.shape[1] != wide.shape[2]
    for batch in (square, wide):
        assert batch.dtype == np.uint8
        assert batch.shape[1] % stride == 0
        assert float(torch.from_numpy(batch).float().std()) > 40.0
