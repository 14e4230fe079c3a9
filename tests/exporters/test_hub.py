"""Clones of the original code: their network holds the weights of a checkpoint, and every bad clone is told."""

import re
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hub_stand_in import write_clone

from exporters.export import export_backbone, export_source
from exporters.graph_runs import open_session
from exporters.sources.builtin import load_builtin
from exporters.sources.hub import HubError, load_hub
from exporters.sources.network import NetworkBlockedError, network_blocked
from exporters.torchscript import export_torchscript
from models import contract
from models.catalogue import BACKBONES, Backbone
from models.errors import UsageError, WorkError
from models.random_checkpoint import random_state, shortened, write_checkpoint

TOLERANCE = 1e-4
VIT, CONVNEXT = shortened(BACKBONES["vits16"], 1), shortened(BACKBONES["cxTiny"], 1)
PIXELS = np.random.default_rng(0).integers(0, 256, (2, 96, 160, 3), dtype=np.uint8)


def run(graph: Path, pixels: np.ndarray = PIXELS) -> list[np.ndarray]:
    names = [contract.OUTPUT_PATCH_TOKENS, contract.OUTPUT_GLOBAL_DESCRIPTOR]
    return list(open_session(graph).run(names, {contract.INPUT_IMAGE: pixels}))


@pytest.mark.parametrize("backbone", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_torchscript_from_a_clone_is_compared_with_its_code(backbone: Backbone, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(backbone, random_state(backbone), tmp_path / "weights")
    made = export_torchscript(load_hub(backbone, write_clone(tmp_path / "clone"), checkpoint), tmp_path)
    assert made.graph_path.name == f"{backbone.alias}-hub-fp32.torchscript"
    with torch.inference_mode():
        found = torch.jit.load(str(made.graph_path))(torch.from_numpy(PIXELS))
    for a, b in zip(found, run(export_backbone(backbone, checkpoint, tmp_path).graph_path), strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=0, atol=TOLERANCE)
    other = write_clone(tmp_path / "other", offset=0.05)
    with pytest.raises(WorkError, match="differs from its source model and was not kept"):
        export_torchscript(load_hub(backbone, other, checkpoint), tmp_path / "graphs")
    assert list((tmp_path / "graphs").iterdir()) == []


def test_the_graph_is_compared_with_the_code_of_the_clone(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path / "weights")
    clone = write_clone(tmp_path / "clone", offset=0.05)
    with pytest.raises(WorkError, match="differs from its source model and was not kept"):
        export_source(load_hub(VIT, clone, checkpoint), tmp_path / "graphs")


@pytest.mark.parametrize(
    ("before", "told"),
    [
        ("import a_part_that_is_not_installed", r"No module named 'a_part_that_is_not_installed'"),
        ("raise RuntimeError('operator torchvision::nms does not exist')", "operator torchvision::nms"),
        ("raise AttributeError('partially initialized module')", "partially initialized module"),
        ("raise OSError('libtorch.so: cannot open shared object file')", "libtorch.so: cannot open"),
        ("del dinov3_vits16", "name 'dinov3_vits16' is not defined"),
    ],
)
def test_a_hubconf_that_needs_a_missing_or_broken_part_is_passed_by(before: str, told: str, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    source = load_hub(VIT, write_clone(tmp_path / "clone", before=before), checkpoint)
    assert re.search(rf"cannot be imported here \({told}.*dinov3\.hub\.backbones", source.notes[0])


def test_a_hubconf_without_its_dependencies_or_the_entry_is_passed_by(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    for name, content, told in (
        ("needs", 'from dinov3.hub.backbones import *\ndependencies = ["torch", "not_there"]', "not_there"),
        ("empty", "", "it has no dinov3_vits16"),
    ):
        clone = write_clone(tmp_path / name)
        (clone / "hubconf.py").write_text(content)
        assert told in load_hub(VIT, clone, checkpoint).notes[0]


@pytest.mark.parametrize("backbone", [VIT, CONVNEXT], ids=["vit", "convnext"])
def test_a_clone_holds_the_mapped_tensors_and_no_copies(backbone: Backbone, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(backbone, random_state(backbone), tmp_path)
    source = load_hub(backbone, write_clone(tmp_path / "clone"), checkpoint)
    held = source.model._model.state_dict()  # type: ignore[union-attr]
    assert source.state is not None
    assert all(held[key].data_ptr() == value.data_ptr() for key, value in source.state.items())


def test_a_clone_takes_16_bit_weights_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halves = {key: value.bfloat16() for key, value in random_state(VIT).items()}
    checkpoint, clone = write_checkpoint(VIT, halves, tmp_path), write_clone(tmp_path / "clone")
    found = load_hub(VIT, clone, checkpoint).model(torch.zeros(1, 3, 32, 32))[0]
    assert torch.equal(found, load_builtin(VIT, checkpoint).model(torch.zeros(1, 3, 32, 32))[0])
    monkeypatch.setattr("exporters.room.available_memory", lambda: 1_000_000)
    with pytest.raises(WorkError, match=r"widening the weights of vits16 for the code of .* needs 0\.0 GB"):
        load_hub(VIT, clone, checkpoint)


@pytest.mark.parametrize(
    "build",
    ["model.cls_token.tolist()", "model.register_buffer('table', model.cls_token + 1, persistent=False)"],
    ids=["values", "buffer"],
)
def test_a_clone_that_needs_memory_is_refused_where_there_is_none(
    build: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    clone = write_clone(tmp_path / "clone", build=build)
    tokens = load_hub(VIT, clone, checkpoint).model(torch.zeros(1, 3, 32, 32))
    plain = load_hub(VIT, write_clone(tmp_path / "plain"), checkpoint).model(torch.zeros(1, 3, 32, 32))
    assert all(torch.equal(a, b) for a, b in zip(tokens, plain, strict=True))
    monkeypatch.setattr("exporters.room.available_memory", lambda: 1_000_000)
    with pytest.raises(WorkError, match=r"0\.0 GB of memory are free, and building vits16 by the code of .* needs 0\."):
        load_hub(VIT, clone, checkpoint)


def test_code_of_a_clone_is_kept_off_the_network(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    reach = "import socket; socket.create_connection(('192.0.2.1', 9), timeout=0.2)"
    with pytest.raises(NetworkBlockedError, match="DINOV3_BLOCK_NET=0"):
        load_hub(VIT, write_clone(tmp_path / "loading", extra=reach), checkpoint)
    source = load_hub(VIT, write_clone(tmp_path / "running", hook=reach), checkpoint)
    with pytest.raises(NetworkBlockedError):
        source.model(torch.zeros(1, 3, 32, 32))
    with pytest.raises(HubError, match="gives no dinov3_vits16"):
        load_hub(VIT, write_clone(tmp_path / "open", extra=reach), checkpoint, block_network=False)


def test_the_guard_is_lifted_again() -> None:
    before = socket.socket.connect, socket.getaddrinfo
    with network_blocked("outer"):
        with network_blocked("inner"), pytest.raises(NetworkBlockedError, match="inner"):
            socket.getaddrinfo("example.org", 80)
        with socket.socket() as still, pytest.raises(NetworkBlockedError, match="outer"):
            still.connect(("127.0.0.1", 9))
    assert (socket.socket.connect, socket.getaddrinfo) == before


def test_bad_clones(tmp_path: Path) -> None:
    checkpoint = write_checkpoint(VIT, random_state(VIT), tmp_path)
    with pytest.raises(UsageError, match="set REPO_DIR"):
        load_hub(VIT, None, checkpoint)
    with pytest.raises(HubError, match="is no clone of facebookresearch/dinov3"):
        load_hub(VIT, tmp_path, checkpoint)
    with pytest.raises(UsageError, match="use --source builtin"):
        load_hub(BACKBONES["vitt16"], tmp_path, checkpoint)
    other = replace(VIT, hub_entry="dinov3_convnext_tiny")
    with pytest.raises(WorkError, match="builds another network than vits16"):
        load_hub(other, write_clone(tmp_path / "clone"), checkpoint)
