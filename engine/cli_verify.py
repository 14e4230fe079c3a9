"""`engine verify`: graphs compared with their source models."""

import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine.cli_common import runtime_option
from engine.cli_export import checkpoint_of
from engine.cli_graph_images import check_images
from engine.cli_options import option
from engine.cli_sources import hf_token_option, load_wanted, source_option
from engine.context import Context
from engine.digest_cache import DigestCache
from engine.errors import Dinov3MatchError, GraphError, UsageError, WorkError
from engine.graph_data import require_data_file
from engine.graph_info import GraphInfo
from engine.graph_opening import graph_metadata, graph_suffixes, open_with, runtime_for
from engine.graphs import ONNX_SUFFIX, graph_path, graph_stem, requested_backbones
from engine.loaded_graph import DEFAULT_RUNTIME
from engine.progress import StageBars
from engine.providers import AUTO, PROVIDERS, check_provider, provider_name
from engine.sources import Wanted, requested_models, require_same_model
from models.bundled import bundled_graph
from models.catalogue import Backbone, Group
from models.contract import KEY_CHECKPOINT_SHA256, SOURCE_BUILTIN

if TYPE_CHECKING:
    from exporters.graph_check import GraphCheck
    from exporters.sources.loaded import LoadedSource

TORCHSCRIPT_SUFFIX = ".torchscript"


@dataclass(frozen=True)
class VerifyOptions:
    """Options of `engine verify`."""

    weights: list[str] = option((), "-w", "--weights", nargs="+", type=str, metavar="ALIAS", help="backbones to verify")
    group: str | None = option(
        None,
        "-g",
        "--group",
        type=str,
        metavar="GROUP",
        help=f"the graphs there are of a group: {', '.join(entry.value for entry in Group)}",
    )
    all_weights: bool = option(False, "--all-weights", help="the graphs there are of all backbones")
    precision: list[str] = option(
        ("fp32",), "--precision", nargs="+", type=str, metavar="NAME", help="fp32, bf16, fp16, int8; several for all"
    )
    provider: str = option("cpu", "--provider", type=str, help="cpu, cuda or another ONNX Runtime provider")
    runtime: str | None = runtime_option()
    source: str = source_option()
    hf_token: str | None = hf_token_option()
    images: str | None = option(
        None, "--images", type=str, metavar="DIR", help="folder of photographs, else IMG_ROOT, else made-up images"
    )
    check: bool = option(False, "--check", help="read checkpoint and data file for their SHA-256, even when remembered")


def run_verify(options: VerifyOptions, context: Context) -> int:
    """Verifies one graph after the other and stores the figures in it; exit code 1 when one is beyond its bounds.

    Of a group, the graphs that are there are verified, and the others named.
    """
    check_provider(options.provider)
    named = list(options.weights), options.group, options.all_weights
    requested: list[Backbone | Wanted] = (
        [*requested_backbones(*named)]
        if options.source == SOURCE_BUILTIN
        else [*requested_models(*named, options.source)]
    )
    if not requested:
        raise UsageError("say what to verify: -w ALIAS, -g GROUP or --all-weights")
    try:
        from exporters.precisions import precision_named
    except ImportError as error:
        raise WorkError(
            f"verifying needs torch and onnx ({error}): install the extra 'export' (pip install 'dinov3-match[export]')"
        ) from error
    for name in options.precision:
        precision_named(name)
    wide = options.group is not None or options.all_weights
    suffixes = graph_suffixes(context.registry, options.runtime)
    failed, absent = 0, []
    for entry in requested:
        for precision in options.precision:
            stem = graph_stem(entry.alias, options.source)
            if wide and not graph_path(context.roots.graphs, stem, precision, suffixes).is_file():
                absent.append(f"{stem}-{precision}")
                continue
            try:
                failed += not _verify(entry, precision, options, context)
            except Dinov3MatchError as error:
                print(f"{entry.alias}-{precision}: {error}", file=sys.stderr)
                failed += 1
    if absent:
        print(f"not in {context.roots.graphs} (GRAPH_ROOT): {', '.join(absent)}", file=sys.stderr)
    return 1 if failed or len(absent) == len(requested) * len(options.precision) else 0


