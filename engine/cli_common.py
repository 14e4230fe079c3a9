"""What the commands that run a graph share: options, the choice of graphs, the data set, and closing lines."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from engine.cli_graph_images import PHOTOGRAPHS_WANTED, check_images
from engine.cli_options import option
from engine.cli_sources import export_missing_graph
from engine.context import Context
from engine.dataset import ImageEntry
from engine.digest import file_sha256
from engine.encoding import DECODES, FAST
from engine.errors import GraphError, WorkError
from engine.events import emit
from engine.failed_images import update_failed_list
from engine.graph_opening import graph_metadata, graph_suffixes, open_with, results_digest, runtime_for
from engine.graphs import (
    DEFAULT_PRECISION,
    ONNX_SUFFIX,
    GraphChoice,
    OpenedGraph,
    choose_graphs,
    graph_path,
    graph_stem,
    requested_backbones,
)
from engine.loaded_graph import DEFAULT_RUNTIME
from engine.only_graph import PRECISIONS
from engine.pipeline import FailedImage
from engine.plugin_registry import Registry
from engine.providers import AUTO, PROVIDERS
from engine.sources import Wanted, requested_models, require_same_model
from models.catalogue import Backbone
from models.contract import SOURCE_BUILTIN


def precision_option() -> Any:
    """`--precision` of the commands that run graphs."""
    return option(
        DEFAULT_PRECISION,
        "--precision",
        type=str,
        choices=PRECISIONS,
        help="of the graph: bf16 for GPUs, int8 for CPUs",
    )


def runtime_option() -> Any:
    """`--runtime` of the commands that run graphs."""
    return option(
        None,
        "--runtime",
        type=str,
        metavar="NAME",
        help="what executes the graph: onnxruntime, openvino, torchscript or a plugin's (default: onnxruntime for "
        ".onnx files, else the one that reads the file)",
    )


def decode_option() -> Any:
    """`--decode` of the commands that encode photographs."""
    return option(
        FAST,
        "--decode",
        type=str,
        choices=DECODES,
        help="fast: large JPEGs are decoded at 1/2 to 1/8 of their size as far as the input allows, on average within "
        "one grey level of exact",
    )


def chosen_graphs(
    weights: list[str],
    group: str | None,
    all_weights: bool,
    context: Context,
    precision: str = DEFAULT_PRECISION,
    runtime: str | None = None,
    source: str = SOURCE_BUILTIN,
    hf_token: str | None = None,
) -> list[GraphChoice]:
    """The graphs that `-w`, `-g` or `--all-weights` ask for; a missing one is exported if its checkpoint is there."""
    suffixes = graph_suffixes(context.registry, runtime)

    def export_missing(entry: Backbone) -> Path:
        return _export(entry, context, precision, suffixes[0])

    def can_run(precision: str) -> bool:
        return precision != "bf16" or runtime not in (None, DEFAULT_RUNTIME) or _has_gpu_provider()

    wide = all_weights or group is not None
    if source != SOURCE_BUILTIN:

        def export_model(wanted: Wanted) -> Path:
            stem = graph_stem(wanted.alias, source)
            path = graph_path(context.roots.graphs, stem, precision, suffixes)
            if path.suffix != ONNX_SUFFIX:
                raise GraphError(f"no graph {path}: make one with 'engine export', or take --runtime onnxruntime")
            return export_missing_graph(wanted, context, precision, hf_token, path)

        models = requested_models(weights, group, all_weights, source)
        choices = choose_graphs(models, wide, context.roots.graphs, export_model, precision, suffixes, source, can_run)
        for choice, wanted in ((choice, wanted) for choice in choices for wanted in models):
            if choice.alias == wanted.alias:
                record = runtime_for(choice.path, context.registry, runtime)
                require_same_model(choice.path, graph_metadata(choice.path, record), wanted)
        return choices
    requested = requested_backbones(weights, group, all_weights)
    return choose_graphs(requested, wide, context.roots.graphs, export_missing, precision, suffixes, can_run=can_run)


def _has_gpu_provider() -> bool:
    """Whether ONNX Runtime has a provider with products of bf16, which that of CPUs lacks."""
    import onnxruntime

    return any(name != PROVIDERS["cpu"] for name in onnxruntime.get_available_providers() if name in PROVIDERS.values())


def _export(entry: Backbone, context: Context, precision: str, suffix: str = ONNX_SUFFIX) -> Path:
    """Exports a graph that is missing. Import of torch happens here and nowhere else on the way to matching."""
    path = graph_path(context.roots.graphs, entry.alias, precision, (suffix,))
    missing = f"no graph {path}"
    if suffix != ONNX_SUFFIX:
        raise GraphError(f"{missing}: make one with 'engine export', or take --runtime onnxruntime")
    try:
        from engine.cli_export import checkpoint_of
        from exporters.export import export_backbone
    except ImportError as error:
        raise GraphError(
            f"{missing}, and it cannot be exported here ({error}): install the extra 'export', or bring the graph"
        ) from error
    try:
        checkpoint = checkpoint_of(entry, context.roots.weights)
    except WorkError as error:
        raise GraphError(f"{missing}, and {error}") from error
    print(f"{entry.alias}: {missing}; exporting it from {checkpoint}", flush=True)
    images = check_images(None, entry, context, needed=precision in PHOTOGRAPHS_WANTED)
    return export_backbone(entry, checkpoint, context.roots.graphs, precision, images=images).graph_path


def opened(choice: GraphChoice, provider: str, registry: Registry, runtime_name: str | None = None) -> OpenedGraph:
    """Loads a graph on a provider and says which one it runs on."""
    record = runtime_for(choice.path, registry, runtime_name)
    runtime = open_with(record, choice.path, provider)
    if choice.said:
        print(choice.said)
    how = " (chosen by auto)" if provider == AUTO else ""
    print(f"{choice.alias}: {choice.path} on {runtime.provider}{how}")
    sha256 = results_digest(file_sha256(choice.path), record.name, runtime.provider)
    emit("graph_opened", alias=choice.alias, path=choice.path, provider=runtime.provider, sha256=sha256)
    return OpenedGraph(choice, runtime, sha256)


def report_failures(
    failed: Iterable[FailedImage], tried: Iterable[ImageEntry] = (), list_path: Path | None = None
) -> int:
    """Lists photographs that could not be read, on standard error and in a file; returns how many there are.

    Args:
        tried: all photographs of the run.
        list_path: the file (see `engine.failed_images`), or None for none.

    Raises:
        WriteError: the file cannot be written.
    """
    listed = list(failed)
    if listed:
        print(f"{len(listed)} photograph(s) could not be read:", file=sys.stderr)
    for item in listed:
        print(f"  {item.entry.key}: {item.reason}", file=sys.stderr)
    if list_path is not None:
        update_failed_list(list_path, tried, listed)
        if listed:
            print(f"They are listed in {list_path}, and tried again next time.", file=sys.stderr)
    return len(listed)
