"""Graphs by their file names, and the graph of a run that names none: the only one there is, or the bundled one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import GraphError, UsageError
from engine.graph_info import GraphInfo
from models.bundled import bundled_graph
from models.catalogue import BACKBONES, BUNDLED_ALIAS
from models.contract import SOURCE_BUILTIN, SOURCES

DEFAULT_PRECISION = "fp32"
PRECISIONS = (DEFAULT_PRECISION, "bf16", "fp16", "int8")
ONNX_SUFFIX = ".onnx"


@dataclass(frozen=True)
class GraphChoice:
    """A graph to run, and a line for the user when it was not he who named it."""

    alias: str
    path: Path
    said: str = ""


@dataclass(frozen=True)
class ExportedGraph:
    """A graph below `GRAPH_ROOT`, by its file name."""

    alias: str
    source: str
    precision: str
    path: Path

    @property
    def options(self) -> str:
        """What to type for it."""
        asked = [f"-w {self.alias}"] if self.alias in BACKBONES else []
        asked += [f"--precision {self.precision}"] if self.precision != DEFAULT_PRECISION else []
        asked += [f"--source {self.source}"] if self.source != SOURCE_BUILTIN else []
        return " ".join(asked)


def graph_of_name(path: Path) -> ExportedGraph | None:
    """What the name `<alias>[-<source>]-<precision>.<suffix>` of a graph says; None for any other name."""
    stem, _, precision = path.stem.rpartition("-")
    if precision not in PRECISIONS:
        return None
    alias, _, source = stem.rpartition("-")
    if alias and source in SOURCES and source != SOURCE_BUILTIN:
        return ExportedGraph(alias, source, precision, path)
    return ExportedGraph(stem, SOURCE_BUILTIN, precision, path) if stem in BACKBONES else None


def require_own_name(graph: GraphInfo) -> None:
    """Makes sure that a graph is what its file is called, as results are recorded under that name.

    Raises:
        GraphError: it is another one, or a renamed one.
    """
    called = graph_of_name(graph.path)
    if called is None:
        return
    says, is_ = (called.alias, called.source, called.precision), (graph.alias, graph.source, graph.precision)
    if says != is_:
        stem = graph.alias if graph.source == SOURCE_BUILTIN else f"{graph.alias}-{graph.source}"
        raise GraphError(
            f"{graph.path} is a graph of {graph.alias} from {graph.source} in {graph.precision}, and not what its name "
            f"says: call it {stem}-{graph.precision}{graph.path.suffix}, or delete it and export {called.alias} again"
        )


def exported_graphs(graph_root: Path, suffixes: Sequence[str] = (ONNX_SUFFIX,)) -> list[ExportedGraph]:
    """The graphs below `GRAPH_ROOT` in catalogue order, those of other networks last.

    Args:
        suffixes: of graph files, best first; of files that differ in the suffix alone, the best is given.
    """
    found: dict[tuple[str, str, str], ExportedGraph] = {}
    for suffix in suffixes:
        for path in sorted(graph_root.glob(f"*-*{suffix}")):
            graph = graph_of_name(path) if path.is_file() and path.suffix == suffix else None
            if graph is not None:
                found.setdefault((graph.alias, graph.source, graph.precision), graph)
    order = list(BACKBONES)

    def place(graph: ExportedGraph) -> tuple[int, str, int, int]:
        known = order.index(graph.alias) if graph.alias in order else len(order)
        return known, graph.alias, SOURCES.index(graph.source), PRECISIONS.index(graph.precision)

    return sorted(found.values(), key=place)


def only_graph(
    graph_root: Path,
    precision: str,
    suffixes: Sequence[str],
    source: str,
    can_run: Callable[[str], bool] = lambda precision: True,
) -> GraphChoice:
    """The only graph of a precision and source; with the default ones and none of them, the only graph there is.

    Args:
        can_run: whether this machine can run graphs of a precision.

    Raises:
        UsageError: several graphs could be meant; the message lists them with what to type.
        GraphError: none can be taken.
    """
    there = exported_graphs(graph_root, suffixes)
    fitting = [graph for graph in there if (graph.precision, graph.source) == (precision, source)]
    of = "" if source == SOURCE_BUILTIN else f" of {source}"
    if len(fitting) > 1:
        aliases = ", ".join(graph.alias for graph in fitting)
        raise UsageError(f"several graphs lie in {graph_root}: choose with -w one of {aliases}")
    if fitting:
        return GraphChoice(fitting[0].alias, fitting[0].path, f"{fitting[0].alias}: the only exported graph{of}")
    if (precision, source) == (DEFAULT_PRECISION, SOURCE_BUILTIN):
        return _other_graph(there, graph_root, suffixes, can_run)
    others = f"; there is {_listed(there)}" if there else ""
    if source != SOURCE_BUILTIN:
        raise UsageError(f"--source {source}: say with -w which network to run; no {source} graph is there{others}")
    raise GraphError(
        f"no {precision} graph is in {graph_root}: make one with 'engine export --precision {precision}'{others}"
    )


def _other_graph(
    there: list[ExportedGraph], graph_root: Path, suffixes: Sequence[str], can_run: Callable[[str], bool]
) -> GraphChoice:
    """Without any fp32 graph of our own export: the only one there is, or the bundled one."""
    if len(there) > 1:
        raise UsageError(f"no fp32 graph lies in {graph_root}, but several others: give one of {_listed(there)}")
    if there:
        (only,) = there
        if not can_run(only.precision):
            raise GraphError(
                f"the only graph in {graph_root} is {only.path.name}, and {only.precision} needs a GPU that ONNX "
                f"Runtime can use: export {only.alias} to fp32 or int8, or take the bundled backbone with "
                f"-w {BUNDLED_ALIAS}"
            )
        return GraphChoice(only.alias, only.path, f"{only.alias}: the only exported graph ({only.options})")
    if ONNX_SUFFIX not in suffixes:
        raise GraphError(f"no graph {' or '.join(f'*{suffix}' for suffix in suffixes)} is in {graph_root}: export one")
    said = f"{BUNDLED_ALIAS}: the bundled backbone, as no graph is in {graph_root} (these are not Meta's weights)"
    return GraphChoice(BUNDLED_ALIAS, bundled_graph(), said)


def _listed(graphs: list[ExportedGraph]) -> str:
    return "; ".join(f"{graph.path.name} ({graph.options})" for graph in graphs)
