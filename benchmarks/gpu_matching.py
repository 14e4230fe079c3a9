"""All pairs of a large data set on a GPU: 2,671,516 pairs of 2,312 synthetic feature maps, 441 tokens of 1,024 values.

Run by `python -m benchmarks.gpu`.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.matching.ways import synthetic_maps
from engine import FeatureMap, Matches
from engine.block_matching import BlockMatcher
from plugins import mutual_knn
from plugins.mutual_knn import MutualKnnOptions

MAPS, TOKENS, DIM = 2312, 441, 1024
BLOCK = 64
"""Maps on a side of a block."""
CHECKED = 20
"""Pairs compared with the CPU's matches."""


@dataclass(frozen=True)
class MatchingRow:
    """What matching all pairs took.

    Attributes:
        agreement: matches of the CPU found too, of the pairs compared.
        largest_difference: of the similarities of those.
    """

    pairs: int
    matches: int
    seconds: float
    agreement: float
    largest_difference: float

    def __str__(self) -> str:
        return (
            f"{self.pairs:,} pairs of maps of {TOKENS} x {DIM} matched in {self.seconds:.1f} s "
            f"({self.pairs / self.seconds:,.0f} pairs/s, {self.matches / self.pairs:.1f} matches a pair); against the "
            f"CPU {self.agreement:.4%} of the matches, similarities within {self.largest_difference:.1g}"
        )


def measure_matching(provider: str, count: int = MAPS, tokens: int = TOKENS, dim: int = DIM) -> MatchingRow:
    """Matches all pairs of `count` maps on a provider, from maps in memory to matches."""
    maps = synthetic_maps(count, tokens, dim)
    [record] = mutual_knn.engine_matchers()
    matcher = BlockMatcher(record, MutualKnnOptions(), provider=provider)
    compared: dict[tuple[int, int], Matches] = {}
    list(matcher(maps[:2], maps[:2], np.ones((2, 2), bool)))
    pairs = matches = 0
    started = time.perf_counter()
    for top in range(0, count, BLOCK):
        for left in range(top, count, BLOCK):
            a, b = maps[top : top + BLOCK], maps[left : left + BLOCK]
            wanted = np.ones((len(a), len(b)), bool) if left > top else np.triu(np.ones((len(a), len(b)), bool), 1)
            for row, column, found in matcher(a, b, wanted):
                pairs += 1
                matches += len(found)
                if len(compared) < CHECKED:
                    compared[top + row, left + column] = found
    seconds = time.perf_counter() - started
    agreement, difference = _against_cpu(maps, compared)
    return MatchingRow(pairs, matches, seconds, agreement, difference)


def _against_cpu(maps: list[FeatureMap], found: dict[tuple[int, int], Matches]) -> tuple[float, float]:
    common = wanted = 0
    largest = 0.0
    for (i, j), matches in found.items():
        exact = _by_index(mutual_knn.match(maps[i], maps[j], MutualKnnOptions()))
        there = _by_index(matches)
        shared = exact.keys() & there.keys()
        wanted += len(exact)
        common += len(shared)
        largest = max([largest, *(abs(float(exact[key] - there[key])) for key in shared)])
    return common / max(1, wanted), largest


def _by_index(matches: Matches) -> dict[tuple[int, int], NDArray[np.float32]]:
    keys = zip(matches.index_a.tolist(), matches.index_b.tolist(), strict=True)
    return dict(zip(keys, matches.similarity, strict=True))
