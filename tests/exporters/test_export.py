"""Checkpoint to graph: equal to the source model at every size, whole or absent, and described by itself."""

import hashlib
import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from large_files import remove_large_files  # noqa: F401
from numpy.typing import NDArray

from exporters import export as export_module
from exporters import room
from exporters.check_images import CheckImages, normalise
from exporters.export import export_backbone, graph_name
from exporters.graph_check import GraphCheck
from exporters.graph_file import WrittenGraph
from exporters.graph_runs import VerificationError, open_session
from exporters.verify import check_graph
from models import contract
from models.build import build_with_weights
from models.catalogue import BACKBONES, Backbone, Ffn, ViTArch
from models.errors import UsageError, WorkError
from models.random_checkpoint import random_state, shortened, write_checkpoint, write_random_checkpoint

NARROW_7B = replace(
    BACKBONES["vit7b16"], arch=ViTArch(512, 2, 4, Ffn.SWIGLU, 1024, qkv_bias=False, local_cls_norm=True)
)
TINY = shortened(BACKBONES["vits16"], 1)
NETWORKS = {
    "vits16": BACKBONES["vits16"],
    "vits16+": BACKBONES["vits16+"],
    "vitt16": BACKBONES["vitt16"],
    "cxTiny": BACKBONES["cxTiny"],
    "vitl16": shortened(BACKBONES["vitl16"]),
    "vitl16+": shortened(BACKBONES["vitl16+"], 1),
    "vitl16sat": shortened(BACKBONES["vitl16sat"], 1),
    "vith16+": shortened(BACKBONES["vith16+"], 1),
    "narrow 7b": NARROW_7B,
    "cxSmall": shortened(BACKBONES["cxSmall"], 1),
    "cxLarge": shortened(BACKBONES["cxLarge"], 1),
}


def images(batch: int, rows: int, cols: int, stride: int) -> NDArray[np.uint8]:
    random = np.random.default_rng(rows * cols)
    return random.integers(0, 256, (batch, rows * stride, cols * stride, 3), dtype=np.uint8)


