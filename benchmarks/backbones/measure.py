"""One backbone's figures: every way in turns, so that other work on the machine hits all alike."""

import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.backbones.ways import EAGER, Say, Way, torch_threads, ways
from benchmarks.matching.ways import bare, ours, synthetic_maps
from engine.imaging import encoded_size
from engine.runtime import usable_cores
from models.catalogue import Backbone
from plugins.products import product_fp32

SIDE_PX = 336
LEAST_TURNS = 3
MAPS = 24
BAR = 2.5
"""Least ratio to PyTorch eager of the best runtime or precision on the CPU, for vits16."""
CLOSE = 0.99
"""Least mean cosine of tokens to the float32 network, to count for the bar."""


@dataclass(frozen=True)
class Figure:
    """One way to encode.

    Attributes:
        images_s: median over the turns.
        spread: half of the range from 10 to 90 % of the turns, as a share of the median time.
        ratio: median over the turns of PyTorch eager's time over this one's in the same turn.
        mean_cosine: of tokens to those of PyTorch eager; None with other weights.
    """

    way: str
    is_ours: bool
    images_s: float
    spread: float
    ratio: float
    mean_cosine: float | None


@dataclass(frozen=True)
class Matching:
    """All pairs matched: pairs a second, and the time as a share of the bare products in ONNX Runtime."""

    tokens: int
    dim: int
    pairs_s: dict[str, float]
    ratio: dict[str, float]


@dataclass(frozen=True)
class Measured:
    """All figures of one backbone."""

    alias: str
    figures: list[Figure]
    matching: Matching

    @property
    def best_ratio(self) -> float:
        """Of this program's runtimes that are close to float32."""
        return max(
            figure.ratio
            for figure in self.figures
            if figure.is_ours and figure.mean_cosine is not None and figure.mean_cosine >= CLOSE
        )


def measure(backbone: Backbone, folder: Path, seconds: float, say: Say) -> Measured:
    """Measures a backbone with random weights.

    Args:
        folder: scratch folder for the checkpoint and graphs.
        seconds: what the turns may take; at least `LEAST_TURNS` are made.
        say: told of ways that do not run here.
    """
    threads = usable_cores()
    width, height = encoded_size((SIDE_PX, SIDE_PX), SIDE_PX, backbone.stride)
    image = np.random.default_rng(0).integers(0, 256, (1, height, width, 3), np.uint8)
    with torch_threads(threads):
        chosen = ways(backbone, folder, threads, say)
        tokens = {way.name: way.run(image) for way in chosen}
        spent: dict[str, list[float]] = {way.name: [] for way in chosen}
        began = time.perf_counter()
        while len(spent[EAGER]) < LEAST_TURNS or time.perf_counter() - began < seconds:
            for way in chosen:
                started = time.perf_counter()
                way.run(image)
                spent[way.name].append(time.perf_counter() - started)
    figures = [_figure(way, spent, tokens) for way in chosen]
    return Measured(backbone.alias, figures, _matching(height * width // backbone.stride**2, backbone.dim))


def _figure(way: Way, spent: dict[str, list[float]], tokens: dict[str, Any]) -> Figure:
    own = spent[way.name]
    fast, slow = np.quantile(own, (0.1, 0.9))
    ratio = statistics.median(eager / mine for eager, mine in zip(spent[EAGER], own, strict=True))
    cosine = None
    if way.same_weights:
        a, b = tokens[way.name], tokens[EAGER]
        cosine = float(((a * b).sum(-1) / (np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1))).mean())
    median = statistics.median(own)
    return Figure(way.name, way.is_ours, 1 / median, float(slow - fast) / (2 * median), ratio, cosine)


def _matching(tokens: int, dim: int) -> Matching:
    """This program's matcher beside the bare products, in turns."""
    maps = synthetic_maps(MAPS, tokens, dim)
    pairs = [(i, j) for i in range(MAPS) for j in range(i + 1, MAPS)]
    runs = {"bare": bare(maps, product_fp32, usable_cores()), "fp32": ours(maps, "fp32"), "int8": ours(maps, "int8")}
    spent: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(1 + LEAST_TURNS):
        for name, run in runs.items():
            started = time.perf_counter()
            run(pairs)
            spent[name].append(time.perf_counter() - started)
    warm = {name: np.array(times[1:]) for name, times in spent.items()}
    ours_only = [name for name in runs if name != "bare"]
    return Matching(
        tokens,
        dim,
        {name: len(pairs) / float(np.median(warm[name])) for name in ours_only},
        {name: float(np.median(warm[name] / warm["bare"])) for name in ours_only},
    )
