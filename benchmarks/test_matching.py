"""All pairs, from maps in memory to matches, against other ways, in one run: `pytest benchmarks/test_matching.py`.

References: the bare float32 products in NumPy, the same in ONNX Runtime, a torch matcher that takes one pair at a time
as hloc does, mutual nearest neighbours in Python loops, brute force in OpenCV, and FAISS where it is installed.
The slow ones are timed on some pairs and scaled.
"""

import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import FeatureMap
from engine.block_matching import BlockMatcher
from engine.runtime import usable_cores
from plugins import mutual_knn
from plugins.mutual_knn import MutualKnnOptions
from plugins.products import product_fp32

TOKENS, DIM = 441, 384
BARS = {"fp32": 1.3, "int8": 0.6}
"""Largest time as a share of that of the bare products in NumPy."""


@dataclass(frozen=True)
class Way:
    """One way to match. `run` takes pairs (rows a, b) and gives the number of matches; a `share` of them is timed."""

    name: str
    run: Callable[[list[tuple[int, int]]], int]
    share: float = 1.0


def synthetic_maps(count: int, tokens: int = TOKENS, dim: int = DIM) -> list[FeatureMap]:
    """Maps that see parts of one ground through noise: about a third of the tokens of two have a match."""
    rng = np.random.default_rng(0)
    ground = rng.normal(size=(4 * tokens, dim)).astype(np.float32)

    def one(number: int) -> FeatureMap:
        seen = ground[rng.permutation(len(ground))[:tokens]] + 0.7 * rng.normal(size=(tokens, dim)).astype(np.float32)
        unit = seen / np.linalg.norm(seen, axis=1, keepdims=True)
        index, side = np.arange(tokens, dtype=np.int32), (16 * tokens, 16)
        ones = np.ones(tokens, np.float32)
        return FeatureMap(str(number), unit.astype(np.float16), ones, index, ones[:1], (1, tokens), side, side)

    return [one(number) for number in range(count)]


def ours(maps: list[FeatureMap], precision: str) -> Callable[[list[tuple[int, int]]], int]:
    [record] = mutual_knn.engine_matchers()

    def run(pairs: list[tuple[int, int]]) -> int:
        matcher = BlockMatcher(record, MutualKnnOptions(), precision, usable_cores())
        wanted = np.zeros((len(maps), len(maps)), bool)
        wanted[tuple(np.array(pairs).T)] = True
        return sum(len(matches) for _, _, matches in matcher(maps, maps, wanted))

    return run


def python_loops(maps: list[FeatureMap]) -> Callable[[list[tuple[int, int]]], int]:
    """Nearest both ways by a loop over tokens, as the earlier tool's procedure does (written for this comparison)."""
    wide = [entry.descriptors.astype(np.float32) for entry in maps]

    def run(pairs: list[tuple[int, int]]) -> int:
        found = 0
        for i, j in pairs:
            similarity = wide[i] @ wide[j].T
            of_a = [int(np.argsort(-similarity[row])[0]) for row in range(len(similarity))]
            of_b = [int(np.argsort(-similarity[:, column])[0]) for column in range(similarity.shape[1])]
            found += sum(1 for row, column in enumerate(of_a) if of_b[column] == row)
        return found

    return run


def torch_pairs(maps: list[FeatureMap]) -> Callable[[list[tuple[int, int]]], int]:
    """One pair at a time: einsum, top-1 both ways, check (written for this comparison)."""
    import torch

    torch.set_num_threads(usable_cores())
    columns = [torch.from_numpy(entry.descriptors.astype(np.float32)).T.contiguous()[None] for entry in maps]

    def run(pairs: list[tuple[int, int]]) -> int:
        found = 0
        with torch.no_grad():
            for i, j in pairs:
                similarity = torch.einsum("bdn,bdm->bnm", columns[i], columns[j])
                of_a = similarity.topk(1, dim=-1).indices[0, :, 0]
                of_b = similarity.transpose(1, 2).topk(1, dim=-1).indices[0, :, 0]
                found += int((of_b[of_a] == torch.arange(len(of_a))).sum())
        return found

    return run


def opencv(maps: list[FeatureMap]) -> Callable[[list[tuple[int, int]]], int]:
    wide = [entry.descriptors.astype(np.float32) for entry in maps]
    matcher = cv2.BFMatcher(cv2.NORM_L2, crossCheck=True)
    return lambda pairs: sum(len(matcher.match(wide[i], wide[j])) for i, j in pairs)


