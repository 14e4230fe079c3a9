"""`engine evaluate`: options, and the run from pairs with known geometry to tables, JSON and curves."""

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.cli_common import chosen_graphs, opened
from engine.cli_evaluate_options import EvaluateOptions
from engine.cli_match import procedure_maker
from engine.context import Context, installed_versions
from engine.dataset import scan_for
from engine.errors import KeyNotFoundError, UsageError, WorkError
from engine.evaluate.curves import draw_curves
from engine.evaluate.factors import BASELINE, EVERYTHING, chosen_factors, units
from engine.evaluate.measure import Row, measure_pairs
from engine.evaluate.references import EarlierReference, Reference, opencv_references
from engine.evaluate.report import grouped_summaries, levels_of, report, run_as_json, write_report
from engine.evaluate.synthetic import find_sources, make_pairs, plan_pairs
from engine.evaluate.tables import levels_table, pairs_table, summary_table
from engine.evaluate.truth import Case, find_cases, load_truth
from engine.graphs import GraphChoice, OpenedGraph
from engine.hooks import ModelKind
from engine.match_run import RunFolders, RunPlan, run_pairs
from engine.pair_matching import Procedure
from engine.progress import progress_bar
from engine.results import PairResult
from engine.runtime import check_provider
from engine.store.atomic import make_folder

MakeProcedure = Callable[[OpenedGraph], Procedure]


def run_evaluate(options: EvaluateOptions, context: Context) -> int:
    """Measures every graph asked for; exit code 0 however good the figures are, 1 where a graph failed."""
    _check(options, context)
    make_procedure = procedure_maker(options, context)
    out = Path(options.out) if options.out else context.roots.exports / "evaluation"
    cases, images, about = _synthetic(options, out) if options.synthetic else _from_truth(options, context)
    choices = chosen_graphs(
        list(options.weights), options.group, options.all_weights, context, options.precision, options.runtime
    )
    source = str(options.truth or options.synthetic)
    embeds = out / "dinov3_embeds" if options.synthetic else context.roots.embeds
    print(f"{len(cases)} pair(s) of known geometry from {source}")
    rows_of: dict[str, Sequence[Row]] = {}
    runs: list[dict[str, Any]] = []

    def measure(choice: GraphChoice) -> int:
        graph = opened(choice, options.provider, context.registry, options.runtime)
        procedure = make_procedure(graph)
        results = _matched(
            cases,
            graph,
            procedure,
            RunFolders(images, out / "pair_match", embeds, context.roots.repository, options.save_emb),
        )
        rows_of[choice.alias] = _measured(cases, results, choice, graph, options, len(choices) > 1)
        runs.append(run_as_json(procedure.settings, graph.runtime.provider, installed_versions()))
        return 0

    code = choices.run(measure)
    if not rows_of:
        return code
    _say(rows_of, options.synthetic is not None)
    if options.synthetic:
        for picture in draw_curves(rows_of, out / "curves"):
            print(f"curve: {picture}")
    if options.json is not None:
        write_report(
            Path(options.json), report("synthetic" if options.synthetic else "truth", source, rows_of, runs, about)
        )
        print(f"\nwrote {options.json}")
    return code


def _say(rows_of: Mapping[str, Sequence[Row]], synthetic: bool) -> None:
    """The tables: each pair (or each level of each factor), then each method."""
    if not synthetic:
        for rows in rows_of.values():
            print("\n" + pairs_table(rows))
    for factor, levels in levels_of(rows_of).items():
        print("\n" + levels_table(factor, units()[factor], levels))
    if synthetic:
        print("left of each two columns: success at 1 % of b's diagonal; right: median error")
    for title, summaries in grouped_summaries(rows_of).items():
        print("\n" + summary_table(summaries, title))


