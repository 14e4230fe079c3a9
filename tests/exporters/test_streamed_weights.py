"""Weights made on request: one block of a network in memory, in every step of an export."""

from pathlib import Path

import numpy as np
import pytest
import torch
from counted_weights import CountedWeights, LiveBytes, block_and_rest_bytes
from large_files import remove_large_files  # noqa: F401
from torch import Tensor

from exporters.calibration import calibrate
from exporters.check_images import CheckImages
from exporters.checkpoints import Checkpoint, CheckpointStatus, Widened, load_state
from exporters.export import export_backbone, export_source
from exporters.sources.builtin import load_builtin
from exporters.sources.loaded import LoadedSource
from exporters.torchscript import export_torchscript
from models.build import build_with_weights
from models.catalogue import BACKBONES, Backbone
from models.contract import SOURCE_HF
from models.random_checkpoint import random_state, shortened, write_checkpoint

VIT, CONVNEXT = shortened(BACKBONES["vits16"], 6), shortened(BACKBONES["cxTiny"], 3)
NETWORKS = pytest.mark.parametrize("backbone", [VIT, CONVNEXT], ids=["vit", "convnext"])
PHOTOGRAPHS = CheckImages(((np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8),),), 2)


@NETWORKS
def test_a_network_holds_one_block_at_a_time(backbone: Backbone) -> None:
    state = random_state(backbone)
    counted = CountedWeights(state)
    model, block_and_rest = build_with_weights(backbone, counted), sum(block_and_rest_bytes(backbone))
    image = torch.randn((2, 3, 64, 96), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found, wanted = model(image), build_with_weights(backbone, state)(image)
    assert all(torch.equal(a, b) for a, b in zip(found, wanted, strict=True))
    assert counted.live.peak <= block_and_rest < sum(value.nbytes for value in state.values()) * 0.8
    with torch.inference_mode(), pytest.raises(RuntimeError):
        model(image[:, :1])
    assert counted.live.now <= block_and_rest_bytes(backbone)[1], "a failed run lets go of its weights too"


def test_keys_of_another_network_are_refused() -> None:
    with pytest.raises(RuntimeError, match="other keys"):
        build_with_weights(CONVNEXT, CountedWeights(random_state(VIT)))


@NETWORKS
def test_calibration_holds_one_block_at_a_time(backbone: Backbone) -> None:
    state = random_state(backbone)
    counted = CountedWeights(state)
    found = calibrate(build_with_weights(backbone, counted), backbone, PHOTOGRAPHS)
    assert found.ranges == calibrate(build_with_weights(backbone, state), backbone, PHOTOGRAPHS).ranges
    assert counted.live.peak <= sum(block_and_rest_bytes(backbone))


def test_an_export_part_by_part_holds_one_block_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a Hugging Face model too large for memory: converted, calibrated, written and verified."""
    counted = CountedWeights(random_state(VIT))
    monkeypatch.setattr("exporters.verify.PARTS_FROM_BYTES", 1)
    checkpoint = Checkpoint(tmp_path, "0" * 64, CheckpointStatus.UNLISTED)
    source = LoadedSource(VIT, checkpoint, counted, build_with_weights(VIT, counted), SOURCE_HF, "a/b")
    report = export_source(source, tmp_path, "int8", images=PHOTOGRAPHS, calibration_images=PHOTOGRAPHS)
    assert report.check.blocks is not None
    assert report.check.blocks.blocks == 6
    # The source model keeps what is in no block, and so does the one that is calibrated.
    block, rest = block_and_rest_bytes(VIT)
    assert counted.live.peak <= block + 2 * rest


def test_a_16_bit_checkpoint_is_widened_block_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    halves = {key: value.bfloat16() for key, value in random_state(VIT).items()}
    path = write_checkpoint(VIT, halves, tmp_path)
    state, live = load_state(VIT, path), LiveBytes()
    assert isinstance(state, Widened)
    original = Widened.__getitem__

    def tracked(self: Widened, key: str) -> Tensor:
        return live.track(original(self, key))

    monkeypatch.setattr(Widened, "__getitem__", tracked)
    report = export_backbone(VIT, path, tmp_path)
    assert report.largest_difference < 1e-4
    assert live.peak <= sum(block_and_rest_bytes(VIT))


def test_a_16_bit_checkpoint_is_traced_with_all_its_weights(tmp_path: Path) -> None:
    tiny = shortened(VIT, 1)
    halves = {key: value.bfloat16() for key, value in random_state(tiny).items()}
    source = load_builtin(tiny, write_checkpoint(tiny, halves, tmp_path))
    assert export_torchscript(source, tmp_path).largest_difference < 1e-4
