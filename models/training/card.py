"""Fills the figures of the model card: `python -m models.training.card --log log.jsonl --checkpoint FILE`.

Reads the log that training wrote and the finished checkpoint, writes a table between two markers of the card, and draws
the curves of training. With `--tiles DIR` the held-out share is that of the checkpoint itself, measured now.
"""

import argparse
import hashlib
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from models.catalogue import BUNDLED_ALIAS, backbone
from models.training.measure import measure
from models.training.views import HELD_OUT_VIEWS

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
CARD = Path(__file__).resolve().parents[1] / "bundled" / "MODEL_CARD.md"
PICTURE = Path(__file__).resolve().parents[2] / "docs" / "images" / "training.png"
NOT_TRAINED = ("rope_embed.periods", "bias_mask")
"""Endings of the names of tensors that are constants of the architecture."""

_WIDTH, _PANEL_HEIGHT, _MARGIN = 1280, 360, 70
_INK, _GRID, _PAPER = (60, 50, 40), (225, 225, 225), (255, 255, 255)
_LINE = ((160, 110, 30), (60, 130, 40))


@dataclass(frozen=True)
class Row:
    """One line of the log: mean loss since the line before, and the held-out share where it was measured."""

    step: int
    loss: float
    held_out: float | None
    seconds_a_step: float


def read_log(path: Path) -> list[Row]:
    """Rows by step; of a step that a resumed run passed twice, the later one.

    Raises:
        ValueError: a line is not one of training's; the message names it.
    """
    rows: dict[int, Row] = {}
    for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1):
        try:
            entry = json.loads(line)
            row = Row(int(entry["step"]), float(entry["loss"]), entry.get("held_out"), float(entry["seconds_a_step"]))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: not a line of a training log ({error!r})") from error
        rows[row.step] = row
    if not any(row.held_out is not None for row in rows.values()):
        raise ValueError(f"{path} holds no figure of held-out tiles; training has not come far enough")
    return [rows[step] for step in sorted(rows)]


def figures(rows: Sequence[Row], checkpoint: Path, held_out: float | None = None) -> str:
    """The table of the card, in Markdown.

    Args:
        held_out: share of held-out patches that this checkpoint matches, where it was measured; else the log's last.

    Raises:
        ValueError: the checkpoint's name does not carry its own hash.
    """
    content = checkpoint.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if checkpoint.name != f"{backbone(BUNDLED_ALIAS).checkpoint_stem}-{digest[:8]}.pth":
        raise ValueError(f"{checkpoint} is not named by its own SHA-256 ({digest[:8]}…): take the file training wrote")
    weights: dict[str, Any] = torch.load(checkpoint, weights_only=True)
    parameters = sum(value.numel() for name, value in weights.items() if not name.endswith(NOT_TRAINED))
    share = held_out if held_out is not None else [row.held_out for row in rows if row.held_out is not None][-1]
    steps = np.diff([0, *(row.step for row in rows)])
    hours = float(np.sum(steps * [row.seconds_a_step for row in rows])) / 3600
    table = (
        ("checkpoint", f"`{checkpoint.name}`, {len(content) / 1e6:.1f} MB"),
        ("SHA-256", f"`{digest}`"),
        ("parameters", f"{parameters:,}"),
        ("optimiser steps", f"{rows[-1].step:,}"),
        ("time of training", f"{hours:.1f} hours"),
        ("loss at the end", f"{rows[-1].loss:.3f}"),
        ("held-out patches matched within 1.5 patches", f"{100 * share:.1f} %"),
    )
    return "\n".join(["| | |", "| --- | --- |", *(f"| {name} | {value} |" for name, value in table)])