def run(graph: Path, batch: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    patch_tokens, global_descriptor = open_session(graph).run(
        [contract.OUTPUT_PATCH_TOKENS, contract.OUTPUT_GLOBAL_DESCRIPTOR], {contract.INPUT_IMAGE: batch}
    )
    return patch_tokens, global_descriptor


@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_equals_eager_at_shapes_not_used_for_the_export(name: str, tmp_path: Path) -> None:
    backbone = NETWORKS[name]
    checkpoint = write_random_checkpoint(backbone, tmp_path / "weights")
    report = export_backbone(backbone, checkpoint, tmp_path / "graphs")
    model = build_with_weights(backbone, torch.load(checkpoint, weights_only=True))
    for batch, rows, cols in ((1, 3, 5), (3, 4, 2), (1, 1, 1)):
        pixels = images(batch, rows, cols, backbone.stride)
        assert pixels.shape[:3] not in report.check.shapes
        with torch.inference_mode():
            wanted = model(normalise(pixels, backbone.pretraining))
        patch_tokens, global_descriptor = run(report.graph_path, pixels)
        assert patch_tokens.shape == (batch, rows * cols, backbone.dim)
        np.testing.assert_allclose(patch_tokens, wanted.patch_tokens.numpy(), rtol=0, atol=1e-4)
        np.testing.assert_allclose(global_descriptor, wanted.class_token.numpy(), rtol=0, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(
    "alias", ["vitb16", "vitl16", "vitl16+", "vith16+", "vitl16sat", "cxSmall", "cxBase", "cxLarge"]
)
def test_full_size_backbones_export_and_verify(alias: str, tmp_path: Path) -> None:
    backbone = BACKBONES[alias]
    report = export_backbone(backbone, write_random_checkpoint(backbone, tmp_path / "weights"), tmp_path)
    assert report.largest_difference <= 1e-4
    assert report.smallest_cosine >= 0.99999


@pytest.mark.parametrize("name", ["vits16", "cxTiny"])
def test_batched_equals_one_by_one(name: str, tmp_path: Path) -> None:
    backbone = shortened(NETWORKS[name], 2)
    graph = export_backbone(backbone, write_random_checkpoint(backbone, tmp_path / "weights"), tmp_path).graph_path
    batch = images(3, 3, 4, backbone.stride)
    together = run(graph, batch)
    for index in range(3):
        for all_of_them, alone in zip(together, run(graph, batch[index : index + 1]), strict=True):
            np.testing.assert_allclose(all_of_them[index], alone[0], rtol=0, atol=2e-5)


def test_the_pixels_are_normalised_with_the_statistics_of_the_backbone(tmp_path: Path) -> None:
    """Against transformers' arithmetic written out: (pixel / 255 - mean) / std through the first layer alone."""
    backbone = shortened(BACKBONES["vitl16sat"], 1)
    state = random_state(backbone)
    graph = export_backbone(backbone, write_checkpoint(backbone, state, tmp_path), tmp_path).graph_path
    model = onnx.load(graph)
    model.graph.output.append(onnx.helper.make_tensor_value_info("patch_embed.proj", onnx.TensorProto.FLOAT, None))
    onnx.save(model, tmp_path / "open.onnx")
    pixels = images(1, 2, 3, 16)
    found = open_session(tmp_path / "open.onnx").run(["patch_embed.proj"], {"image": pixels})[0]
    scaled = (pixels / 255.0 - np.array([0.430, 0.411, 0.296])) / np.array([0.213, 0.156, 0.143])
    kernel, bias = state["patch_embed.proj.weight"].double().numpy(), state["patch_embed.proj.bias"].double().numpy()
    for row in range(2):
        for col in range(3):
            window = scaled[0, 16 * row : 16 * row + 16, 16 * col : 16 * col + 16]
            wanted = np.einsum("dcyx,yxc->d", kernel, window) + bias
            np.testing.assert_allclose(found[row * 3 + col], wanted, rtol=0, atol=1e-4)


def test_a_size_that_is_no_multiple_of_the_stride_is_refused(tmp_path: Path) -> None:
    graph = export_backbone(TINY, write_random_checkpoint(TINY, tmp_path), tmp_path).graph_path
    for height, width in ((40, 32), (32, 40), (64, 24)):
        with pytest.raises(Exception, match="cannot be reshaped"):
            run(graph, np.zeros((2, height, width, 3), np.uint8))


def test_the_graph_describes_itself(tmp_path: Path) -> None:
    backbone = replace(shortened(BACKBONES["vitl16sat"], 1), alias="vitl16sat")
    checkpoint = write_random_checkpoint(backbone, tmp_path)
    report = export_backbone(backbone, tmp_path, tmp_path / "graphs")
    data = open_session(report.graph_path).get_modelmeta().custom_metadata_map
    assert report.graph_path == tmp_path / "graphs" / "vitl16sat-fp32.onnx"
    assert data[contract.KEY_CONTRACT] == "1"
    assert data[contract.KEY_ALIAS] == "vitl16sat"
    assert data[contract.KEY_PRECISION] == "fp32"
    assert data[contract.KEY_SOURCE] == "builtin"
    assert (data[contract.KEY_STRIDE], data[contract.KEY_DIM]) == ("16", "1024")
    assert data[contract.KEY_GLOBAL] == "class_token"
    assert data[contract.KEY_CHECKPOINT_NAME] == checkpoint.name
    assert data[contract.KEY_CHECKPOINT_SHA256] == report.checkpoint.sha256
    assert checkpoint.stem.endswith(report.checkpoint.sha256[:8])
    assert data[contract.KEY_CHECKPOINT_STATUS] == "own"
    assert json.loads(data[contract.KEY_INPUT])["mean"] == [0.430, 0.411, 0.296]
    assert json.loads(data[contract.KEY_VERSIONS])["torch"] == torch.__version__
    assert GraphCheck.from_json(data[contract.KEY_VERIFICATION]) == report.check
    assert len(report.check.shapes) == 2
    assert max(shape[0] for shape in report.check.shapes) > 1
    assert any(height != width for _, height, width in report.check.shapes)


def test_equal_checkpoints_give_equal_graphs(tmp_path: Path) -> None:
    checkpoint = write_random_checkpoint(TINY, tmp_path)
    first = export_backbone(TINY, checkpoint, tmp_path / "a")
    again = export_backbone(TINY, checkpoint, tmp_path / "b")
    assert first.graph_path.read_bytes() == again.graph_path.read_bytes()


def test_progress_ends_at_its_totals(tmp_path: Path) -> None:
    last: dict[str, tuple[int, int]] = {}
    checkpoint = write_random_checkpoint(TINY, tmp_path)

    def progress(stage: str, done: int, total: int) -> None:
        last[stage] = (done, total)

    export_backbone(TINY, checkpoint, tmp_path, progress=progress)
    assert list(last) == ["hash", "load", "write", "verify"]
    assert all(done == total for done, total in last.values())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_large_weights_go_to_a_data_file(tmp_path: Path) -> None:
    checkpoint, graphs = write_random_checkpoint(TINY, tmp_path / "weights"), tmp_path / "한글 graphs"
    whole = export_backbone(TINY, checkpoint, graphs / "whole")
    parted = export_backbone(TINY, checkpoint, graphs / "parted", single_file_limit_bytes=1000)
    data_name, graph_file = names(graphs / "parted")
    assert graph_file == "vits16-fp32.onnx"
    metadata = open_session(parted.graph_path).get_modelmeta().custom_metadata_map
    sha256 = metadata[contract.KEY_EXTERNAL_SHA256]
    assert hashlib.sha256((graphs / "parted" / data_name).read_bytes()).hexdigest() == sha256
    assert data_name == f"vits16-fp32-{sha256[:8]}.data"
    assert parted.graph_path.stat().st_size < 300_000
    pixels = images(1, 3, 5, 16)
    for one, other in zip(run(whole.graph_path, pixels), run(parted.graph_path, pixels), strict=True):
        np.testing.assert_array_equal(one, other)


def test_replacing_a_graph_removes_the_data_file_it_had(tmp_path: Path) -> None:
    first, second = (write_random_checkpoint(TINY, tmp_path / "weights", seed) for seed in (1, 2))
    graphs = tmp_path / "graphs"
    export_backbone(TINY, first, graphs, single_file_limit_bytes=1000)
    before = names(graphs)
    (graphs / "vits16-fp32-notes.data").write_text("not ours")
    export_backbone(TINY, second, graphs, single_file_limit_bytes=1000)
    after = [name for name in names(graphs) if name != "vits16-fp32-notes.data"]
    assert len(before) == len(after) == 2
    assert before != after
    export_backbone(TINY, second, graphs)
    assert names(graphs) == ["vits16-fp32-notes.data", "vits16-fp32.onnx"]


def test_a_graph_that_differs_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect of the export itself: one weight is written with an error."""
    original = export_module.build_graph

    def broken(backbone: Backbone, state: dict[str, torch.Tensor], *rest: object) -> object:
        return original(backbone, state | {"blocks.0.mlp.fc1.bias": state["blocks.0.mlp.fc1.bias"] + 0.05}, *rest)

    checkpoint, graphs = write_random_checkpoint(TINY, tmp_path / "weights"), tmp_path / "graphs"
    kept = export_backbone(TINY, checkpoint, graphs).graph_path.read_bytes()
    monkeypatch.setattr(export_module, "build_graph", broken)
    with pytest.raises(VerificationError, match=r"vits16-fp32\.onnx differs from its source model and was not kept"):
        export_backbone(TINY, checkpoint, graphs)
    assert names(graphs) == ["vits16-fp32.onnx"]
    assert (graphs / "vits16-fp32.onnx").read_bytes() == kept, "the earlier graph stays"


def test_a_killed_export_leaves_nothing_under_the_final_name(tmp_path: Path) -> None:
    checkpoint, graphs = write_random_checkpoint(TINY, tmp_path / "weights"), tmp_path / "graphs"
    script = f"""
import os
from pathlib import Path
from exporters.export import export_backbone
from models.catalogue import BACKBONES
from models.random_checkpoint import shortened
def progress(stage, done, total):
    if stage == "write" and done > total // 2:
        os._exit(9)
export_backbone(shortened(BACKBONES["vits16"], 1), Path({str(checkpoint)!r}), Path({str(graphs)!r}), progress=progress)
"""
    root = Path(export_module.__file__).parents[1]
    assert subprocess.run([sys.executable, "-c", script], cwd=root, check=False).returncode == 9
    (leftover,) = names(graphs)
    assert leftover.endswith(".partial")
    export_backbone(TINY, checkpoint, graphs)
    assert names(graphs) == ["vits16-fp32.onnx"]


def test_a_full_disk_is_said_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    checkpoint, stages = write_random_checkpoint(TINY, tmp_path / "weights"), list[str]()
    with pytest.raises(WorkError, match=r"1 MB free and vits16-fp32\.onnx needs 8 MB"):
        export_backbone(TINY, checkpoint, tmp_path / "graphs", progress=lambda stage, done, total: stages.append(stage))
    assert stages == []
    assert not (tmp_path / "graphs").exists()


def test_want_of_memory_is_said_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint, stages = write_random_checkpoint(TINY, tmp_path / "weights"), list[str]()
    monkeypatch.setattr(room, "available_memory", lambda: 300_000_000)
    with pytest.raises(WorkError, match=r"0\.3 GB of memory are free, and verifying vits16-fp32\.onnx needs 0\.5 GB"):
        export_backbone(TINY, checkpoint, tmp_path / "graphs", progress=lambda stage, done, total: stages.append(stage))
    assert stages == []
    assert not (tmp_path / "graphs").exists()
    monkeypatch.setattr(room, "available_memory", lambda: None)
    export_backbone(TINY, checkpoint, tmp_path / "graphs")


def test_a_disk_that_fills_up_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> WrittenGraph:
        raise OSError(28, "No space left on device")

    checkpoint = write_random_checkpoint(TINY, tmp_path / "weights")
    monkeypatch.setattr(export_module, "write_graph", full)
    with pytest.raises(WorkError, match=r"vits16-fp32\.onnx could not be written: No space left on device"):
        export_backbone(TINY, checkpoint, tmp_path / "graphs")
    assert names(tmp_path / "graphs") == []


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    checkpoint = write_random_checkpoint(TINY, tmp_path / "weights")
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(WorkError, match=r"file cannot be written to.*set GRAPH_ROOT"):
        export_backbone(TINY, checkpoint, tmp_path / "file")


def test_an_unknown_precision_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no precision is called 'fp8'; known: fp32"):
        export_backbone(TINY, tmp_path, tmp_path, precision="fp8")


def test_a_missing_checkpoint_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match=r"gone\.pth cannot be read"):
        export_backbone(TINY, tmp_path / "gone.pth", tmp_path)


def test_graph_names() -> None:
    assert graph_name("vits16+") == "vits16+-fp32.onnx"


def test_a_check_reads_other_images(tmp_path: Path) -> None:
    checkpoint = write_random_checkpoint(TINY, tmp_path)
    report = export_backbone(TINY, checkpoint, tmp_path)
    model = build_with_weights(TINY, torch.load(checkpoint, weights_only=True))
    check = check_graph(report.graph_path, model, TINY, CheckImages(((images(2, 2, 3, 16),),)))
    assert check.shapes == ((2, 32, 48),)
    assert check.largest_difference < 1e-4
