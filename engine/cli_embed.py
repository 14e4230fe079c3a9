"""`engine embed`: encodes photographs and stores their feature maps."""

from dataclasses import dataclass
from pathlib import Path

from engine.cli_common import chosen_graphs, decode_option, opened, precision_option, report_failures, runtime_option
from engine.cli_options import option
from engine.cli_sources import hf_token_option, source_option
from engine.cli_types import whole_number
from engine.context import Context
from engine.dataset import DEFAULT_EXTS, DEFAULT_REGEX, ImageEntry, scan_for
from engine.errors import ImageReadError
from engine.events import emit
from engine.failed_images import failed_list_path
from engine.graphs import GraphChoice
from engine.photograph_encoder import PhotographEncoder
from engine.pipeline import FailedImage
from engine.progress import progress_bar
from engine.providers import short_name
from engine.runtime import check_provider
from engine.stage_times import StageTimes

TIMED_PHOTOGRAPHS = 10
"""From so many photographs on, the summary says where the time went."""


@dataclass(frozen=True)
class EmbedOptions:
    """Options of `engine embed`."""

    image_a: str | None = option(
        None,
        "-a",
        "--image-a",
        type=str,
        metavar="IMAGE",
        help="ALT.FRAME, ALT (the whole altitude), ID:ALT.FRAME, ID:ALT, or an image file; without it, all photographs",
    )
    weights: list[str] = option(
        (),
        "-w",
        "--weights",
        nargs="+",
        type=str,
        metavar="ALIAS",
        help="backbones to run (default: the only exported graph; with none, the bundled one)",
    )
    group: str | None = option(None, "-g", "--group", type=str, metavar="GROUP", help="all backbones of a group")
    all_weights: bool = option(False, "--all-weights", help="all backbones that have a graph or a checkpoint")
    precision: str = precision_option()
    image_size: int = option(
        336, "-i", "--image-size", type=whole_number(16, 16384), help="shorter side of the encoded image, pixels"
    )
    provider: str = option(
        "auto", "--provider", "--device", type=str, help="auto, cuda, cpu or another ONNX Runtime provider"
    )
    runtime: str | None = runtime_option()
    source: str = source_option()
    hf_token: str | None = hf_token_option()
    images: str | None = option(
        None, "--images", type=str, metavar="DIR", help="folder of the photographs (default: IMG_ROOT)"
    )
    regex: str | None = option(
        None, "--regex", type=str, help=f"rule of the file names, with these three groups (default: {DEFAULT_REGEX})"
    )
    exts: list[str] = option(
        (), "--exts", nargs="+", type=str, metavar="EXT", help=f"file suffixes (default: {' '.join(DEFAULT_EXTS)})"
    )
    decode: str = decode_option()
    workers: int | None = option(
        None,
        "--workers",
        type=whole_number(1, 256),
        help="threads that decode photographs (default: one per core, at most 8)",
    )
    batch: int | None = option(
        None,
        "--batch",
        type=whole_number(1, 1024),
        help="photographs of one size encoded together (default: 1 on a CPU, 16 elsewhere; halved where memory ends)",
    )


def run_embed(options: EmbedOptions, context: Context) -> int:
    """Encodes and stores; exit code 1 when a photograph or a graph failed."""
    check_provider(options.provider)
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
    data_set = scan_for(image_root, (options.image_a,), options.regex, list(options.exts) or None)
    entries = data_set.entries if options.image_a is None else data_set.find(options.image_a)
    print(f"{len(entries)} photographs")
    emit("photographs_found", photographs=len(entries), pairs=0)
    return choices.run(lambda choice: _embed(choice, entries, image_root, options, context))


def _embed(
    choice: GraphChoice, entries: tuple[ImageEntry, ...], image_root: Path, options: EmbedOptions, context: Context
) -> int:
    graph = opened(choice, options.provider, context.registry, options.runtime)
    failed, times = [], StageTimes()
    with PhotographEncoder(
        graph.runtime,
        graph.sha256,
        options.image_size,
        image_root,
        context.roots.embeds,
        decode=options.decode,
        times=times,
    ) as encoder:
        encoded = encoder.encode_all(entries, workers=options.workers, batch=options.batch)
        for entry, found in progress_bar(encoded, len(entries), "photo", f"encode on {short_name(encoder.provider)}"):
            if isinstance(found, ImageReadError):
                failed.append(FailedImage(entry, str(found)))
                emit("image_failed", key=entry.key, path=entry.path, reason=str(found))
            else:
                emit("image_encoded", key=entry.key, path=entry.path)
    print(encoder.summary())
    if len(entries) >= TIMED_PHOTOGRAPHS:
        print("\n".join(times.table()))
    list_path = failed_list_path(context.roots.embeds, choice.alias)
    return 1 if report_failures(failed, entries, list_path) else 0
