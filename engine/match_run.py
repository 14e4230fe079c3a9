"""One run: all pairs asked for, with one graph, from photographs to stored results."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from engine.block_run import Workforce, match_in_blocks
from engine.context import installed_versions
from engine.encode_run import EncodeAhead
from engine.feature_cache import FeatureCache
from engine.graphs import OpenedGraph
from engine.memory import MemoryPlan, default_budget_bytes
from engine.mirroring import mirrored
from engine.missing_pairs import missing_pairs
from engine.pair_lists import GlobalDescriptors
from engine.pair_matching import Procedure
from engine.pairs import Pair, PairIndexList
from engine.photograph_encoder import PhotographEncoder
from engine.pipeline import FeatureSource, Outcome, match_one_by_one
from engine.plugin_options import matching_mode
from engine.progress import progress_bar
from engine.providers import short_name, usable_cores
from engine.result_writer import ResultWriter, require_writable
from engine.results import PairResult, RunInfo
from engine.stage_times import StageTimes
from engine.tiles import photographs_of

TIMED_PAIRS = 10
"""From so many pairs on, the summary says where the time went."""
JSON_FILES = 10_000
"""Up to so many pairs, each has a JSON file by default."""


@dataclass(frozen=True)
class RunFolders:
    """Where a run reads and writes.

    Attributes:
        images: root of the photographs.
        matches: root of JSON and HDF5 results.
        embeds: root of feature maps; used where `save_embeds` is set.
        repository: a clone of the original source, recorded in result files.
    """

    images: Path
    matches: Path
    embeds: Path
    repository: Path | None
    save_embeds: bool = False


@dataclass(frozen=True)
class RunSummary:
    """What a run did, and the lines that say so.

    Attributes:
        kept: pairs that were up to date with all their files.
    """

    pairs: Sequence[Pair]
    outcome: Outcome
    kept: int
    writer: ResultWriter
    encoder: PhotographEncoder | None
    times: StageTimes | None = None

    def lines(self) -> list[str]:
        """What was written where, and what was left alone or out."""
        lines = []
        writer, skipped = self.writer, self.outcome.skipped_pairs
        if writer.restored:
            lines.append(f"{writer.restored} JSON file(s) written from results that were stored already")
        if self.kept:
            lines.append(f"{self.kept} pair(s) already done with these settings, left alone")
        if writer.replaced:
            lines.append(f"{writer.replaced} file(s) of other settings or older photographs replaced")
        if skipped:
            lines.append(f"{skipped} pair(s) left out, as a photograph could not be read")
        if writer.written:
            what = str(writer.last_path) if writer.written == 1 else f"{writer.written} JSON files below {writer.root}"
            lines.append(f"wrote {what}")
        if writer.unconfident:
            lines.append(
                f"{writer.unconfident} pair(s) below --min-confidence have no JSON file; the HDF5 results keep them"
            )
        if writer.stored:
            lines.append(f"wrote matches and verifications (HDF5) to {writer.store_folder}")
            if writer.stored > writer.written + writer.unconfident:
                lines.append(
                    f"  of {writer.stored} pairs, {writer.written} have a JSON file as well (--json-every); "
                    "'engine vis' and 'engine convert' read all"
                )
        lines += [f"  {problem}" for problem in writer.problems]
        if self.encoder is not None:
            lines.append(self.encoder.summary())
        if self.times is not None and self.outcome.matched >= TIMED_PAIRS:
            lines += self.times.table()
        return lines


@dataclass(frozen=True)
class RunPlan:
    """How a run goes about its work. Nothing of it changes what is found.

    Attributes:
        anew: match all pairs, up to date or not.
        memory_bytes: what feature maps and results may take; by default half of what is free.
        workers: processes that verify; None to decide by the cores and the pairs.
        json_every: every so many pairs get a JSON file; None for one each up to `JSON_FILES` pairs, and then so many
            that about as many come out.
        both_directions: each pair is stored also from b to a.
        store_from: from so many photographs on, feature maps are stored; None to store those only that the memory
            cannot hold.
        min_confidence: pairs whose probability of showing one place is below get no JSON file.
    """

    anew: bool = False
    memory_bytes: int | None = None
    workers: int | None = None
    json_every: int | None = None
    min_confidence: float = 0.0
    both_directions: bool = False
    store_from: int | None = None

    def json_step(self, pairs: int) -> int:
        """Every so many of `pairs` pairs gets a JSON file."""
        return self.json_every if self.json_every is not None else max(1, -(-pairs // JSON_FILES))


Choose = Callable[[GlobalDescriptors], Sequence[Pair]]
"""Gives the pairs of a run, with the photographs' global descriptors at hand where it needs them."""


