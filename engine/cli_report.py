"""`engine report`: options, and the run from stored results to a folder of pages."""

import sys
from pathlib import Path

from engine.cli_report_options import ReportOptions
from engine.context import Context
from engine.convert.runs import choose_run, stored_runs
from engine.drawing import Strokes
from engine.errors import DataSetError, UsageError
from engine.features import FeatureMap
from engine.imaging import image_file_facts
from engine.photographs import Photographs
from engine.progress import say
from engine.report import ReportLimits, ReportSummary, write_report
from engine.report.folder import check_replaceable
from engine.report.source import FileSource, ResultSource, SourcePair, StoreSource
from engine.report.tokens import Encode
from engine.report.write import Draw
from engine.results import ImageRef
from engine.settings import tagged
from engine.views import View
from engine.vis import PictureMaker
from engine.vis_pairs import pair_of_result
from engine.vis_tokens import TokenFinder

_SHOWN_PROBLEMS = 5


def run_report(options: ReportOptions, context: Context) -> int:
    """Writes the report; says where its first page is. Exit code 0, also where photographs are missing in it."""
    roots = context.roots
    if options.root and options.tag is not None:
        raise UsageError("--root and --tag both name the results: give one of them")
    results = Path(options.root).expanduser() if options.root else tagged(context.roots.matches, options.tag)
    report = "report" if options.tag is None else f"report-{options.tag}"
    out = Path(options.out).expanduser() if options.out else roots.exports / report
    check_replaceable(out)
    photographs = Photographs(roots.images)
    source = _source(results, options, photographs)
    limits = ReportLimits(options.details, options.heat_pairs, options.pictures)
    draw, encode = drawing(photographs, context), _encoding(photographs, context)
    print_summary(write_report(source, out, photographs, roots.embeds, limits, draw, encode), len(source))
    return 0


def _encoding(photographs: Photographs, context: Context) -> Encode:
    """Encodes photographs of a run whose feature maps are not stored, for the patch-similarity maps."""
    finder = TokenFinder(context.roots, tell=say)

    def encode(pair: SourcePair, image: ImageRef, view: View) -> FeatureMap:
        assert pair.run is not None
        path = photographs.find(str(image.path), image.key)
        if image_file_facts(path)[0] != image.bytes:
            raise DataSetError(f"the photograph {path} is another file than when it was matched")
        return finder.encoded(pair_of_result(pair.result, pair.run, pair.file).stored, path, view)

    return encode


def drawing(photographs: Photographs, context: Context) -> Draw:
    """Draws pairs for a report, from what the report itself was made from."""
    maker = PictureMaker(photographs, context.registry, Strokes())

    def draw(pair: SourcePair, picture: Path) -> None:
        stored = pair.file if pair.run is None else pair_of_result(pair.result, pair.run, pair.file)
        maker.make(stored, picture)

    return draw


def print_summary(summary: ReportSummary, stored_pairs: int) -> None:
    """Says what was written, what is missing, and where to open it."""
    for problem in summary.problems[:_SHOWN_PROBLEMS]:
        print(f"engine: {problem}", file=sys.stderr)
    more = len(summary.problems) - _SHOWN_PROBLEMS
    if more > 0:
        print(f"engine: and {more} more; the report's overview lists them", file=sys.stderr)
    left_out = stored_pairs - summary.pairs
    unreadable = f" ({left_out} could not be read)" if left_out else ""
    print(
        f"{summary.pairs} pair(s){unreadable} of {summary.images} photographs, "
        f"{summary.details} with a page of their own, {summary.bytes / 1e6:.1f} MB"
    )
    print(f"report: {summary.index}")


def _source(results: Path, options: ReportOptions, photographs: Photographs) -> ResultSource:
    runs = stored_runs(results) if results.is_dir() else []
    if runs:
        return StoreSource(choose_run(runs, results, options.weights, options.run).folder, results)
    source = FileSource(results, photographs, options.weights)
    print(f"no stored run below {results}: reporting its {len(source)} result file(s)")
    return source
