"""`engine match`: options, and the run from data set to result files."""

from collections.abc import Callable
from pathlib import Path

from engine.block_matching import require_precision
from engine.cli_common import chosen_graphs, opened, report_failures
from engine.cli_match_options import MatchOptions
from engine.context import Context
from engine.dataset import scan_for
from engine.errors import UsageError
from engine.events import emit
from engine.failed_images import failed_list_path
from engine.graphs import GraphChoice, OpenedGraph
from engine.hooks import ModelKind
from engine.match_run import Choose, RunFolders, RunPlan, run_pairs
from engine.pair_lists import GlobalDescriptors, PairMode, select_pairs
from engine.pair_matching import Procedure
from engine.pairs import PairIndexList
from engine.plugin_calls import require_filter
from engine.plugin_options import as_typed, options_as_dict, parse_options
from engine.progress import say
from engine.results import MatchSettings, PairResult
from engine.runtime import check_provider
from engine.search import SearchPlan, parse_scales
from engine.settings import tagged
from engine.tiles import photographs_of
from engine.views import UPRIGHT

STORED_PHOTOGRAPHS = 100
"""From so many photographs on, feature maps are stored without `-e`: a kill while encoding must not cost all."""
LINES_AT_MOST = 40
"""Runs of more pairs than this print totals only."""


def run_match(options: MatchOptions, context: Context) -> int:
    """Matches the pairs asked for with every graph asked for; exit code 1 when a photograph or a graph failed."""
    make_procedure = procedure_maker(options, context)
    check_provider(options.provider)
    matches = tagged(context.roots.matches, options.tag)
    choices = chosen_graphs(
        list(options.weights),
        options.group,
        options.all_weights,
        context,
        options.precision,
        options.runtime,
        options.source,
        options.hf_token,
    )
    image_root = Path(options.images) if options.images else context.roots.images
    arguments = (options.image_a, options.image_b)
    data_set = scan_for(image_root, arguments, options.regex, list(options.exts) or None)
    mode = PairMode.parse(options.pairs)

    def choose(descriptors: GlobalDescriptors) -> PairIndexList:
        pairs = select_pairs(data_set, *arguments, mode, descriptors)
        images = len(photographs_of(pairs))
        say(f"{images} photographs, {len(pairs)} pair(s)")
        emit("photographs_found", photographs=images, pairs=len(pairs))
        return pairs

    if not mode.needs_descriptors:
        select_pairs(data_set, *arguments, mode)  # what is wrong with them is said before a graph is loaded
    return choices.run(lambda choice: _run_graph(choice, choose, image_root, matches, options, make_procedure, context))


def procedure_maker(options: MatchOptions, context: Context) -> Callable[[OpenedGraph], Procedure]:
    """Checks plugins and their options before any work begins."""
    matcher = context.registry.matcher(options.matcher)
    require_precision(matcher, options.match_precision)
    matcher_options = parse_options(matcher.options, options.matcher_options, f"--matcher {matcher.name} -M")
    chosen = context.registry.filter(options.filter)
    aliases = {given: f"{typed} with --filter {chosen.name}" for given, typed in alias_assignments(options).items()}
    filter_options = parse_options(
        chosen.options, [*options.filter_options, *aliases], f"--filter {chosen.name} -F", aliases
    )
    require_filter(chosen, filter_options)
    if options.min_confidence and chosen.kind is ModelKind.NONE:
        raise UsageError(f"--min-confidence judges by geometry, and --filter {chosen.name} looks for none")
    scales = parse_scales(options.scales)
    SearchPlan(options.rotations, scales)

    def make(graph: OpenedGraph) -> Procedure:
        settings = MatchSettings(
            weights=graph.choice.alias,
            source=graph.runtime.graph.source,
            graph_sha256=graph.sha256,
            image_size=options.image_size,
            max_features=options.max_features,
            keypoint_threshold=options.keypoint_th,
            match_threshold=options.match_th,
            line_threshold=options.line_th,
            matcher=matcher.name,
            matcher_options=options_as_dict(matcher_options),
            filter=chosen.name,
            filter_options=options_as_dict(filter_options),
            reproj_unit=options.reproj_unit,
            rotations=options.rotations,
            scales=scales,
            refine=options.refine,
            decode=options.decode,
            resampling=graph.runtime.graph.resampling,
            match_precision=options.match_precision,
            min_inliers=options.min_inliers,
        )
        return Procedure(settings, matcher, matcher_options, chosen, filter_options)

    return make


def alias_assignments(options: MatchOptions) -> dict[str, str]:
    """The `-F` assignments that `--ransac-method` and its like stand for, and what was typed for each."""
    aliases = {
        "ransac_method": options.ransac_method,
        "reproj_th": options.reproj_th,
        "confidence": options.confidence,
        "iters": options.iters,
    }
    return {
        f"{name}={value}": f"--{name.replace('_', '-')} {as_typed(value)}"
        for name, value in aliases.items()
        if value is not None
    }


def _run_graph(
    choice: GraphChoice,
    choose: Choose,
    image_root: Path,
    matches: Path,
    options: MatchOptions,
    make_procedure: Callable[[OpenedGraph], Procedure],
    context: Context,
) -> int:
    graph = opened(choice, options.provider, context.registry, options.runtime)
    folders = RunFolders(
        images=image_root,
        matches=matches,
        embeds=context.roots.embeds,
        repository=context.roots.repository,
        save_embeds=options.save_emb or PairMode.parse(options.pairs).needs_descriptors,
    )
    told = 0

    def tell(result: PairResult) -> None:
        nonlocal told
        emit_matched(result)
        told += 1
        if told <= LINES_AT_MOST:
            say(pair_line(result))
        elif told == LINES_AT_MOST + 1:
            say("  ... further pairs are not listed here; 'engine report' lists them all")

    plan = RunPlan(
        memory_bytes=options.memory,
        workers=options.workers,
        json_every=options.json_every,
        min_confidence=options.min_confidence,
        both_directions=options.both_directions,
        store_from=STORED_PHOTOGRAPHS,
    )
    summary = run_pairs(choose, graph, make_procedure(graph), folders, tell, plan)
    print("\n".join(summary.lines()))
    tried = photographs_of(summary.pairs)
    return 1 if report_failures(summary.outcome.failed.values(), tried, failed_list_path(matches, choice.alias)) else 0


def emit_matched(result: PairResult) -> None:
    """Tells logs of a pair."""
    emit(
        "pair_matched",
        a=result.image_a.key,
        b=result.image_b.key,
        matches=len(result.similarity),
        inliers=result.verification.inlier_count,
        model=result.verification.matrix is not None,
        cosine=round(float(result.cosine), 6),
        same_place=None if result.verdict is None else round(result.verdict.probability, 6),
    )


def pair_line(result: PairResult) -> str:
    """One line about a pair."""
    verification = result.verification
    found = (
        f"{verification.inlier_count:4d} {verification.model or verification.filter} inliers"
        if verification.matrix is not None
        else "no model"
    )
    matches = f"{len(result.similarity):4d} matches"
    views = "".join(
        f", {side} {view.word}" for side, view in (("a", result.view_a), ("b", result.view_b)) if view != UPRIGHT
    )
    verdict = "" if result.verdict is None else f"{result.verdict}, "
    pair = f"{result.image_a.key} - {result.image_b.key}"
    return f"  {pair}: {verdict}{matches}, {found}, cosine {result.cosine:.3f}{views}"
