"""Graphs in TorchScript form: export, runtime, commands."""

import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Ran

from engine.errors import UsageError, WorkError
from engine.graph_opening import open_with
from engine.plugin_registry import load_registry
from engine.runtime import open_graph
from exporters import torchscript
from exporters.export import export_backbone
from exporters.sources.builtin import load_builtin
from exporters.torchscript import export_torchscript
from models import contract
from models.catalogue import Backbone, backbone
from models.random_checkpoint import shortened, write_random_checkpoint
from plugins import BUILTINS
from plugins.runtime_torchscript import read_torchscript_metadata

RECORD = load_registry(BUILTINS, entry_points=False).runtime("torchscript")


@pytest.fixture(scope="module", params=["vits16", "vits16+", "cxTiny"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The TorchScript file and the ONNX file of one random checkpoint, of each family."""
    folder, entry = tmp_path_factory.mktemp(request.param), shortened(backbone(request.param), 1)
    checkpoint = write_random_checkpoint(entry, folder)
    source = load_builtin(entry, checkpoint, unofficial=True)
    return (
        export_torchscript(source, folder).graph_path,
        export_backbone(entry, checkpoint, folder, unofficial=True).graph_path,
    )


def small(tmp_path: Path) -> tuple[Backbone, Path]:
    entry = shortened(backbone("vits16"), 1)
    return entry, write_random_checkpoint(entry, tmp_path / "weights")


@pytest.mark.parametrize("size", [(1, 96, 160), (3, 64, 64), (1, 32, 224)])
def test_both_formats_give_the_same(pair: tuple[Path, Path], size: tuple[int, int, int]) -> None:
    images = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found, wanted = open_with(RECORD, pair[0], "cpu"), open_graph(pair[1], "cpu")
    for a, b in zip(found(images), wanted(images), strict=True):
        assert a.shape == b.shape
        assert np.abs(a - b).max() <= 1e-3


def test_both_formats_say_the_same_of_themselves(pair: tuple[Path, Path]) -> None:
    script, onnx = open_with(RECORD, pair[0], "cpu"), open_graph(pair[1], "cpu")
    assert script.provider == "TorchScript cpu"
    differing = {contract.KEY_VERIFICATION, contract.KEY_VERSIONS}
    assert set(script.graph.metadata) == set(onnx.graph.metadata)
    for key in set(script.graph.metadata) - differing:
        assert script.graph.metadata[key] == onnx.graph.metadata[key], key
    assert script.graph.verification is not None
    assert script.graph.verification.provider == "TorchScript cpu"
    assert script.graph.verification.largest_difference <= 1e-3


def test_a_file_that_differs_from_its_source_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wrong(torchscript.ImageModel):
        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            tokens, descriptor = super().forward(image)
            return tokens + 0.01, descriptor

    monkeypatch.setattr(torchscript, "ImageModel", Wrong)
    entry, checkpoint = small(tmp_path)
    with pytest.raises(WorkError, match=r"largest difference 0.01"):
        export_torchscript(load_builtin(entry, checkpoint, unofficial=True), tmp_path / "graphs")
    assert list((tmp_path / "graphs").iterdir()) == []


def test_other_precisions_and_too_little_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entry, checkpoint = small(tmp_path)
    source = load_builtin(entry, checkpoint, unofficial=True)
    with pytest.raises(UsageError, match="fp32 only, not bf16"):
        export_torchscript(source, tmp_path, "bf16")
    with pytest.raises(UsageError, match="is no module that can be traced"):
        export_torchscript(replace(source, state=None, model=lambda image: (image, image)), tmp_path)
    monkeypatch.setattr(torchscript, "available_memory", lambda: 1000)
    with pytest.raises(WorkError, match="GB of memory are free"):
        export_torchscript(source, tmp_path)
    monkeypatch.undo()
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(WorkError, match=r"1 MB free and vits16-fp32\.torchscript needs"):
        export_torchscript(source, tmp_path / "graphs")
    assert list((tmp_path / "graphs").iterdir()) == []


def test_without_pytorch_the_error_says_what_to_install(
    pair: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(WorkError, match=r"needs PyTorch .*install the extra 'export'"):
        open_with(RECORD, pair[0])


def test_damaged_and_foreign_files(pair: tuple[Path, Path], tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.torchscript"
    damaged.write_bytes(pair[0].read_bytes()[:5000])
    with pytest.raises(WorkError, match="may be damaged; export it again"):
        open_with(RECORD, damaged)
    foreign = tmp_path / "foreign.torchscript"
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    with pytest.raises(WorkError, match="not a graph exported by this program"):
        open_with(RECORD, foreign)
    with zipfile.ZipFile(foreign, "w") as archive:
        archive.writestr("archive/extra/dinov3_match.json", json.dumps(read_torchscript_metadata(pair[0])))
    with pytest.raises(WorkError, match=r"cannot be loaded .*export it again"):
        open_with(RECORD, foreign)
    with pytest.raises(UsageError, match="knows auto, cpu and cuda"):
        open_with(RECORD, pair[0], "directml")


def test_export_embed_and_verify_take_the_format(
    command: Callable[..., Ran], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPH_ROOT", str(tmp_path / "graphs"))
    refused = command("export", "-w", "vitt16", "--format", "torchscript", "--precision", "int8")
    assert (refused.code, "knows --precision fp32 only" in refused.err) == (2, True)
    made = command("export", "-w", "vitt16", "--format", "torchscript")
    assert made.code == 0, made.err
    assert "vitt16-fp32.torchscript" in made.out
    verified = command("verify", "-w", "vitt16", "--runtime", "torchscript")
    assert (verified.code, "on TorchScript cpu" in verified.out, "passes" in verified.out) == (0, True, True)
    assert "the figures were stored in the graph" in verified.out
    graph = tmp_path / "graphs" / "vitt16-fp32.torchscript"
    assert json.loads(read_torchscript_metadata(graph)[contract.KEY_VERIFICATION])["photographs"] > 0
    again = command("verify", "-w", "vitt16", "--runtime", "torchscript")
    assert (again.code, "holds these figures already" in again.out) == (0, True)
    arguments = ("embed", "--exts", "png", "-w", "vitt16")
    by_suffix = command(*arguments, "--provider", "cpu")
    assert by_suffix.code == 0, by_suffix.err
    assert "vitt16-fp32.torchscript on TorchScript cpu" in by_suffix.out
    other = command(*arguments, "--runtime", "onnxruntime", "--provider", "cpu")
    assert "vitt16-fp32.onnx on CPUExecutionProvider" in other.out
    assert "4 encoded, 0 reused" in other.out
