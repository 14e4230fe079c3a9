"""What the commands that run a graph share: options, the choice of graphs, the data set, and closing lines."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
from engine.graph_info import GraphInfo
from engine.graph_opening import graph_metadata, graph_suffixes, open_with, results_digest, runtime_for
from engine.graphs import (
    DEFAULT_PRECISION,
    ONNX_SUFFIX,
    GraphChoice,
    NoCheckpointError,
    OpenedGraph,
    choose_graphs,
    graph_path,
    graph_stem,
    requested_backbones,
)
from engine.loaded_graph import DEFAULT_RUNTIME
from engine.only_graph import PRECISIONS, require_own_name
from engine.pipeline import FailedImage
from engine.plugin_registry import Registry
from engine.progress import StageBars
from engine.providers import AUTO, PROVIDERS
from engine.sources import Wanted, requested_models, require_same_model
from models.bundled import bundled_checkpoint
from models.catalogue import BUNDLED_ALIAS, Backbone
from models.contract import SOURCE_BUILTIN, SOURCE_HUB
from models.find import checkpoint_candidates, no_checkpoint_text


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


@dataclass(frozen=True)
class ChosenGraphs:
    """The graphs that a command runs.

    Attributes:
        failed: backbones that were asked for and could not be exported; they are reported already.
    """

    choices: tuple[GraphChoice, ...]
    failed: int = 0

    def __iter__(self) -> Iterator[GraphChoice]:
        return iter(self.choices)

    def __len__(self) -> int:
        return len(self.choices)

    def run(self, run: Callable[[GraphChoice], int]) -> int:
        """Runs one graph after the other; returns the largest exit code.

        Among several, one that fails is reported on standard error and does not stop the others.

        Raises:
            WorkError: the only one failed.
        """
        code = 1 if self.failed else 0
        for choice in self.choices:
            try:
                code = max(code, run(choice))
            except WorkError as error:
                if len(self.choices) == 1:
                    raise
                emit("error", message=f"{choice.alias}: {error}", kind=type(error).__name__)
                print(f"{choice.alias}: {error}", file=sys.stderr)
                code = 1
        return code


def chosen_graphs(
    weights: list[str],
    group: str | None,
    all_weights: bool,
    context: Context,
    precision: str = DEFAULT_PRECISION,
    runtime: str | None = None,
    source: str = SOURCE_BUILTIN,
    hf_token: str | None = None,
) -> ChosenGraphs:
    """The graphs that `-w`, `-g` or `--all-weights` ask for; a missing one is exported if its checkpoint is there.

    Of a group, a backbone whose export fails is reported on standard error and left out.
    """
    failed: list[str] = []

    def report(alias: str, error: WorkError) -> None:
        print(f"{alias}: {error}", file=sys.stderr)
        failed.append(alias)

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
            _require_checkpoint(wanted.backbone if source == SOURCE_HUB else None, context, f"no graph {path}")
            if path.suffix != ONNX_SUFFIX:
                raise GraphError(f"no graph {path}: make one with 'engine export', or take --runtime onnxruntime")
            return export_missing_graph(wanted, context, precision, hf_token, path)

        models = requested_models(weights, group, all_weights, source)
        choices = choose_graphs(
            models, wide, context.roots.graphs, export_model, precision, suffixes, source, can_run, report
        )
        model_of = {wanted.alias: wanted for wanted in models}
        for choice in list(choices):
            if choice.alias in model_of:
                record = runtime_for(choice.path, context.registry, runtime)
                try:
                    require_same_model(choice.path, graph_metadata(choice.path, record), model_of[choice.alias])
                except GraphError as error:
                    if not wide:
                        raise
                    report(choice.alias, error)
                    choices.remove(choice)
        return ChosenGraphs(tuple(choices), len(failed))
    requested = requested_backbones(weights, group, all_weights)
    found = choose_graphs(
        requested,
        wide,
        context.roots.graphs,
        export_missing,
        precision,
        suffixes,
        can_run=can_run,
        on_failure=report,
    )
    return ChosenGraphs(tuple(found), len(failed))


def _has_gpu_provider() -> bool:
    """Whether ONNX Runtime has a provider with products of bf16, which that of CPUs lacks."""
    import onnxruntime

    return any(name != PROVIDERS["cpu"] for name in onnxruntime.get_available_providers() if name in PROVIDERS.values())


def _export(entry: Backbone, context: Context, precision: str, suffix: str = ONNX_SUFFIX) -> Path:
    """Exports a graph that is missing. Import of torch happens here and nowhere else on the way to matching."""
    path = graph_path(context.roots.graphs, entry.alias, precision, (suffix,))
    missing = f"no graph {path}"
    _require_checkpoint(entry, context, missing)
    if suffix != ONNX_SUFFIX:
        raise GraphError(f"{missing}: make one with 'engine export', or take --runtime onnxruntime")
    try:
        from engine.cli_digest import remembered_digest
        from engine.cli_export import checkpoint_of
        from exporters.export import export_backbone
    except ImportError as error:
        raise GraphError(
            f"{missing}, and it cannot be exported here ({error}): install the extra 'export' "
            "(pip install 'dinov3-match[export]'), or bring the graph"
        ) from error
    try:
        checkpoint = checkpoint_of(entry, context.roots.weights)
    except WorkError as error:
        raise GraphError(f"{missing}, and {error}") from error
    print(f"{entry.alias}: {missing}; exporting it from {checkpoint}", flush=True)
    bars = StageBars(f"{entry.alias} {precision}")
    try:
        images = check_images(None, entry, context, needed=precision in PHOTOGRAPHS_WANTED)
        report = export_backbone(
            entry,
            checkpoint,
            context.roots.graphs,
            precision,
            progress=bars,
            images=images,
            digest=remembered_digest(context),
        )
    finally:
        bars.close()
    print(f"{entry.alias}: {report.summary()}", flush=True)
    emit("graph_exported", alias=entry.alias, precision=precision, path=report.graph_path)
    return report.graph_path


def _require_checkpoint(entry: Backbone | None, context: Context, missing: str) -> None:
    """Raises NoCheckpointError where no file could be the checkpoint; torch is not needed to see that."""
    if entry is None or (entry.alias == BUNDLED_ALIAS and bundled_checkpoint().is_file()):
        return
    if not checkpoint_candidates(entry, context.roots.weights):
        raise NoCheckpointError(f"{missing}, and {no_checkpoint_text(entry, context.roots.weights)}")


def opened(choice: GraphChoice, provider: str, registry: Registry, runtime_name: str | None = None) -> OpenedGraph:
    """Loads a graph on a provider and says which one it runs on.

    Raises:
        GraphError: the file is missing, damaged, not ours, or another graph than its name says.
        ProviderError: it does not run on this provider.
    """
    record = runtime_for(choice.path, registry, runtime_name)
    require_own_name(GraphInfo.from_metadata(choice.path, graph_metadata(choice.path, record)))
    with ThreadPoolExecutor(1, thread_name_prefix="digest") as beside:  # both read the whole file, one on each core
        digest = beside.submit(file_sha256, choice.path)
        runtime = open_with(record, choice.path, provider)
    if choice.said:
        print(choice.said)
    how = " (chosen by auto)" if provider == AUTO else ""
    print(f"{choice.alias}: {choice.path} on {runtime.provider}{how}")
    sha256 = results_digest(digest.result(), record.name, runtime.provider)
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
