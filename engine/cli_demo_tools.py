"""Joins `engine demo` to the pipeline and the pictures."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.cli_common import report_failures
from engine.cli_demo import DemoOptions, run_demo
from engine.cli_match import procedure_maker
from engine.cli_match_options import MatchOptions
from engine.cli_report import drawing, print_summary
from engine.context import Context
from engine.convert.runs import stored_runs
from engine.dataset import DataSet, scan
from engine.digest import file_sha256
from engine.drawing import Strokes
from engine.errors import DataSetError
from engine.graphs import GraphChoice, OpenedGraph
from engine.match_run import RunFolders, RunPlan, run_pairs
from engine.naming import walk_files
from engine.pair_refinement import DENSE
from engine.pairs import Pair, enumerate_pairs, file_entries
from engine.photographs import Photographs
from engine.report import ReportLimits, write_report
from engine.report.source import RunDescription, SourcePair, StoreSource
from engine.results import PairResult
from engine.runtime import open_graph
from engine.sample_photographs import SUFFIXES
from engine.store.result_json import result_path
from engine.vis import PictureMaker, picture_path
from models.bundled import bundled_graph
from models.catalogue import BUNDLED_ALIAS

_REPORTED_PICTURES = 3
"""PNG pictures in the report."""


def run_demo_command(options: DemoOptions, context: Context) -> int:
    """Runs the demonstration with the bundled backbone."""
    graph_path = bundled_graph()
    graph = OpenedGraph(GraphChoice(BUNDLED_ALIAS, graph_path), open_graph(graph_path), file_sha256(graph_path))
    print(f"{BUNDLED_ALIAS}, the bundled backbone (not Meta's weights), on {graph.runtime.provider}")
    results: list[PairResult] = []
    code = run_demo(options, _matching(graph, options, context, results), _drawing(context))
    _report(options, context, results)
    return code


@dataclass(frozen=True, eq=False)
class _ThisRun:
    """The pairs of this run alone: the folder may hold those of other photographs, matched with the same settings."""

    stored: StoreSource
    results: Sequence[PairResult]

    @property
    def description(self) -> RunDescription:
        return self.stored.description

    @property
    def problems(self) -> list[str]:
        return self.stored.problems

    def __len__(self) -> int:
        return len(self.results)

    def pairs(self) -> Iterator[SourcePair]:
        wanted = {_paths(result) for result in self.results}
        return (pair for pair in self.stored.pairs() if _paths(pair.result) in wanted)


def _paths(result: PairResult) -> tuple[Path, Path]:
    return result.image_a.path, result.image_b.path


def _report(options: DemoOptions, context: Context, results: Sequence[PairResult]) -> None:
    """Writes the report of what was matched; the last line of the demonstration says where it is."""
    out = Path(options.out)
    matches = _matches_folder(out)
    source = _ThisRun(StoreSource(stored_runs(matches)[0].folder, matches), results)
    photographs = Photographs(Path(options.images) if options.images else out / "images")
    limits, draw = ReportLimits(pictures=_REPORTED_PICTURES), drawing(photographs, context)
    summary = write_report(source, out / "report", photographs, out / "dinov3_embeds", limits, draw)
    print_summary(summary, len(source))


def _photographs(images: Path) -> DataSet:
    """The photographs of a folder: a data set by its file names, or all pictures there, called by their paths.

    Raises:
        DataSetError: there is no such folder, or it holds fewer than two pictures.
    """
    if not images.is_dir():
        raise DataSetError(f"--images {images} {'is a file, not a folder' if images.exists() else 'does not exist'}")
    with contextlib.suppress(DataSetError):
        named = scan(images)
        if len(named) > 1:
            return named
    entries = file_entries([path for path in walk_files(images) if path.suffix.lower() in SUFFIXES])
    if len(entries) < 2:
        kinds = ", ".join(sorted(suffix.removeprefix(".") for suffix in SUFFIXES))
        raise DataSetError(f"--images {images}: a pair takes two photographs ({kinds}), and {len(entries)} is there")
    return DataSet(images, entries)


def _matches_folder(out: Path) -> Path:
    return out / "pair_match"


def _matching(
    graph: OpenedGraph, options: DemoOptions, context: Context, results: list[PairResult]
) -> Callable[[Path, Path, Sequence[tuple[str, str]] | None], list[PairResult]]:
    def match(images: Path, out: Path, wanted: Sequence[tuple[str, str]] | None) -> list[PairResult]:
        procedure = procedure_maker(
            MatchOptions(image_size=options.image_size, rotations=12, scales="auto", refine=DENSE), context
        )(graph)
        data_set = _photographs(images)
        by_key = {entry.key: entry for entry in data_set.entries}
        pairs = (
            enumerate_pairs(data_set, None, None) if wanted is None else [Pair(by_key[a], by_key[b]) for a, b in wanted]
        )
        folders = RunFolders(images, _matches_folder(out), out / "dinov3_embeds", None, save_embeds=True)
        summary = run_pairs(pairs, graph, procedure, folders, results.append, RunPlan(anew=True))
        report_failures(summary.outcome.failed.values())
        return list(results)

    return match


def _drawing(context: Context) -> Callable[[Path, Path, Sequence[PairResult]], list[Path]]:
    def draw(images: Path, out: Path, results: Sequence[PairResult]) -> list[Path]:
        maker = PictureMaker(Photographs(images), context.registry, Strokes())
        pictures = []
        for result in results:
            labels = (result.image_a.label, result.image_b.label)
            file = result_path(_matches_folder(out), BUNDLED_ALIAS, *labels)
            picture = picture_path(file, out / "pair_viz")
            maker.make(file, picture)
            pictures.append(picture)
        return pictures

    return draw