def filled(card: str, table: str) -> str:
    """The card with this table between its markers.

    Raises:
        ValueError: the markers are missing.
    """
    before, begin, rest = card.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the card lacks the markers {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def curves(rows: Sequence[Row]) -> NDArray[np.uint8]:
    """Loss and held-out share over the steps, one panel below the other: BGR [H, W, 3] uint8."""
    losses = [(row.step, row.loss) for row in rows]
    shares = [(row.step, 100 * row.held_out) for row in rows if row.held_out is not None]
    top = math.ceil(max(loss for _, loss in losses) / 2.5) * 2.5
    panels = [
        _panel("training loss", losses, rows[-1].step, (0.0, top), _LINE[0]),
        _panel("held-out patches matched within 1.5 patches, %", shares, rows[-1].step, (0.0, 100.0), _LINE[1]),
    ]
    return np.concatenate(panels)


def _panel(
    title: str,
    points: Sequence[tuple[int, float]],
    last_step: int,
    bounds: tuple[float, float],
    colour: tuple[int, int, int],
) -> NDArray[np.uint8]:
    panel = np.full((_PANEL_HEIGHT, _WIDTH, 3), _PAPER, np.uint8)
    low, high = bounds

    def place(step: float, value: float) -> tuple[int, int]:
        x = _MARGIN + (step / max(1, last_step)) * (_WIDTH - 2 * _MARGIN)
        y = _PANEL_HEIGHT - 50 - (value - low) / max(1e-9, high - low) * (_PANEL_HEIGHT - 110)
        return round(x), round(y)

    for share in np.linspace(0, 1, 6):
        value, step = low + share * (high - low), share * last_step
        cv2.line(panel, place(0, value), place(last_step, value), _GRID, 1)
        _write(panel, f"{value:g}", (10, place(0, value)[1] + 6))
        _write(panel, f"{step:.0f}", (place(step, low)[0] - 18, _PANEL_HEIGHT - 22))
    line = np.array([place(*point) for point in points], np.int32)
    cv2.polylines(panel, [line], False, colour, 3, cv2.LINE_AA)
    for x, y in line[-1:]:
        cv2.circle(panel, (int(x), int(y)), 6, colour, -1, cv2.LINE_AA)
    _write(panel, f"{title}: {points[-1][1]:.1f} at the end", (_MARGIN, 34), 0.8)
    return panel


def _write(panel: NDArray[np.uint8], text: str, at: tuple[int, int], size: float = 0.55) -> None:
    cv2.putText(panel, text, at, cv2.FONT_HERSHEY_SIMPLEX, size, _INK, 1, cv2.LINE_AA)


def write_aside(path: Path, content: bytes) -> None:
    """Writes a file so that it is complete or absent under its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.partial")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; exit code 1 and a line on standard error where a file is not as it must be."""
    parser = argparse.ArgumentParser("python -m models.training.card", description=__doc__)
    parser.add_argument("--log", type=Path, required=True, help="log.jsonl of training")
    parser.add_argument("--checkpoint", type=Path, required=True, help="the .pth file that training wrote")
    parser.add_argument("--tiles", type=Path, help="the tiles, to measure the checkpoint itself and not its last step")
    parser.add_argument("--card", type=Path, default=CARD, help="the card to fill (default: %(default)s)")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="PNG of the curves (default: %(default)s)")
    options = parser.parse_args(arguments)
    try:
        rows = read_log(options.log)
        where = Path(os.path.relpath(options.picture, options.card.parent)).as_posix()
        shown = f"![Loss, and share of held-out patches matched, over the steps of training]({where})"
        held_out = measure(options.checkpoint, options.tiles, HELD_OUT_VIEWS)[0] if options.tiles else None
        table = figures(rows, options.checkpoint, held_out)
        card = filled(options.card.read_text("utf-8"), f"{table}\n\n{shown}")
        _, picture = cv2.imencode(".png", curves(rows))
        write_aside(options.picture, picture.tobytes())
        write_aside(options.card, card.encode())
    except (ValueError, OSError, RuntimeError) as error:
        print(f"models.training.card: {error}", file=sys.stderr)
        return 1
    print(f"filled {options.card} and drew {options.picture}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
