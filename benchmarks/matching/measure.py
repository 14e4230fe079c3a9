"""Every way in turns, as ratios to the fastest bare product of the run; and what int8 finds on real photographs."""

import importlib.util
import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.matching.ways import DIM, TOKENS, Way, synthetic_maps, ways
from engine import FeatureMap
from engine.block_matching import BlockMatcher
from engine.runtime import usable_cores
from plugins import mutual_knn
from plugins.mutual_knn import MutualKnnOptions
from plugins.products import FULL_RANGE, largest_int8

BARS = {"fp32": 1.3, "int8": 0.6}
"""Largest time as a share of that of the bare fp32 products."""
LEAST_SHARE = 0.99
"""Of the matches in fp32, what int8 must find."""


@dataclass(frozen=True, eq=False)
class Timing:
    """One way: microseconds a pair in every turn, its ratio to the reference, and matches a pair."""

    way: Way
    us: list[float]
    ratio: float
    matches: float


@dataclass(frozen=True, eq=False)
class Comparison:
    """All ways. `reference` is the fastest bare product."""

    pairs: int
    maps: int
    reference: str
    timings: dict[str, Timing]

    def ratio(self, precision: str) -> float:
        """Time of this program's matcher as a share of the reference's."""
        return self.timings[f"ours, {precision}"].ratio

    def table(self) -> str:
        """Markdown."""
        threads = os.environ.get("OMP_NUM_THREADS", "unset")
        lines = [
            f"{self.pairs} pairs of {self.maps} maps of {TOKENS} × {DIM} on {usable_cores()} cores, OMP_NUM_THREADS "
            f"{threads}; medians of {len(next(iter(self.timings.values())).us)} turns; ratios to the faster of the "
            "bare products.",
            "",
            "| way | µs a pair | spread | ratio | matches a pair | bar | met |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        bars = {f"ours, {precision}": bar for precision, bar in BARS.items()}
        for name, timing in self.timings.items():
            timed = "" if timing.way.share == 1 else f" (timed on {timing.way.share:.0%} of the pairs)"
            bar = bars.get(name)
            held = "|  |  |" if bar is None else f"| ≤ {bar} | {verdict(name, timing.ratio, bar)} |"
            lines.append(
                f"| {name}{timed} | {np.median(timing.us):.0f} | {min(timing.us):.0f} to {max(timing.us):.0f} "
                f"| {timing.ratio:.2f} | {timing.matches:.1f} {held}"
            )
        if importlib.util.find_spec("faiss") is None:
            lines += ["", "FAISS is not installed and was left out."]
        return "\n".join(lines)


def verdict(name: str, ratio: float, bar: float) -> str:
    """Whether a bar is met; that of int8 is one for processors that have 8-bit products."""
    if ratio <= bar:
        return "yes"
    return "no VNNI here" if name.endswith("int8") and not has_vnni() else "no"


def has_vnni() -> bool:
    """Whether the processor sums up 8-bit products without saturating, found by trying."""
    return largest_int8() == FULL_RANGE


def compare(quick: bool) -> Comparison:
    """Runs the comparison; `quick` for a tenth of the work."""
    count, turns = (20, 3) if quick else (60, 5)
    maps = synthetic_maps(count)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    chosen = {way.name: way for way in ways(maps)}
    us: dict[str, list[float]] = {name: [] for name in chosen}
    matches = {}
    for turn in range(turns + 1):
        for name, way in chosen.items():
            part = pairs[:: max(1, round(1 / way.share))]
            started = time.perf_counter()
            found = way.run(part)
            # The first turn warms up.
            if turn:
                us[name].append(1e6 * (time.perf_counter() - started) / len(part))
            matches[name] = found / len(part)
    reference = min((name for name, way in chosen.items() if way.is_product), key=lambda name: np.median(us[name]))
    timings = {
        name: Timing(way, us[name], float(np.median(np.array(us[name]) / us[reference])), matches[name])
        for name, way in chosen.items()
    }
    return Comparison(len(pairs), count, reference, timings)


@dataclass(frozen=True)
class Int8Share:
    """Matches of all pairs of real photographs: those in fp32, those of them that int8 finds, and others of int8."""

    pairs: int
    fp32: int
    common: int
    beside: int

    @property
    def share(self) -> float:
        return self.common / self.fp32

    def __str__(self) -> str:
        return (
            f"`--match-precision int8` on {self.pairs} real pairs with vitt16: {self.share:.2%} of {self.fp32:,} "
            f"matches in fp32 are found (bar {LEAST_SHARE:.0%}), and {self.beside:,} others."
        )


def int8_share(aerial: Path) -> Int8Share:
    """Matches all pairs of a data set's photographs at 336 px with the bundled backbone, both ways."""
    from engine.dataset import scan
    from engine.encoding import encode
    from engine.runtime import open_graph
    from models.bundled import bundled_graph

    runtime = open_graph(bundled_graph(), "cpu")
    maps = [encode(entry, runtime, 336).features for entry in scan(aerial).entries]
    fp32, int8 = (_found(maps, precision) for precision in BARS)
    return Int8Share(len(maps) * (len(maps) - 1) // 2, len(fp32), len(fp32 & int8), len(int8 - fp32))


def _found(maps: list[FeatureMap], precision: str) -> set[tuple[int, int, int, int]]:
    [record] = mutual_knn.engine_matchers()
    matcher = BlockMatcher(record, MutualKnnOptions(), precision, usable_cores())
    wanted = np.triu(np.ones((len(maps), len(maps)), bool), 1)
    return {
        (i, j, x, y)
        for i, j, matches in matcher(maps, maps, wanted)
        for x, y in zip(matches.index_a.tolist(), matches.index_b.tolist(), strict=True)
    }
