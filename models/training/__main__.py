"""Trains the bundled backbone: `python -m models.training --tiles DIR --out DIR [--steps N]`.

Seeded and resumable: the state is saved every `--save-every` steps and at Ctrl-C, and the same command goes on from
it with the same draws as an undisturbed run. `--out` receives `state.pt`, `log.jsonl` and, in the official format and
named by its own hash, the checkpoint.
"""

import argparse
import hashlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from models.catalogue import BUNDLED_ALIAS, backbone
from models.training.learner import learning_rate, loss_of, make_batch, matched_share
from models.training.tiles import read_tiles, split_tiles
from models.training.views import HELD_OUT_VIEWS, SHIFTED_VIEWS, TRAINING_VIEWS
from models.vit import DinoVisionTransformer, LayerScale

EMA_DECAY = 0.998


def parse(argv: list[str]) -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser("python -m models.training", description=__doc__)
    parser.add_argument("--tiles", type=Path, required=True, help="folder of aerial tiles, 256 px or more")
    parser.add_argument("--out", type=Path, required=True, help="folder of the state, the log and the checkpoint")
    parser.add_argument("--start", type=Path, help="checkpoint to begin with in place of a random start")
    parser.add_argument("--steps", type=int, default=5000, help="optimiser steps (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=16, help="pairs of views a step (default: %(default)s)")
    parser.add_argument("--size", type=int, default=192, help="side of a view in pixels (default: %(default)s)")
    parser.add_argument("--peak-rate", type=float, default=1e-3, help="learning rate (default: %(default)s)")
    parser.add_argument(
        "--decay-share", type=float, default=0.35, help="share of the steps with a falling rate (default: %(default)s)"
    )
    parser.add_argument("--save-every", type=int, default=250, help="steps between saved states (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of all draws (default: %(default)s)")
    parser.add_argument("--fp32", action="store_true", help="train in float32 instead of bfloat16 matrix products")
    return parser.parse_args(argv)


def new_model(seed: int) -> DinoVisionTransformer:
    """The bundled architecture with a random start that trains in a few thousand steps."""
    arch = backbone(BUNDLED_ALIAS).arch
    torch.manual_seed(seed)
    model = DinoVisionTransformer(arch)  # type: ignore[arg-type]
    for name, parameter in model.named_parameters():
        if parameter.ndim > 1:
            nn.init.trunc_normal_(parameter, std=0.02)
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
    for module in model.modules():
        if isinstance(module, LayerScale):
            nn.init.ones_(module.gamma)
    return model


def optimiser_of(model: nn.Module, rate: float) -> torch.optim.AdamW:
    """AdamW; weight decay on matrices only."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    free = [parameter for parameter in model.parameters() if parameter.ndim != 2]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": free, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.98))


def write_atomically(path: Path, value: Any) -> None:
    """Saves aside, then renames, so that a killed run never leaves half a file."""
    aside = path.with_name(path.name + ".partial")
    torch.save(value, aside)
    os.replace(aside, path)


def write_checkpoint(weights: dict[str, torch.Tensor], out: Path) -> Path:
    """Writes the official format, named by the first 8 hex digits of the file's SHA-256, and removes older ones."""
    stem = backbone(BUNDLED_ALIAS).checkpoint_stem
    aside = out / f"{stem}.partial"
    torch.save(dict(weights), aside)
    digest = hashlib.sha256(aside.read_bytes()).hexdigest()
    path = out / f"{stem}-{digest[:8]}.pth"
    for older in out.glob(f"{stem}-*.pth"):
        older.unlink()
    os.replace(aside, path)
    return path


def train(options: argparse.Namespace) -> None:
    """Trains from the saved state, or from the start, to the last step; then writes the checkpoint."""
    options.out.mkdir(parents=True, exist_ok=True)
    train_paths, held_out_paths = split_tiles(options.tiles)
    tiles, held_out = read_tiles(train_paths), read_tiles(held_out_paths)
    print(f"{len(tiles)} tiles to learn from, {len(held_out)} held out", flush=True)
    model, average = new_model(options.seed), new_model(options.seed)
    if options.start is not None:
        start = torch.load(options.start, map_location="cpu", weights_only=True)
        model.load_state_dict(start)
        average.load_state_dict(start)
    optimiser = optimiser_of(model, options.peak_rate)
    state_path, first = options.out / "state.pt", 0
    if state_path.exists():
        state = torch.load(state_path, weights_only=True)
        model.load_state_dict(state["model"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["step"]
        print(f"going on from step {first}", flush=True)

    def draw(step: int) -> Any:
        rng = np.random.default_rng([options.seed, step])
        return make_batch(tiles, options.pairs, options.size, 16, TRAINING_VIEWS, rng)

    def save(step: int) -> None:
        state = {"model": model.state_dict(), "average": average.state_dict()}
        write_atomically(state_path, {**state, "optimiser": optimiser.state_dict(), "step": step})

    step, since, losses = first, time.monotonic(), []
    with ThreadPoolExecutor(1) as drawer:
        upcoming = drawer.submit(draw, first)
        try:
            while step < options.steps:
                batch = upcoming.result()
                upcoming = drawer.submit(draw, step + 1)
                rate = learning_rate(step, options.steps, options.peak_rate, 300, options.decay_share)
                for group in optimiser.param_groups:
                    group["lr"] = rate
                with torch.autocast("cpu", dtype=torch.bfloat16, enabled=not options.fp32):
                    loss = loss_of(model, batch, np.random.default_rng([options.seed, step, 1]))
                optimiser.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimiser.step()
                step += 1
                momentum = min(EMA_DECAY, (step + 1) / (step + 10))
                with torch.no_grad():
                    for kept, current in zip(average.parameters(), model.parameters(), strict=True):
                        kept.lerp_(current, 1 - momentum)
                losses.append(loss.item())
                if step % 50 == 0 or step == options.steps:
                    row: dict[str, Any] = {"step": step, "loss": round(float(np.mean(losses)), 4), "rate": rate}
                    if step % 500 == 0 or step == options.steps:
                        row["held_out"] = round(matched_share(average, held_out, options.size, HELD_OUT_VIEWS), 4)
                        row["shifted"] = round(matched_share(average, held_out, options.size, SHIFTED_VIEWS), 4)
                    row["seconds_a_step"] = round((time.monotonic() - since) / len(losses), 3)
                    since, losses = time.monotonic(), []
                    with (options.out / "log.jsonl").open("a") as log:
                        log.write(json.dumps(row) + "\n")
                    print(json.dumps(row), flush=True)
                if step % options.save_every == 0:
                    save(step)
        finally:
            save(step)
    weights = {name: value.detach().clone() for name, value in average.state_dict().items()}
    print(f"wrote {write_checkpoint(weights, options.out)}")


if __name__ == "__main__":
    try:
        train(parse(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on from the last step")
    except OSError as error:
        sys.exit(str(error))
