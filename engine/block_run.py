"""Many pairs without a search of views: matched in blocks of photographs, verified in processes beside.

Pairs are taken tile by tile (a block of photographs a against a block of b), so that a map is loaded once for all of a
tile's pairs, and no more than two blocks are needed in memory whatever the number of photographs.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.block_matching import BlockMatcher
from engine.candidate import Prepared
from engine.dataset import ImageEntry
from engine.errors import ImageReadError
from engine.feature_cache import FeatureCache
from engine.features import Matches
from engine.memory import MemoryPlan
from engine.pair_matching import PairMatcher, Procedure
from engine.pairs import PairIndexList
from engine.pipeline import FeatureSource, Outcome
from engine.results import PairResult
from engine.stage_times import StageTimes
from engine.tiles import photographs_of, tiles
from engine.verify_pool import VerifyTask, verify_in_order

LARGEST_BLOCK = 64
"""Photographs on a side of a tile; more save nothing, as the maps of a tile are loaded only once anyway."""
POOLED_PAIRS = 400
"""From so many pairs on, processes are worth their start."""


@dataclass(frozen=True)
class Workforce:
    """Who works on pairs.

    Attributes:
        threads: processor threads of the matcher.
        workers: processes that verify; 0 for none, None to decide by the number of pairs.
        provider: where the graph runs; a matcher with a form for it works there, too.
        device: number of the GPU, where that is one.
    """

    threads: int
    workers: int | None = None
    provider: str = "CPUExecutionProvider"
    device: int = 0

    def processes(self, pairs: int) -> int:
        """Processes for so many pairs."""
        if self.workers is not None:
            return self.workers
        return self.threads if pairs >= POOLED_PAIRS else 0


@dataclass(frozen=True, eq=False)
class _Matched:
    """A pair on its way through verification."""

    number: int
    sides: tuple[Prepared, Prepared]
    matches: Matches
    match_ms: float


def match_in_blocks(
    pairs: PairIndexList,
    procedure: Procedure,
    cache: FeatureCache,
    source: FeatureSource,
    outcome: Outcome,
    memory: MemoryPlan,
    force: Workforce,
    times: StageTimes,
) -> Generator[tuple[int, PairResult], None, None]:
    """Matches every pair; yields its number in `pairs` and its result, tile by tile.

    A photograph that cannot be read is recorded in `outcome` and its pairs are skipped.
    """
    match = PairMatcher(procedure)
    tasks = _matched(pairs, procedure, match, cache, outcome, memory, force, times)
    with closing(verify_in_order(tasks, match.job, force.processes(len(pairs)))) as verifications:
        for verified in verifications:
            times.add("verify", verified.seconds)
            done = verified.beside
            spent_ms = {"match": done.match_ms, "verify": verified.seconds * 1e3}
            result = match.complete(
                pairs[done.number], source, done.sides, done.matches, verified.verification, spent_ms
            )
            if "refine" in result.time_ms:
                times.add("refine", result.time_ms["refine"] / 1e3)
            yield done.number, result
            outcome.matched += 1


def _matched(
    pairs: PairIndexList,
    procedure: Procedure,
    match: PairMatcher,
    cache: FeatureCache,
    outcome: Outcome,
    memory: MemoryPlan,
    force: Workforce,
    times: StageTimes,
) -> Iterator[tuple[_Matched, VerifyTask]]:
    matcher = BlockMatcher(
        procedure.matcher,
        procedure.matcher_options,
        procedure.settings.match_precision,
        force.threads,
        force.provider,
        force.device,
    )
    entries = pairs.entries
    for tile in tiles(pairs, _block_side(photographs_of(pairs), cache, memory)):
        side_a, rows = _loaded([entries[number] for number in tile.side_a], cache, outcome)
        side_b, columns = _loaded([entries[number] for number in tile.side_b], cache, outcome)
        wanted = np.zeros((len(side_a), len(side_b)), np.bool_)
        at = np.stack((rows[tile.rows], columns[tile.columns]))
        readable = (at >= 0).all(axis=0)
        outcome.skipped_pairs += int((~readable).sum())
        numbers = np.full(wanted.shape, -1, np.intp)
        wanted[tuple(at[:, readable])] = True
        numbers[tuple(at[:, readable])] = tile.numbers[readable]
        found = matcher([side.features for side in side_a], [side.features for side in side_b], wanted)
        while True:
            started = time.perf_counter()
            row, column, matches = next(found, (-1, -1, None))
            if matches is None:
                break
            matches = match.pruned(matches)
            seconds = time.perf_counter() - started
            times.add("match", seconds)
            sides = (side_a[row], side_b[column])
            yield _Matched(int(numbers[row, column]), sides, matches, seconds * 1e3), match.task(*sides, matches)


def _loaded(
    entries: Sequence[ImageEntry], cache: FeatureCache, outcome: Outcome
) -> tuple[list[Prepared], NDArray[np.intp]]:
    """The readable ones of some photographs, and where each of all stands among them, -1 where it cannot be read."""
    loaded: list[Prepared] = []
    place = np.full(len(entries), -1, np.intp)
    for number, entry in enumerate(entries):
        try:
            loaded.append(cache(entry))
            place[number] = len(loaded) - 1
        except ImageReadError as error:
            outcome.fail(entry, error)
    return loaded, place


def _block_side(entries: Sequence[ImageEntry], cache: FeatureCache, memory: MemoryPlan) -> int:
    """Photographs on a side of a tile: as many maps in float32 as the budget allows, by the first that can be read."""
    for entry in entries:
        try:
            return max(1, min(LARGEST_BLOCK, memory.block_bytes // (4 * cache(entry).bytes)))
        except ImageReadError:
            continue
    return 1
