"""Training: how well the shipped checkpoint matches tiles it never saw, and that a stopped run goes on unchanged."""

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.bundled import bundled_checkpoint
from models.training import __main__ as training
from models.training.measure import measure
from models.training.tiles import HELD_OUT_EVERY
from models.training.views import HELD_OUT_VIEWS

ROOT = Path(__file__).resolve().parents[2]
HELD_OUT_SHARE = 0.75
"""What the card says of the shipped checkpoint under centred views; the bar for the first version was 0.70."""


@pytest.fixture
def tiles() -> Path:
    """The tiles that the bundled backbone was trained on and measured with; skips where they are not there."""
    folder = Path(os.environ.get("DINOV3_MATCH_TILES", ROOT.parent / "shared" / "data" / "tiles"))
    if not folder.is_dir():
        pytest.skip(f"no tiles to measure on: set DINOV3_MATCH_TILES to the folder of RSSCN7 tiles ({folder})")
    return folder


@pytest.mark.slow
def test_the_shipped_checkpoint_matches_tiles_never_trained_on(tiles: Path) -> None:
    (share,) = measure(bundled_checkpoint(), tiles, HELD_OUT_VIEWS)
    assert share >= HELD_OUT_SHARE


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Sums of floats then come out alike in every run."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
def test_a_stopped_run_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    (tmp_path / "tiles").mkdir()
    for number in range(HELD_OUT_EVERY):
        coarse = rng.integers(0, 256, (24, 24, 3), np.uint8)
        cv2.imwrite(str(tmp_path / "tiles" / f"{number:02d}.png"), cv2.resize(coarse, (256, 256)))

    def train(name: str) -> dict[str, torch.Tensor]:
        small = ["--steps", "6", "--pairs", "1", "--size", "64", "--fp32", "--seed", "3"]
        training.train(training.parse(["--tiles", str(tmp_path / "tiles"), "--out", str(tmp_path / name), *small]))
        [written] = (tmp_path / name).glob("*.pth")
        weights: dict[str, torch.Tensor] = torch.load(written, weights_only=True)
        return weights

    undisturbed = train("undisturbed")
    loss_of, steps = training.loss_of, []

    def stopping(*given: object) -> torch.Tensor:
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return loss_of(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(training, "loss_of", stopping)
    with pytest.raises(KeyboardInterrupt):
        train("stopped")
    assert torch.load(tmp_path / "stopped" / "state.pt", weights_only=True)["step"] == 1
    resumed = train("stopped")
    assert len(steps) == 2 + 5
    assert resumed.keys() == undisturbed.keys()
    for name, value in undisturbed.items():
        assert torch.equal(resumed[name], value), name