def run_pairs(
    pairs: Sequence[Pair] | Choose,
    graph: OpenedGraph,
    procedure: Procedure,
    folders: RunFolders,
    on_result: Callable[[PairResult], object],
    plan: RunPlan | None = None,
) -> RunSummary:
    """Matches pairs and stores results; what is up to date is left alone.

    Args:
        pairs: the pairs, or what gives them.
        on_result: called with each new result.

    Raises:
        WorkError: the graph failed or a file cannot be written; what was finished is kept.
    """
    plan = plan or RunPlan()
    require_writable(folders.matches)
    if folders.save_embeds:
        require_writable(folders.embeds)
    settings, times, outcome = procedure.settings, StageTimes(), Outcome()
    memory = MemoryPlan.of(plan.memory_bytes or default_budget_bytes())
    with (
        PhotographEncoder(
            graph.runtime,
            graph.sha256,
            settings.image_size,
            folders.images,
            folders.embeds if folders.save_embeds else None,
            decode=settings.decode,
            times=times,
        ) as encoder,
        ResultWriter(folders.matches, _run_info(procedure, graph, folders), plan.min_confidence) as writer,
    ):
        cache = FeatureCache(encoder.encode, settings, memory.cached_bytes)
        ahead = EncodeAhead(encoder, cache, outcome, settings.rotations * len(settings.scales), folders.embeds)
        pairs = pairs(ahead.global_descriptors) if callable(pairs) else pairs
        step = plan.json_step(len(pairs))
        pairs = PairIndexList.of(pairs)
        missing, kept = missing_pairs(writer, pairs, step, plan.anew, plan.both_directions)
        wanted = pairs.take(missing)
        # The pairs' numbers among all: where none is done, they are their own.
        numbers = range(len(pairs)) if len(wanted) == len(pairs) else np.flatnonzero(missing).astype(np.int32)
        if len(wanted) and plan.store_from is not None and len(pairs.photographs()) >= plan.store_from:
            ahead.store_all()
        ahead(photographs_of(pairs if folders.save_embeds else wanted))
        source = FeatureSource(cache, encoder)
        if procedure.search.is_trivial:
            force = Workforce(usable_cores(), plan.workers, graph.runtime.provider, graph.runtime.device)
            results = match_in_blocks(wanted, procedure, cache, source, outcome, memory, force, times)
        else:
            results = match_one_by_one(wanted, procedure, cache, source, outcome, times)
        what = f"match on {short_name(graph.runtime.provider)}"
        with closing(results):  # stopped half-way, its processes end before the results are written out
            for number, result in progress_bar(results, len(wanted), "pair", what):
                with times("write"):
                    with_json = int(numbers[number]) % step == 0
                    writer.add(result, with_json)
                    if plan.both_directions:
                        writer.add(mirrored(result), with_json)
                on_result(result)
    return RunSummary(pairs, outcome, kept, writer, encoder if encoder.stores else None, times if wanted else None)


def _run_info(procedure: Procedure, graph: OpenedGraph, folders: RunFolders) -> RunInfo:
    described = graph.runtime.graph
    return RunInfo(
        settings=procedure.settings,
        matching_mode=matching_mode(procedure.matcher, procedure.matcher_options),
        provider=graph.runtime.provider,
        graph=graph.choice.path,
        checkpoint=described.checkpoint_name,
        global_descriptor=described.global_descriptor,
        paths={
            "repo_dir": str(folders.repository or ""),
            "img_root": str(folders.images),
            "embed_root": str(folders.embeds),
            "match_root": str(folders.matches),
        },
        versions=installed_versions(),
    )
