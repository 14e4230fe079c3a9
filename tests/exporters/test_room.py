"""What disk and memory checks ask for, beside what exports were measured to take."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from exporters import room
from exporters.onnx_graph import build_graph
from exporters.precisions import PRECISIONS, Precision
from models.build import expected_shapes
from models.catalogue import BACKBONES
from models.errors import WorkError

FIGURES = Path(__file__).parents[2] / "benchmarks" / "export" / "figures.json"
MEASURED: list[dict[str, Any]] = json.loads(FIGURES.read_text(encoding="utf-8"))
AT_MOST = 4
"""Times the measured memory: a check that asks for more would refuse what can be done."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """Bytes that the last check asked for."""
    found: dict[str, int] = {}
    monkeypatch.setattr(room, "require_memory_for", lambda needed, what: found.update(memory=needed))
    monkeypatch.setattr(room, "require_free_disk", lambda final, needed: found.update(disk=needed))
    return found


@pytest.mark.parametrize("row", MEASURED, ids=lambda row: f"{row['alias']}-{row['precision']}")
def test_as_much_is_asked_for_as_was_measured(row: dict[str, Any], asked: dict[str, int]) -> None:
    room.require_room(Path("graph.onnx"), BACKBONES[row["alias"]], PRECISIONS[row["precision"]])
    assert row["RssAnon"] <= asked["memory"] <= AT_MOST * row["RssAnon"]
    assert asked["disk"] == pytest.approx(row["file_bytes"], rel=0.02, abs=2_000_000)


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=lambda precision: precision.name)
def test_verifying_the_largest_backbone_takes_the_memory_of_a_block(precision: Precision) -> None:
    """From shapes alone: exports stay below 4 GiB of anonymous memory; what the 27 GB file holds is mapped."""
    backbone = BACKBONES["vit7b16"]
    state = {key: torch.empty(shape, device="meta") for key, shape in expected_shapes(backbone).items()}
    builder = build_graph(backbone, state, precision)
    assert builder.weight_bytes > 6.7e9
    largest_block_bytes = 4 * 210e6
    assert 100e6 < room.verification_memory(builder, precision, backbone) <= 2 * largest_block_bytes


def test_room_for_a_traced_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "available_memory", lambda: 1_000_000_000)
    room.require_room_to_trace(tmp_path / "small.onnx", 1_000_000)
    with pytest.raises(
        WorkError, match=r"1\.0 GB of memory are free, and tracing and verifying large\.onnx needs 3\.5 GB"
    ):
        room.require_room_to_trace(tmp_path / "large.onnx", 1_000_000_000)
    with pytest.raises(WorkError, match=r"MB free and huge\.onnx needs"):
        room.require_room_to_trace(tmp_path / "not there yet" / "huge.onnx", 10**18)