def _verify(entry: Backbone | Wanted, name: str, options: VerifyOptions, context: Context) -> bool:
    """Prints the figures of one graph; returns whether they are within the bounds."""
    from exporters.export import require_memory, require_photographs
    from exporters.graph_check import bounds_text, failures
    from exporters.onnx_graph import build_graph
    from exporters.precisions import precision_named
    from exporters.store_check import store_check
    from exporters.verify import check_graph, comparison_model, weight_bytes

    precision = precision_named(name)
    graph = graph_path(
        context.roots.graphs,
        graph_stem(entry.alias, options.source),
        name,
        graph_suffixes(context.registry, options.runtime),
    )
    if not graph.is_file():
        raise GraphError(f"{graph} does not exist: {_how_to_make(graph, entry, name, options.source)}")
    record = runtime_for(graph, context.registry, options.runtime)
    info = GraphInfo.from_metadata(graph, graph_metadata(graph, record))
    _require_named(info, entry.alias, name, options.source)
    require_data_file(graph.resolve(), info.metadata, fresh=options.check)
    provider = PROVIDERS["cpu"] if options.provider == AUTO else provider_name(options.provider)
    run = None
    if record.name != DEFAULT_RUNTIME or provider != PROVIDERS["cpu"]:
        run = open_with(record, graph, options.provider)
        # The arithmetic is the runtime's: an fp32 graph computed in bf16 keeps the bounds of bf16.
        provider, precision = run.provider, precision_named(run.precision)
    source = _loaded(entry, info, options, context)
    network: Any = source.network
    images = check_images(options.images, network, context, needed=True, resampling=info.resampling)
    require_photographs(precision, images)
    if run is None and source.state is not None:
        backbone = source.backbone
        require_memory(graph.name, build_graph(backbone, source.state, precision), precision, backbone)
    bars = StageBars(f"{entry.alias} {name}")
    try:
        model, remark = comparison_model(source, weight_bytes(graph.resolve()), precision, provider)
        check = check_graph(
            graph.resolve(),
            model,
            network,
            images,
            precision,
            provider,
            lambda done, all_: bars("verify", done, all_),
            run=run,
        )
    finally:
        bars.close()
    remarks = [f"  {note}" for note in (*source.notes, remark) if note]
    print("\n".join([f"{entry.alias}: {graph}", *report_lines(check), *remarks]))
    problems = failures(check, precision)
    verdict = (
        f"  not close enough: {'; '.join(problems)}"
        if problems
        else f"  passes: {bounds_text(check, precision.bounds)}"
    )
    print(verdict, flush=True)
    if graph == bundled_graph():
        print("  the graph that ships with the program is left as it is")
    elif graph.suffix == TORCHSCRIPT_SUFFIX:
        if not problems:
            from exporters.torchscript import store_torchscript_check

            print(f"  {store_torchscript_check(graph.resolve(), check)}")
    elif record.name != DEFAULT_RUNTIME:
        print("  the figures in the graph are those of its export, and stay")
    elif not problems:
        print(f"  {store_check(graph.resolve(), check)}")
    return not problems


def _how_to_make(graph: Path, entry: Backbone | Wanted, precision: str, source: str) -> str:
    """The command that exports a graph that is not there."""
    if graph.suffix not in (ONNX_SUFFIX, TORCHSCRIPT_SUFFIX):
        return f"'engine export' makes {ONNX_SUFFIX} and {TORCHSCRIPT_SUFFIX}; the runtime's plugin must say how"
    if graph.suffix == TORCHSCRIPT_SUFFIX and precision != "fp32":
        return "graphs in TorchScript form are fp32 only"
    model = entry.model if isinstance(entry, Wanted) and entry.backbone is None else entry.alias
    command = f"engine export -w {shlex.quote(model)} --precision {precision}"
    command += "" if source == SOURCE_BUILTIN else f" --source {source}"
    command += " --format torchscript" if graph.suffix == TORCHSCRIPT_SUFFIX else ""
    return f"make it with '{command}'"


