"""The measurements. Each gives lines of a table: what, figure, reference in the same run, ratio, bar."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.throughput.commands import run_engine
from benchmarks.throughput.earlier import seconds_a_pair
from benchmarks.throughput.photographs import write_photographs
from engine.imaging import encoded_size, read_image, resize
from engine.runtime import open_graph
from models.bundled import bundled_graph


@dataclass(frozen=True)
class Line:
    """One figure. `ratio` is better the larger it is where `at_least`, the smaller otherwise."""

    what: str
    figure: str
    reference: str
    ratio: float
    bar: float
    at_least: bool = True

    @property
    def met(self) -> bool:
        return self.ratio >= self.bar if self.at_least else self.ratio <= self.bar

    def row(self) -> str:
        sign = "≥" if self.at_least else "≤"
        return (
            f"| {self.what} | {self.figure} | {self.reference} | {self.ratio:.2f} | {sign} {self.bar:g} | "
            f"{'yes' if self.met else 'no'} |"
        )


@dataclass(frozen=True)
class Bench:
    """Where and how much is measured.

    Attributes:
        folder: scratch folder.
        graph: an exported graph of vits16 with any weights; speed does not depend on them.
        sources: photographs to cut from.
        quick: a tenth of the work, to see that it runs.
        many: photographs whose pairs show what memory grows to.
    """

    folder: Path
    graph: Path
    sources: list[Path]
    quick: bool = False
    many: int = 2000

    def workplace(self, name: str, count: int, size: tuple[int, int], graph: Path | None = None) -> Path:
        """A folder with a data set of `count` photographs and the graph."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "graphs").mkdir(parents=True)
        graph = graph or self.graph
        shutil.copy(graph, folder / "graphs" / graph.name)
        write_photographs(folder / "images", count, size, self.sources)
        return folder


def embedding(bench: Bench) -> list[Line]:
    """`engine embed`, all of it, beside bare runs of the session on ready tensors."""
    count = 24 if bench.quick else 160
    folder = bench.workplace("embed", count, (1080, 810))
    cost = run_engine(folder, "embed", "-w", "vits16")
    runtime = open_graph(folder / "graphs" / bench.graph.name)
    ready = [_tensor(path, runtime.graph.stride) for path in sorted((folder / "images").rglob("*.jpg"))[:24]]
    runtime(ready[0])
    started = time.perf_counter()
    for tensor in ready:
        runtime(tensor)
    bare = len(ready) / (time.perf_counter() - started)
    rate = count / cost.seconds
    return [
        Line(
            f"`engine embed`, {count} photographs of 1080 × 810 px, process start included",
            f"{rate:.2f} images/s",
            f"bare `session.run` {bare:.2f} images/s",
            rate / bare,
            0.9,
        )
    ]


def _tensor(path: Path, stride: int) -> np.ndarray:
    pixels = read_image(path)
    return resize(pixels, encoded_size((pixels.shape[1], pixels.shape[0]), 336, stride))[np.newaxis]


def whole_job(bench: Bench) -> list[Line]:
    """All pairs of 60 photographs, verified and written, beside the earlier procedure (some pairs, scaled)."""
    count = 16 if bench.quick else 60
    folder = bench.workplace("job", count, (1080, 810))
    pairs = count * (count - 1) // 2
    cost = run_engine(folder, "match", "-w", "vits16")
    runtime = open_graph(folder / "graphs" / bench.graph.name)
    paths = sorted((folder / "images").rglob("*.jpg"))
    timed = [(paths[row], paths[-1 - row]) for row in range(4 if bench.quick else 20)]
    earlier = seconds_a_pair(timed, runtime, 336, runtime.graph.stride)
    return [
        Line(
            f"whole job, {count} photographs, {pairs} pairs, encoded, matched, verified, written",
            f"{cost.seconds:.1f} s, {pairs / cost.seconds:.0f} pairs/s",
            f"earlier procedure {earlier:.2f} s a pair ({len(timed)} pairs timed, scaled)",
            earlier * pairs / cost.seconds,
            80,
        )
    ]


SMALL = ("match", "-w", "vitt16", "-i", "96", "--memory", "128M")


def memory(bench: Bench) -> list[Line]:
    """Memory of few and of many photographs, all pairs, under the same `--memory`."""
    few, many = (20, 200) if bench.quick else (200, bench.many)
    peaks = {}
    for count in (few, many):
        folder = bench.workplace(f"memory{count}", count, (256, 192), bundled_graph())
        peaks[count] = run_engine(folder, *SMALL).peak_mib
    return [
        Line(
            f"peak memory of {many} small photographs, all {many * (many - 1) // 2} pairs, `--memory 128M`, "
            "verifying processes included",
            f"{peaks[many]:.0f} MiB",
            f"{few} photographs: {peaks[few]:.0f} MiB",
            peaks[many] / peaks[few],
            1.1,
            at_least=False,
        )
    ]


def second_run(bench: Bench) -> list[Line]:
    """A run with nothing left to do beside the one that did it."""
    count = 60 if bench.quick else 600
    folder = bench.workplace("twice", count, (256, 192), bundled_graph())
    first, again = run_engine(folder, *SMALL).seconds, run_engine(folder, *SMALL).seconds
    return [
        Line(
            f"second run on {count} photographs, nothing changed",
            f"{again:.1f} s",
            f"first run {first:.1f} s",
            first / again,
            50,
        )
    ]


MEASUREMENTS: dict[str, Callable[[Bench], list[Line]]] = {
    "embedding": embedding,
    "whole job": whole_job,
    "memory": memory,
    "second run": second_run,
}
"""By name, in the order of the table."""
