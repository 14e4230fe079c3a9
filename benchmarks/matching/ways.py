"""Ways to match all pairs, from maps in memory to matches: this program's and others, written for the comparison.

References: the bare float32 products in NumPy, the same in ONNX Runtime, a torch matcher that takes one pair at a time
as hloc does, mutual nearest neighbours in Python loops, brute force in OpenCV, and FAISS where it is installed.
"""

import importlib.util
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from engine import FeatureMap
from engine.block_matching import BlockMatcher
from engine.runtime import usable_cores
from plugins import mutual_knn
from plugins.mutual_knn import MutualKnnOptions
from plugins.products import product_fp32

TOKENS, DIM = 441, 384


@dataclass(frozen=True)
class Way:
    """One way to match. `run` takes pairs (rows a, b) and gives the number of matches; a `share` of them is timed."""

    name: str
    run: Callable[[list[tuple[int, int]]], int]
    share: float = 1.0
    is_product: bool = False


def synthetic_maps(count: int, tokens: int = TOKENS, dim: int = DIM) -> list[FeatureMap]:
    """Maps that see parts of one ground through noise: about a third of the tokens of two have a match."""
    rng = np.random.default_rng(0)
    ground = rng.standard_normal((4 * tokens, dim), np.float32)

    def one(number: int) -> FeatureMap:
        seen = ground[rng.permutation(len(ground))[:tokens]] + 0.7 * rng.standard_normal((tokens, dim), np.float32)
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
    maps: list[FeatureMap],
    product: Callable[[NDArray[np.float32], NDArray[np.float32]], object],
    threads: int = 1,
) -> Callable[[list[tuple[int, int]]], int]:
    """The products alone. With several threads each takes whole pairs, for a product that keeps to one thread."""
    wide = [entry.descriptors.astype(np.float32) for entry in maps]

    def part(pairs: list[tuple[int, int]]) -> None:
        for i, j in pairs:
            product(wide[i], wide[j])

    def run(pairs: list[tuple[int, int]]) -> int:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, (pairs[start::threads] for start in range(threads))))
        return 0

    return run


def ways(maps: list[FeatureMap]) -> Iterator[Way]:
    """All ways that can run here; those that the bars refer to are `is_product`."""
    yield Way("bare fp32 products, NumPy", bare(maps, lambda a, b: a @ b.T), is_product=True)
    name = f"bare fp32 products, ONNX Runtime, pairs over {usable_cores()} threads"
    yield Way(name, bare(maps, product_fp32, usable_cores()), is_product=True)
    yield Way("ours, fp32", ours(maps, "fp32"))
    yield Way("ours, int8", ours(maps, "int8"))
    if importlib.util.find_spec("torch"):
        yield Way("torch, one pair at a time", torch_pairs(maps), 0.2)
    yield Way("Python loops", python_loops(maps), 0.02)
    yield Way("OpenCV BFMatcher, crossCheck", opencv(maps), 0.05)
    if importlib.util.find_spec("faiss"):
        yield Way("FAISS IndexFlatIP, both ways", faiss_flat(maps), 0.1)
