"""The model card's figures come from the log and the checkpoint, and from nowhere else."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.training import card
from models.training.views import HELD_OUT_VIEWS

LOG = [
    {"step": 50, "loss": 6.0, "rate": 0.001, "seconds_a_step": 2.0},
    {"step": 100, "loss": 4.0, "rate": 0.001, "held_out": 0.4, "seconds_a_step": 1.0},
    {"step": 150, "loss": 9.9, "rate": 0.001, "seconds_a_step": 9.0},
    {"step": 150, "loss": 3.0, "rate": 0.0005, "seconds_a_step": 3.0},
    {"step": 200, "loss": 2.5, "rate": 0.0, "held_out": 0.7123, "seconds_a_step": 1.0},
]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in LOG), "utf-8")
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "weights.pth"
    weights = {
        "blocks.0.weight": torch.zeros(30, 41),
        "rope_embed.periods": torch.zeros(16),
        "blocks.0.attn.qkv.bias_mask": torch.zeros(7),
    }
    torch.save(weights, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return path.rename(tmp_path / f"dinov3_vitt16_pretrain_rsscn7-{digest[:8]}.pth")


def run(tmp_path: Path, log: Path, checkpoint: Path) -> int:
    files = ["--card", str(tmp_path / "CARD.md"), "--picture", str(tmp_path / "images" / "training.png")]
    return card.main(["--log", str(log), "--checkpoint", str(checkpoint), *files])


def test_the_figures_are_those_of_log_and_checkpoint(tmp_path: Path, log: Path, checkpoint: Path) -> None:
    text = f"# Card\n\nBefore.\n\n{card.BEGIN}\nold 99.9 %\n{card.END}\n\nAfter.\n"
    (tmp_path / "CARD.md").write_text(text, "utf-8")
    assert run(tmp_path, log, checkpoint) == 0
    written = (tmp_path / "CARD.md").read_text("utf-8")
    assert "| parameters | 1,230 |" in written
    assert "| optimiser steps | 200 |" in written
    # 50 steps at 2 s, 50 at 1 s, 50 at 3 s (the later of the two rows), 50 at 1 s: 350 s.
    assert "| time of training | 0.1 hours |" in written
    assert "| loss at the end | 2.500 |" in written
    assert "| 71.2 % |" in written
    assert hashlib.sha256(checkpoint.read_bytes()).hexdigest() in written
    assert "(images/training.png)" in written
    assert "99.9" not in written
    assert written.startswith("# Card\n\nBefore.\n\n")
    assert written.endswith(f"{card.END}\n\nAfter.\n")
    assert run(tmp_path, log, checkpoint) == 0
    assert (tmp_path / "CARD.md").read_text("utf-8") == written


def test_with_tiles_the_held_out_share_is_that_of_the_checkpoint(
    tmp_path: Path, log: Path, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    def measured(*given: object) -> tuple[float]:
        asked.append(given)
        return (0.8312,)

    monkeypatch.setattr(card, "measure", measured)
    (tmp_path / "CARD.md").write_text(f"{card.BEGIN}{card.END}", "utf-8")
    files = ["--card", str(tmp_path / "CARD.md"), "--picture", str(tmp_path / "training.png")]
    assert card.main(["--log", str(log), "--checkpoint", str(checkpoint), "--tiles", str(tmp_path), *files]) == 0
    assert asked == [(checkpoint, tmp_path, HELD_OUT_VIEWS)]
    written = (tmp_path / "CARD.md").read_text("utf-8")
    assert "| 83.1 % |" in written
    assert "71.2 %" not in written


def test_the_curves_run_where_the_log_says(log: Path) -> None:
    picture = card.curves(card.read_log(log))
    panels = np.split(picture, 2)
    for panel, colour in zip(panels, card._LINE, strict=True):
        drawn = np.argwhere((panel == colour).all(axis=2))
        assert len(drawn) > 200
    ends = [np.argwhere((panel == colour).all(axis=2)) for panel, colour in zip(panels, card._LINE, strict=True)]
    loss_at_the_end, share_at_the_end = (float(rows[rows[:, 1] > 1200, 0].mean()) for rows in ends)
    bottom, top = 310.0, 60.0
    assert loss_at_the_end == pytest.approx(bottom - 2.5 / 7.5 * (bottom - top), abs=4)
    assert share_at_the_end == pytest.approx(bottom - 0.7123 * (bottom - top), abs=4)


def test_the_picture_is_written_beside_the_card(tmp_path: Path, log: Path, checkpoint: Path) -> None:
    (tmp_path / "CARD.md").write_text(f"{card.BEGIN}{card.END}", "utf-8")
    assert run(tmp_path, log, checkpoint) == 0
    picture = cv2.imread(str(tmp_path / "images" / "training.png"))
    assert picture is not None
    assert np.array_equal(picture, card.curves(card.read_log(log)))


@pytest.mark.parametrize("line", ["not json", '{"step": 1}', "[]"])
def test_a_foreign_log_is_refused_by_line(
    tmp_path: Path, log: Path, checkpoint: Path, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    log.write_text(log.read_text("utf-8") + line + "\n", "utf-8")
    (tmp_path / "CARD.md").write_text(f"{card.BEGIN}{card.END}", "utf-8")
    assert run(tmp_path, log, checkpoint) == 1
    assert "log.jsonl, line 6" in capsys.readouterr().err
    assert (tmp_path / "CARD.md").read_text("utf-8") == f"{card.BEGIN}{card.END}"


def test_a_checkpoint_of_another_name_and_a_card_without_markers_are_refused(
    tmp_path: Path, log: Path, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "CARD.md").write_text("no markers", "utf-8")
    assert run(tmp_path, log, checkpoint) == 1
    assert "markers" in capsys.readouterr().err
    renamed = checkpoint.rename(checkpoint.with_name("dinov3_vitt16_pretrain_rsscn7-12345678.pth"))
    assert run(tmp_path, log, renamed) == 1
    assert "SHA-256" in capsys.readouterr().err


def test_the_card_of_the_package_can_be_filled(log: Path, checkpoint: Path) -> None:
    text = card.CARD.read_text("utf-8")
    table = card.figures(card.read_log(log), checkpoint)
    assert table in card.filled(text, table)
