"""`engine list`: every backbone, its checkpoint and its graphs."""

import shutil
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

from engine.cli_options import option
from engine.cli_types import whole_number
from engine.context import Context
from engine.digest_cache import DigestCache
from engine.errors import Dinov3MatchError, GraphError
from engine.graph_data import require_data_file
from engine.graph_opening import graph_metadata, graph_suffixes, runtime_for
from engine.plugin_registry import Registry
from engine.runtime import GraphInfo
from models.bundled import bundled_checkpoint, bundled_graph
from models.catalogue import BACKBONES, BUNDLED_ALIAS, Backbone
from models.contract import SOURCE_HF, SOURCE_HUB
from models.cost import gflops, parameters
from models.find import checkpoint_candidates

LICENCE = "https://github.com/facebookresearch/dinov3/blob/main/LICENSE.md"
LICENCES = {True: "trained for this program, Apache-2.0", False: "Meta, DINOv3 License"}
"""By whether the backbone is the bundled one."""

_OTHER_SOURCES = (SOURCE_HUB, SOURCE_HF)
"""What stands in the names of graphs that were not made from a checkpoint file."""


@dataclass(frozen=True)
class ListOptions:
    """Options of `engine list`."""

    weights: list[str] = option(
        (),
        "-w",
        "--weights",
        nargs="+",
        type=str,
        metavar="ALIAS",
        help="these backbones only",
        choices=list(BACKBONES),
    )
    image_size: int = option(
        336,
        "-i",
        "--image-size",
        type=whole_number(16, 16384),
        help="side of the square image that GFLOPs are given for",
    )
    check: bool = option(
        False, "--check", help="read every checkpoint and data file for its SHA-256 (else remembered ones are used)"
    )


def run_list(options: ListOptions, context: Context) -> int:
    """Prints the list; exit code 1 when a checkpoint or a graph is not what it should be."""
    wrong = 0
    for alias in options.weights or BACKBONES:
        entry = BACKBONES[alias]
        print(
            f"{alias:<10} {entry.group.value}, {parameters(entry) / 1e6:,.1f} million parameters, "
            f"{gflops(entry, options.image_size, options.image_size):,.1f} GFLOPs; {LICENCES[alias == BUNDLED_ALIAS]}"
        )
        for line, right in [checkpoint_line(entry, options, context), *graph_lines(entry, options, context)]:
            _say(line)
            wrong += not right
    if not options.weights:
        others = [graph_line(path, options, context.registry) for path in other_graphs(context)]
        if others:
            print("graphs of other models")
        for line, right in others:
            _say(line)
            wrong += not right
    print(f"GFLOPs: at {options.image_size} x {options.image_size} px\nDINOv3 License: {LICENCE}")
    print(f"checkpoints below {context.roots.weights}, graphs in {context.roots.graphs}")
    return 1 if wrong else 0


def _say(line: str) -> None:
    """Prints a line below a heading, whole in a file and wrapped between words in a terminal."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else len(line) + 4
    wrapper = textwrap.TextWrapper(
        width, initial_indent=" " * 4, subsequent_indent=" " * 6, break_long_words=False, break_on_hyphens=False
    )
    print(wrapper.fill(line))


def checkpoint_line(entry: Backbone, options: ListOptions, context: Context) -> tuple[str, bool]:
    """What is known of the backbone's checkpoint, and whether it is as it should be."""
    if entry.alias == BUNDLED_ALIAS and bundled_checkpoint().is_file():
        found = [bundled_checkpoint()]
    else:
        found = checkpoint_candidates(entry, context.roots.weights)
    if not found:
        return f"checkpoint: none (expected {entry.checkpoint_name})", True
    if len(found) > 1:
        return f"checkpoint: several, keep one: {', '.join(str(path) for path in found)}", False
    path = found[0]
    cache = DigestCache(context.roots.graphs)
    try:
        size = f"{path.stat().st_size / 1e6:,.0f} MB"
        sha256 = cache.sha256(path, fresh=True) if options.check else cache.known(path)
    except OSError as error:
        return f"checkpoint: {path} cannot be read: {error.strerror or error}", False
    if sha256 is None:
        return f"checkpoint: {path}, {size}, hash not read yet (--check reads it)", True
    if sha256.startswith(entry.sha256_prefix):
        return f"checkpoint: {path}, {size}, hash right (official)", True
    if sha256.startswith(path.stem[-8:].lower()):
        return f"checkpoint: {path}, {size}, hash as in its name (own weights, not the published ones)", True
    return f"checkpoint: {path}, {size}, hash WRONG ({sha256[:8]}): truncated or altered, download it again", False


def graph_lines(entry: Backbone, options: ListOptions, context: Context) -> list[tuple[str, bool]]:
    """A line for each graph of the backbone."""
    paths = [path for path in _graph_files(context) if _network(path) in _names(entry)]
    if entry.alias == BUNDLED_ALIAS and bundled_graph().is_file():
        paths.append(bundled_graph())
    return [graph_line(path, options, context.registry) for path in paths] or [("graphs: none", True)]


def other_graphs(context: Context) -> list[Path]:
    """Graph files that belong to no backbone, such as those of a model of Hugging Face that the user named."""
    known = {name for entry in BACKBONES.values() for name in _names(entry)}
    return [path for path in _graph_files(context) if _network(path) not in known]


def _graph_files(context: Context) -> list[Path]:
    suffixes = graph_suffixes(context.registry)
    return sorted(path for path in context.roots.graphs.glob("*") if path.suffix in suffixes)


def _network(path: Path) -> str:
    """What the name of a graph file says before its precision."""
    return path.stem.rpartition("-")[0]


def _names(entry: Backbone) -> set[str]:
    return {entry.alias, *(f"{entry.alias}-{source}" for source in _OTHER_SOURCES)}


def graph_line(path: Path, options: ListOptions, registry: Registry) -> tuple[str, bool]:
    """Precision, size on disk and verified figures of a graph, and whether it can be used."""
    try:
        metadata = dict(graph_metadata(path, runtime_for(path, registry)))
        info = GraphInfo.from_metadata(path, metadata)
        data = require_data_file(path.resolve(), metadata, fresh=options.check)
        size = path.stat().st_size + (0 if data is None else data.stat().st_size)
        return f"graph: {path}, {info.precision}, {size / 1e6:,.0f} MB, {verified_text(info)}", True
    except (Dinov3MatchError, OSError) as error:
        reason = error if isinstance(error, GraphError) else f"{path}: {error}"
        return f"graph: UNUSABLE: {reason}", False


def verified_text(info: GraphInfo) -> str:
    """The stored figures of a comparison with the source model."""
    check, quantisation = info.verification, info.quantisation
    if check is None:
        return "never verified"
    parts = [f"largest difference {check.largest_difference:.2g}", f"mean cosine {check.mean_cosine:.6f}"]
    if check.matches is not None:
        kept, found = check.matches
        parts.append(f"{kept / max(found, 1):.1%} of matches kept")
    on = f"{check.photographs} photographs" if check.photographs else "made-up images"
    how = ", emulated" if check.emulated else ""
    if quantisation.reduced_range:
        how += ", reduced 8-bit range"
    if quantisation.calibrated_on:
        how += f", calibrated on {quantisation.calibrated_on} photographs"
    return f"verified on {on} ({check.provider.removesuffix('ExecutionProvider')}{how}): {', '.join(parts)}"
