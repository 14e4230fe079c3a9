"""Which graphs a command runs: by alias, by group, or the only one there is (see `engine.only_graph`)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

from engine.errors import GraphError, UsageError, WorkError
from engine.loaded_graph import GraphRuntime
from engine.only_graph import DEFAULT_PRECISION, ONNX_SUFFIX, GraphChoice, only_graph
from engine.suggest import did_you_mean
from models.bundled import bundled_graph
from models.catalogue import BACKBONES, BUNDLED_ALIAS, Backbone, Group, backbone, in_group
from models.contract import SOURCE_BUILTIN


class Aliased(Protocol):
    """A network that graphs are called by the alias of."""

    @property
    def alias(self) -> str: ...


Network = TypeVar("Network", bound=Aliased)

__all__ = [
    "DEFAULT_PRECISION",
    "ONNX_SUFFIX",
    "GraphChoice",
    "NoCheckpointError",
    "OpenedGraph",
    "choose_graphs",
    "graph_path",
    "graph_stem",
    "requested_backbones",
]


class NoCheckpointError(GraphError):
    """A backbone has neither a graph nor a checkpoint to make one from."""


@dataclass(frozen=True)
class OpenedGraph:
    """A graph loaded for a run.

    Attributes:
        sha256: what results are kept by: the SHA-256 (hex) of the file, or what `graph_opening.results_digest` makes of
            it where another runtime than the default one computes.
    """

    choice: GraphChoice
    runtime: GraphRuntime
    sha256: str


def graph_stem(alias: str, source: str) -> str:
    """What the file names of a network's graphs begin with."""
    return alias if source == SOURCE_BUILTIN else f"{alias}-{source}"


def graph_path(
    graph_root: Path, alias: str, precision: str = DEFAULT_PRECISION, suffixes: Sequence[str] = (ONNX_SUFFIX,)
) -> Path:
    """Where the graph of a backbone lies: below `GRAPH_ROOT`, or inside the package for the bundled one.

    Args:
        suffixes: of graph files, best first. Where no file has one of them, the path of the first is returned.
    """
    paths = [graph_root / f"{alias}-{precision}{suffix}" for suffix in suffixes]
    found = next((path for path in paths if path.is_file()), None)
    if found is None and alias == BUNDLED_ALIAS and precision == DEFAULT_PRECISION and ONNX_SUFFIX in suffixes:
        return bundled_graph()
    return found or paths[0]


def requested_backbones(weights: list[str], group: str | None, all_weights: bool) -> list[Backbone]:
    """The backbones that `-w`, `-g` or `--all-weights` name, without repetition; empty where none was given.

    Raises:
        UsageError: an unknown alias or group, or more than one of the three.
    """
    given = [flag for flag, present in (("-w", weights), ("-g", group), ("--all-weights", all_weights)) if present]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other: give one of them")
    if all_weights:
        return [entry for entry in BACKBONES.values() if entry.group is not Group.BUNDLED]
    if group is not None:
        names = {entry.value.lower(): entry for entry in Group}
        if group.lower() not in names:
            known = [entry.value for entry in Group]
            raise UsageError(f"no group is called '{group}'.{did_you_mean(group, known)} Known: {', '.join(known)}")
        return list(in_group(names[group.lower()]))
    return list(dict.fromkeys(backbone(alias) for alias in weights))


def choose_graphs(
    requested: Sequence[Network],
    wide: bool,
    graph_root: Path,
    export_missing: Callable[[Network], Path],
    precision: str = DEFAULT_PRECISION,
    suffixes: Sequence[str] = (ONNX_SUFFIX,),
    source: str = SOURCE_BUILTIN,
    can_run: Callable[[str], bool] = lambda precision: True,
    on_failure: Callable[[str, WorkError], None] | None = None,
) -> list[GraphChoice]:
    """The graphs to run.

    Args:
        requested: the backbones named by the user; empty to choose for him.
        wide: whether they came from a group or `--all-weights`; those without graph and checkpoint are then left out.
        export_missing: exports a graph whose checkpoint is there and returns its path; raises NoCheckpointError
            where there is none.
        precision: of the graphs.
        suffixes: of graph files, best first.
        source: of the networks.
        can_run: whether this machine can run graphs of a precision.
        on_failure: told the alias and the error of each backbone of a group that could not be exported.

    Raises:
        UsageError: nothing was named and several graphs are there.
        GraphError: a named backbone has neither graph nor checkpoint, or none of a group has.
        WorkError: a named backbone could not be exported, or none of a group could.
    """
    if not requested:
        return [only_graph(graph_root, precision, suffixes, source, can_run)]
    choices: list[GraphChoice] = []
    missing: list[NoCheckpointError] = []
    failed: list[WorkError] = []
    for entry in requested:
        path = graph_path(graph_root, graph_stem(entry.alias, source), precision, suffixes)
        if path.is_file():
            choices.append(GraphChoice(entry.alias, path))
            continue
        try:
            exported = export_missing(entry)
        except WorkError as error:
            if not wide:
                raise
            if isinstance(error, NoCheckpointError):
                missing.append(error)
                continue
            failed.append(error)
            if on_failure is not None:
                on_failure(entry.alias, error)
            continue
        choices.append(GraphChoice(entry.alias, exported, f"{entry.alias}: exported {exported} first"))
    if choices:
        return choices
    if failed:
        raise WorkError(f"no graph is left to run: {len(failed)} of {len(requested)} backbones failed, see above")
    raise GraphError(
        str(missing[0]) if len(missing) == 1 else f"none of {len(missing)} backbones is there: {missing[0]}"
    )
