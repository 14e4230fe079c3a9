"""Options and work that `--source` adds to the commands that export, verify or run graphs."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from engine.cli_digest import remembered_digest
from engine.cli_graph_images import PHOTOGRAPHS_WANTED, calibration_images, check_images
from engine.cli_options import option
from engine.context import Context
from engine.errors import Dinov3MatchError, GraphError, UsageError, WorkError
from engine.events import emit
from engine.progress import StageBars
from engine.sources import Wanted, downloads_blocked, foreign_code_blocked, requested_models
from models.contract import SOURCE_BUILTIN, SOURCE_HUB, SOURCES

if TYPE_CHECKING:
    from exporters.checkpoints import Digest
    from exporters.sources.loaded import LoadedSource


def source_option() -> Any:
    """`--source`."""
    return option(
        SOURCE_BUILTIN,
        "--source",
        type=str,
        choices=SOURCES,
        help="of weights and network: builtin (.pth files below WEIGHTS_ROOT); hub (the same files with the code of "
        "the clone at REPO_DIR); hf (Hugging Face; -w then also takes OWNER/NAME or a folder)",
    )


def hf_token_option() -> Any:
    """`--hf-token`."""
    return option(
        None,
        "--hf-token",
        type=str,
        metavar="TOKEN",
        help="with --source hf: token of an account with access to a gated repository (default: HF_TOKEN)",
    )


class SourceExportOptions(Protocol):
    """The options of `engine export` that count for every source."""

    @property
    def weights(self) -> list[str]: ...
    @property
    def group(self) -> str | None: ...
    @property
    def all_weights(self) -> bool: ...
    @property
    def precision(self) -> list[str]: ...
    @property
    def images(self) -> str | None: ...
    @property
    def calibrate(self) -> str | None: ...
    @property
    def format(self) -> str: ...
    @property
    def unofficial(self) -> bool: ...
    @property
    def source(self) -> str: ...
    @property
    def hf_token(self) -> str | None: ...


def export_from_source(options: SourceExportOptions, context: Context) -> int:
    """Exports networks of another source than `builtin`; a failed one does not stop the others."""
    requested = requested_models(list(options.weights), options.group, options.all_weights, options.source)
    if not requested:
        raise UsageError("say what to export: -w ALIAS, -g GROUP or --all-weights")
    failures = exported = 0
    digest = remembered_digest(context)
    for wanted in requested:
        for precision in options.precision:
            print(f"{wanted.alias}: exporting {wanted.model} of {wanted.source} to {precision}", flush=True)
            try:
                path = export_wanted(
                    wanted,
                    context,
                    precision,
                    options.hf_token,
                    images=options.images,
                    calibrate=options.calibrate if precision == "int8" else None,
                    torchscript=options.format == "torchscript",
                    unofficial=options.unofficial,
                    digest=digest,
                )
            except Dinov3MatchError as error:
                print(f"{wanted.alias}: {error}", file=sys.stderr)
                failures += 1
                continue
            exported += 1
            emit("graph_exported", alias=wanted.alias, precision=precision, path=path)
    print(f"{exported} of {exported + failures} graphs exported to {context.roots.graphs}")
    return 1 if failures else 0


def export_wanted(
    wanted: Wanted,
    context: Context,
    precision: str,
    hf_token: str | None,
    *,
    images: str | None = None,
    calibrate: str | None = None,
    torchscript: bool = False,
    unofficial: bool = False,
    digest: "Digest | None" = None,
) -> Path:
    """Loads, exports and verifies one network, and says how it went; returns the graph's path."""
    from exporters.export import export_source, graph_file, require_settings
    from exporters.precisions import precision_named
    from exporters.room import require_room
    from exporters.torchscript import export_torchscript

    folder = context.roots.graphs
    if wanted.backbone is not None and not torchscript:
        final = graph_file(folder, wanted.alias, precision, wanted.source)
        require_room(final, wanted.backbone, precision_named(precision))
    bars = StageBars(f"{wanted.alias} {precision}")
    try:
        loaded = load_wanted(wanted, context, hf_token, unofficial=unofficial, progress=bars, digest=digest)
        network: Any = loaded.network
        shown = check_images(images, network, context, precision in PHOTOGRAPHS_WANTED, loaded.resampling)
        calibrated_on = calibration_images(calibrate, network, loaded.resampling)
        require_settings(precision, shown, calibrated_on)
        if torchscript:
            report = export_torchscript(loaded, folder, precision, bars, images=shown)
        else:
            report = export_source(loaded, folder, precision, bars, images=shown, calibration_images=calibrated_on)
    finally:
        bars.close()
    for note in report.notes:
        print(f"{wanted.alias}: {note}")
    print(f"{wanted.alias}: {report.summary()}", flush=True)
    return report.graph_path


def load_wanted(
    wanted: Wanted,
    context: Context,
    hf_token: str | None,
    *,
    unofficial: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
    digest: "Digest | None" = None,
) -> "LoadedSource":
    """The network and its weights.

    Raises:
        WorkError: torch is not installed, or the network cannot be had.
    """
    try:
        from exporters.sources.hf import load_hf
        from exporters.sources.hub import load_hub, require_clone
    except ImportError as error:
        raise WorkError(
            f"export needs torch and onnx ({error}): install the extra 'export' (pip install 'dinov3-match[export]')"
        ) from error
    if wanted.source == SOURCE_HUB and wanted.backbone is not None:
        from engine.cli_export import checkpoint_of

        require_clone(context.roots.repository)
        return load_hub(
            wanted.backbone,
            context.roots.repository,
            checkpoint_of(wanted.backbone, context.roots.weights),
            block_network=foreign_code_blocked(context.values),
            unofficial=unofficial,
            progress=progress,
            digest=digest or remembered_digest(context),
        )
    return load_hf(
        wanted.alias,
        wanted.model,
        backbone=wanted.backbone,
        token=hf_token or context.values.get("HF_TOKEN", "").strip() or None,
        block_network=downloads_blocked(context.values),
        progress=progress,
    )


def export_missing_graph(wanted: Wanted, context: Context, precision: str, hf_token: str | None, path: Path) -> Path:
    """Exports a graph that a run needs and that is not there.

    Raises:
        GraphError: it cannot be exported.
    """
    print(f"{wanted.alias}: no graph {path}; exporting it from {wanted.model} of {wanted.source}", flush=True)
    try:
        return export_wanted(wanted, context, precision, hf_token)
    except WorkError as error:
        raise GraphError(f"no graph {path}, and {error}") from error
