"""`engine export`: checkpoints to graphs."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli_digest import remembered_digest
from engine.cli_graph_images import PHOTOGRAPHS_WANTED, calibration_images, check_images
from engine.cli_options import option
from engine.cli_sources import export_from_source, hf_token_option, source_option
from engine.context import Context
from engine.errors import Dinov3MatchError, UsageError, WorkError
from engine.events import emit
from engine.graphs import requested_backbones
from engine.progress import StageBars
from models.bundled import bundled_checkpoint
from models.catalogue import BUNDLED_ALIAS, Backbone, Group
from models.contract import SOURCE_BUILTIN

if TYPE_CHECKING:
    from exporters.check_images import CheckImages
    from exporters.checkpoints import Digest
    from exporters.export import ExportReport

FORMATS = ("onnx", "torchscript")


@dataclass(frozen=True)
class ExportOptions:
    """Options of `engine export`."""

    weights: list[str] = option((), "-w", "--weights", nargs="+", type=str, metavar="ALIAS", help="backbones to export")
    group: str | None = option(
        None,
        "-g",
        "--group",
        type=str,
        metavar="GROUP",
        help=f"all of a group: {', '.join(entry.value for entry in Group)}",
    )
    all_weights: bool = option(False, "--all-weights", help="all backbones whose checkpoint is found")
    precision: list[str] = option(
        ("fp32",),
        "--precision",
        nargs="+",
        type=str,
        metavar="NAME",
        help="fp32; bf16 for GPUs; fp16 where the checkpoint stays within its range; int8 for CPUs; several for a "
        "graph of each",
    )
    images: str | None = option(
        None,
        "--images",
        type=str,
        metavar="DIR",
        help="photographs to compare graph and source model on; else made-up images, for fp16 and int8 IMG_ROOT",
    )
    calibrate: str | None = option(
        None,
        "--calibrate",
        type=str,
        metavar="DIR",
        help="photographs that int8 activations are calibrated on (at most 32); else each call takes its own ranges",
    )
    format: str = option(
        "onnx",
        "--format",
        type=str,
        choices=FORMATS,
        help="of the graph file: onnx, or torchscript (fp32 only; deprecated by PyTorch)",
    )
    source: str = source_option()
    hf_token: str | None = hf_token_option()
    unofficial: bool = option(
        False, "--unofficial", help="accept a checkpoint whose SHA-256 is neither Meta's nor that of its own name"
    )


def run_export(options: ExportOptions, context: Context) -> int:
    """Exports one graph after the other; a failed one does not stop the others. Exit code 1 when any failed."""
    if not (options.weights or options.group or options.all_weights):
        raise UsageError("say what to export: -w ALIAS, -g GROUP or --all-weights")
    if options.source == SOURCE_BUILTIN:
        requested = requested_backbones(list(options.weights), options.group, options.all_weights)
    try:
        from exporters.checkpoints import AmbiguousCheckpointError, CheckpointError
        from exporters.export import export_backbone
        from exporters.precisions import precision_named
    except ImportError as error:
        raise WorkError(
            f"export needs torch and onnx ({error}): install the extra 'export' (pip install 'dinov3-match[export]')"
        ) from error
    for name in options.precision:
        precision_named(name)
    if options.calibrate is not None and "int8" not in options.precision:
        raise UsageError("--calibrate is for int8 graphs: add --precision int8, or leave it out")
    if options.format == "torchscript" and list(options.precision) != ["fp32"]:
        raise UsageError("--format torchscript knows --precision fp32 only: take --format onnx for the others")
    if options.source != SOURCE_BUILTIN:
        return export_from_source(options, context)
    wide = options.all_weights or options.group is not None
    failures: list[str] = []
    absent: list[str] = []
    exported = 0
    digest = remembered_digest(context)
    for entry in requested:
        try:
            checkpoint = checkpoint_of(entry, context.roots.weights)
        except AmbiguousCheckpointError as error:
            print(f"{entry.alias}: {error}", file=sys.stderr)
            failures.append(entry.alias)
            continue
        except CheckpointError as error:
            if wide:
                absent.append(entry.alias)
            else:
                print(f"{entry.alias}: {error}", file=sys.stderr)
                failures.append(entry.alias)
            continue
        for precision in options.precision:
            print(f"{entry.alias}: exporting {checkpoint} to {precision}", flush=True)
            bars = StageBars(f"{entry.alias} {precision}")
            try:
                needed = precision in PHOTOGRAPHS_WANTED
                images = check_images(options.images, entry, context, needed)
                if options.format == "torchscript":
                    report = _to_torchscript(entry, checkpoint, context.roots.graphs, options, bars, images, digest)
                else:
                    report = export_backbone(
                        entry,
                        checkpoint,
                        context.roots.graphs,
                        precision,
                        unofficial=options.unofficial,
                        progress=bars,
                        images=images,
                        calibration_images=calibration_images(
                            options.calibrate if precision == "int8" else None, entry
                        ),
                        digest=digest,
                    )
            except Dinov3MatchError as error:
                print(f"{entry.alias}: {error}", file=sys.stderr)
                failures.append(entry.alias)
                continue
            finally:
                bars.close()
            exported += 1
            print(f"{entry.alias}: {report.summary()}", flush=True)
            emit("graph_exported", alias=entry.alias, precision=precision, path=report.graph_path)
    if absent:
        print(f"no checkpoint below {context.roots.weights} (WEIGHTS_ROOT): {', '.join(absent)}", file=sys.stderr)
    print(f"{exported} of {len(requested) * len(options.precision)} graphs exported to {context.roots.graphs}")
    return 1 if failures or not exported else 0


def _to_torchscript(
    entry: Backbone,
    checkpoint: Path,
    folder: Path,
    options: ExportOptions,
    bars: StageBars,
    images: "CheckImages | None",
    digest: "Digest",
) -> "ExportReport":
    from exporters.sources.builtin import load_builtin
    from exporters.torchscript import export_torchscript

    source = load_builtin(entry, checkpoint, unofficial=options.unofficial, progress=bars, digest=digest)
    return export_torchscript(source, folder, progress=bars, images=images)


def checkpoint_of(entry: Backbone, weights_root: Path) -> Path:
    """The checkpoint below `WEIGHTS_ROOT`; of the bundled backbone, the one that ships with the program.

    Raises:
        CheckpointError: there is none, or several could be it.
    """
    from exporters.checkpoints import find_checkpoint

    if entry.alias == BUNDLED_ALIAS and bundled_checkpoint().is_file():
        return bundled_checkpoint()
    return find_checkpoint(entry, weights_root)