def _check(options: EvaluateOptions, context: Context) -> None:
    if (options.truth is None) == (options.synthetic is None):
        raise UsageError("give one of --truth FILE (pairs of known geometry) and --synthetic DIR (makes such pairs)")
    for flag, given in (("-a", options.image_a), ("-b", options.image_b), ("--tag", options.tag)):
        if given is not None:
            raise UsageError(f"{flag} does not apply to 'engine evaluate': the pairs are those of known geometry")
    theirs = (("--images", options.images), ("--regex", options.regex), ("--exts", options.exts))
    ours = (("--factors", options.factors), ("--quick", options.quick))
    for flag, value in theirs if options.synthetic is not None else ours:
        if value:
            other = "--truth" if options.synthetic is not None else "--synthetic"
            raise UsageError(f"{flag} goes with {other} only")
    if options.json is not None:
        if Path(options.json).is_dir():
            raise UsageError(f"--json {options.json} is a folder: give the name of a file")
        make_folder(Path(options.json).parent)
    check_provider(options.provider)
    chosen = context.registry.filter(options.filter)
    if chosen.kind is not ModelKind.POINT_MAP:
        raise UsageError(
            f"--filter {options.filter} gives no map of points, so its error cannot be measured: "
            "take homography, affine or similarity"
        )


def _from_truth(options: EvaluateOptions, context: Context) -> tuple[list[Case], Path, dict[str, Any]]:
    truth_file = Path(str(options.truth))
    entries = load_truth(truth_file)
    images = Path(options.images) if options.images else context.roots.images
    if not options.images and not _image_root_is_set(context):
        images = truth_file.resolve().parent
    keys = [key for entry in entries for key in (entry.a, entry.b)]
    data_set = scan_for(images, keys, options.regex, list(options.exts) or None)
    try:
        return find_cases(entries, data_set, truth_file), images, {}
    except KeyNotFoundError as error:
        raise KeyNotFoundError(f"{truth_file}: {error}. --images DIR names the folder of its photographs") from error


def _synthetic(options: EvaluateOptions, out: Path) -> tuple[list[Case], Path, dict[str, Any]]:
    factors = chosen_factors(options.factors)
    sources = find_sources(Path(str(options.synthetic)))
    for line in sources.left_out:
        print(f"  not used as a source: {line}", file=sys.stderr)
    plans = plan_pairs(sources.usable, factors, options.pairs_per_level, options.quick, options.seed)
    images = out / "images"
    print(f"making {len(plans)} pairs from {len(sources.usable)} photograph(s), in {images}")
    about = {
        "seed": options.seed,
        "sources": [{"name": source.name, "size": list(source.size)} for source in sources.usable],
        "baseline": asdict(BASELINE),
        "everything": asdict(EVERYTHING),
    }
    return make_pairs(plans, images), images, about


def _image_root_is_set(context: Context) -> bool:
    return any(context.values.get(name, "").strip() for name in ("IMG_ROOT", "DATASET_HOST"))


def _matched(cases: Sequence[Case], graph: OpenedGraph, procedure: Procedure, folders: RunFolders) -> list[PairResult]:
    results: list[PairResult] = []
    summary = run_pairs([case.pair for case in cases], graph, procedure, folders, results.append, RunPlan(anew=True))
    failed = list(summary.outcome.failed.values())
    if failed:
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise WorkError(f"nothing was measured, as a photograph cannot be read: {failed[0].reason}{more}")
    return results


def _measured(
    cases: Sequence[Case],
    results: Sequence[PairResult],
    choice: GraphChoice,
    graph: OpenedGraph,
    options: EvaluateOptions,
    several: bool,
) -> list[Row]:
    references: list[Reference] = []
    if not options.no_references:
        name = f"earlier procedure ({choice.alias})" if several else "earlier procedure"
        earlier = EarlierReference(graph.runtime, options.image_size, name)
        references = [earlier, *opencv_references()]
    measuring = measure_pairs(cases, results, choice.alias, references, options.image_size, graph.runtime.graph.stride)
    return list(progress_bar(measuring, len(cases), "pair"))
