"""Pairs matched as `engine match` does it, with the results in memory."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from engine.cli_common import chosen_graphs, opened
from engine.cli_match import procedure_maker
from engine.cli_match_options import MatchOptions
from engine.context import Context
from engine.match_run import RunFolders, RunPlan, run_pairs
from engine.pairs import Pair
from engine.plugin_registry import load_registry
from engine.results import PairResult
from engine.settings import load_roots, read_environment
from plugins import BUILTINS


@dataclass(frozen=True)
class Matched:
    """Results in the order of the pairs, with the graph they come from.

    Attributes:
        encoded: pictures that went through the graph, those of refinement included.
    """

    results: list[PairResult]
    graph_sha256: str
    encoded: int


class CountingRuntime:
    """A runtime that counts the pictures it is given."""

    def __init__(self, runtime: Any) -> None:
        self._runtime = runtime
        self.pictures = 0

    def __call__(self, images: Any) -> Any:
        self.pictures += len(images)
        return self._runtime(images)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runtime, name)


def matched(pairs: Sequence[Pair], out: Path, options: MatchOptions) -> Matched:
    """Matches pairs anew, storing below `out`.

    Raises:
        RuntimeError: a pair could not be matched.
    """
    roots = load_roots({**read_environment(), "EXPORT_ROOT": str(out / "exports")})
    context = Context({}, roots, load_registry(BUILTINS, entry_points=False))
    make = procedure_maker(options, context)
    (choice,) = chosen_graphs(options.weights, None, False, context)
    graph = opened(choice, options.provider, context.registry)
    counting = CountingRuntime(graph.runtime)
    graph = replace(graph, runtime=counting)
    results: list[PairResult] = []
    folders = RunFolders(out / "images", out / "pair_match", out / "dinov3_embeds", None)
    run_pairs(pairs, graph, make(graph), folders, results.append, RunPlan(anew=True))
    if len(results) != len(pairs):
        raise RuntimeError(f"{len(pairs) - len(results)} pairs could not be matched")
    found = {(result.image_a.key, result.image_b.key): result for result in results}
    return Matched([found[pair.a.key, pair.b.key] for pair in pairs], graph.sha256, counting.pictures)