def _require_named(info: GraphInfo, alias: str, precision: str, source: str) -> None:
    """Refuses a graph that is another than its name says, which would be judged by another's bounds.

    Raises:
        GraphError: alias, precision or source differ.
    """
    if (info.alias, info.precision, info.source) != (alias, precision, source):
        raise GraphError(
            f"{info.path} is the {info.precision} graph of {info.alias} ({info.source}) by its metadata, not the "
            f"{precision} graph of {alias} ({source}): give it its own name back, and export the one you want"
        )


def _loaded(entry: Backbone | Wanted, info: GraphInfo, options: VerifyOptions, context: Context) -> "LoadedSource":
    """The source that the graph was exported from, told by the SHA-256 of its weights."""
    if isinstance(entry, Backbone):
        from exporters.sources.builtin import judged_builtin

        checkpoint = _matching_checkpoint(entry, info, options.check, context)
        return judged_builtin(entry, checkpoint, info.metadata[KEY_CHECKPOINT_SHA256], info.checkpoint_status)
    require_same_model(info.path, info.metadata, entry)
    source = load_wanted(entry, context, options.hf_token, unofficial=True)
    recorded = info.metadata.get(KEY_CHECKPOINT_SHA256, "")
    if source.checkpoint.sha256 != recorded:
        raise GraphError(
            f"{info.path} was exported from other weights of {info.checkpoint_name} (SHA-256 {recorded[:8]}) than "
            f"{source.checkpoint.path} holds now ({source.checkpoint.sha256[:8]}): export the graph again"
        )
    return source


def _matching_checkpoint(entry: Backbone, info: GraphInfo, fresh: bool, context: Context) -> Path:
    """The checkpoint that the graph was exported from, told by its SHA-256."""
    checkpoint = checkpoint_of(entry, context.roots.weights)
    sha256 = DigestCache(context.roots.graphs).sha256(checkpoint, fresh)
    recorded = info.metadata.get(KEY_CHECKPOINT_SHA256, "")
    if sha256 != recorded:
        raise GraphError(
            f"{info.path} was exported from another checkpoint, {info.checkpoint_name} (SHA-256 {recorded[:8]}), than "
            f"{checkpoint} ({sha256[:8]}): bring that file back, or export the graph again"
        )
    return checkpoint


def report_lines(check: "GraphCheck") -> list[str]:
    """The figures of a comparison, for people."""
    shapes = ", ".join(f"{count} x {width}x{height}" for count, height, width in check.shapes)
    shown = f"{check.photographs} photographs" if check.photographs else "made-up images"
    lines = [f"  on {check.provider}, {shown} in batches of {shapes} px"]
    if check.emulated:
        lines.append(
            "  16-bit arithmetic was emulated: weights and activations rounded as in the graph, products in float32. "
            "It proves what rounding does, not that a GPU's kernels are right: repeat with --provider cuda there"
        )
    for name, output in check.outputs.items():
        lines.append(
            f"  {name}: largest difference {output.largest_difference:.3g}, cosine smallest "
            f"{output.smallest_cosine:.6f}, mean {output.mean_cosine:.6f}"
        )
    if check.blocks is not None:
        lines.append(
            f"  {check.blocks.blocks} blocks on the same inputs: largest difference "
            f"{check.blocks.largest_difference:.2g} of the largest value, smallest cosine "
            f"{check.blocks.smallest_cosine:.6f}"
        )
    if check.largest_activation is not None:
        lines.append(f"  largest activation {check.largest_activation:.5g}, at {check.largest_activation_at}")
    if check.matches is not None:
        lines.append(f"  {check.matches.kept} of {check.matches.found} mutual matches kept ({check.matches.share:.1%})")
    return lines