def faiss_flat(maps: list[FeatureMap]) -> Callable[[list[tuple[int, int]]], int]:
    import faiss

    wide = [np.ascontiguousarray(entry.descriptors, np.float32) for entry in maps]
    faiss.omp_set_num_threads(usable_cores())

    def nearest(of: NDArray[np.float32], among: NDArray[np.float32]) -> NDArray[np.int64]:
        index = faiss.IndexFlatIP(among.shape[1])
        index.add(among)
        found: NDArray[np.int64] = index.search(of, 1)[1][:, 0]
        return found

    def run(pairs: list[tuple[int, int]]) -> int:
        found = 0
        for i, j in pairs:
            of_a, of_b = nearest(wide[i], wide[j]), nearest(wide[j], wide[i])
            found += int((of_b[of_a] == np.arange(len(of_a))).sum())
        return found

    return run


def bare(
    maps: list[FeatureMap], product: Callable[[NDArray[np.float32], NDArray[np.float32]], object]
) -> Callable[..., int]:
    wide = [entry.descriptors.astype(np.float32) for entry in maps]

    def run(pairs: list[tuple[int, int]]) -> int:
        for i, j in pairs:
            product(wide[i], wide[j])
        return 0

    return run


def ways(maps: list[FeatureMap]) -> Iterator[Way]:
    yield Way("bare fp32 products, NumPy", bare(maps, lambda a, b: a @ b.T))
    yield Way("bare fp32 products, ONNX Runtime, one thread", bare(maps, product_fp32))
    yield Way("ours, fp32", ours(maps, "fp32"))
    yield Way("ours, int8", ours(maps, "int8"))
    if importlib.util.find_spec("torch"):
        yield Way("torch, one pair at a time", torch_pairs(maps), 0.2)
    yield Way("Python loops", python_loops(maps), 0.02)
    yield Way("OpenCV BFMatcher, crossCheck", opencv(maps), 0.05)
    if importlib.util.find_spec("faiss"):
        yield Way("FAISS IndexFlatIP, both ways", faiss_flat(maps), 0.1)


def test_all_pairs_at_the_speed_of_the_product(quick: bool, capsys: pytest.CaptureFixture[str]) -> None:
    count, repeats = (20, 3) if quick else (60, 5)
    maps = synthetic_maps(count)
    pairs = [(i, j) for i in range(count) for j in range(i + 1, count)]
    chosen = list(ways(maps))
    times: dict[str, list[float]] = {way.name: [] for way in chosen}
    matched: dict[str, float] = {}
    for repeat in range(repeats + 1):
        for way in chosen:
            part = pairs[:: max(1, round(1 / way.share))]
            started = time.perf_counter()
            found = way.run(part)
            # The first round warms up.
            if repeat:
                times[way.name].append((time.perf_counter() - started) / len(part))
            matched[way.name] = found / len(part)
    base = np.median(times[chosen[0].name])
    ratio = {name: float(np.median(np.array(spent) / np.array(times[chosen[0].name]))) for name, spent in times.items()}
    with capsys.disabled():
        print(f"\n\n{len(pairs)} pairs of {count} maps of {TOKENS} x {DIM}, {usable_cores()} cores, {repeats} rounds")
        print(f"OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}, medians; slow ways timed on some pairs")
        print("\n| way | µs a pair | spread | of the bare products | matches a pair |\n| --- | --- | --- | --- | --- |")
        for way in chosen:
            spent = np.array(times[way.name]) * 1e6
            timed = "" if way.share == 1 else f" (timed on {way.share:.0%} of the pairs)"
            print(
                f"| {way.name}{timed} | {np.median(spent):.0f} | {spent.min():.0f} to {spent.max():.0f} "
                f"| {ratio[way.name]:.2f} | {matched[way.name]:.1f} |"
            )
        if importlib.util.find_spec("faiss") is None:
            print("\nFAISS is not installed and was left out.")
    assert base > 0
    for precision, bar in BARS.items():
        assert ratio[f"ours, {precision}"] <= bar, precision
    assert matched["ours, int8"] == pytest.approx(matched["ours, fp32"], rel=0.01)


def test_int8_finds_the_matches_of_real_photographs(aerial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from engine.dataset import scan
    from engine.encoding import encode
    from engine.runtime import open_graph
    from models.bundled import bundled_graph

    runtime = open_graph(bundled_graph(), "cpu")
    maps = [encode(entry, runtime, 336).features for entry in scan(aerial).entries]
    wanted = np.triu(np.ones((len(maps), len(maps)), bool), 1)
    [record] = mutual_knn.engine_matchers()
    found = []
    for precision in ("fp32", "int8"):
        matcher = BlockMatcher(record, MutualKnnOptions(), precision, usable_cores())
        found.append(
            {
                (i, j, x, y)
                for i, j, matches in matcher(maps, maps, wanted)
                for x, y in zip(matches.index_a.tolist(), matches.index_b.tolist(), strict=True)
            }
        )
    share = len(found[0] & found[1]) / len(found[0])
    with capsys.disabled():
        print(f"\n{len(found[0])} matches of {int(wanted.sum())} real pairs in fp32; int8 finds {share:.2%} of them")
    assert share >= 0.99
    assert len(found[1] - found[0]) <= 0.01 * len(found[0])
