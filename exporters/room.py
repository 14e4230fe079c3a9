"""Whether disk and memory suffice for an export or a verification: said with numbers, before the work."""

import contextlib
import shutil
from pathlib import Path

import torch

from exporters.graph_builder import GraphBuilder
from exporters.graph_file import SINGLE_FILE_LIMIT_BYTES
from exporters.onnx_graph import build_graph
from exporters.precisions import Precision
from exporters.verify import parts_needed
from models.build import expected_shapes
from models.catalogue import Backbone
from models.errors import WorkError

DISK_MARGIN_BYTES = 1 << 26
MEMORY_MARGIN_BYTES = 500_000_000
"""Python, PyTorch and ONNX Runtime themselves, and the activations of the images compared."""

EMULATION_MARGIN_BYTES = 400_000_000
"""More activations where a whole graph is emulated: wide, narrow and as magnitudes, and no memory is used again."""

_WHOLE_COPIES, _INTEGER_COPIES, _EMULATED_COPIES = 2.0, 3.0, 4.0
"""Of a whole graph's weights: as read and as packed; of 8 bits, read, kept and packed; of 16 bits, in float32 too."""

_MAPPED_BLOCK_COPIES, _INLINE_BLOCK_COPIES, _INLINE_COPIES = 2.0, 6.0, 2.0
"""Part by part: of a block whose weights are mapped; of one whose weights are in the graph file: as a message, its
bytes, parsed, kept, and in float32; and of that whole file, its bytes and the message."""

_TRACED_COPIES = 3.0
"""Of a traced graph's weights beside those of the model: as a message and its bytes, then as read and packed."""


def require_room(final: Path, backbone: Backbone, precision: Precision) -> None:
    """Raises WorkError where disk or memory are short for an export, from the network's shapes: no file is read."""
    one = torch.ones(())
    state = {key: one.expand(shape) for key, shape in expected_shapes(backbone).items()}
    network = build_graph(backbone, state, precision)
    require_free_disk(final, network.weight_bytes)
    require_memory(final.name, network, precision, backbone)


def require_room_to_trace(final: Path, weight_bytes: int) -> None:
    """The same for a network that is traced, and in memory already."""
    require_free_disk(final, weight_bytes)
    require_memory_for(MEMORY_MARGIN_BYTES + int(weight_bytes * _TRACED_COPIES), f"tracing and verifying {final.name}")


def require_free_disk(final: Path, needed: int) -> None:
    """Raises WorkError where so many bytes, and some more, do not fit at `final`, whose folder need not be there."""
    try:
        free = shutil.disk_usage(next(folder for folder in final.absolute().parents if folder.exists())).free
    except OSError:
        return  # out of reach: what makes the folder tells why
    if free < needed + DISK_MARGIN_BYTES:
        raise WorkError(
            f"{final.parent} has {free / 1e6:.0f} MB free and {final.name} needs {needed / 1e6:.0f} MB; free some "
            "space or set GRAPH_ROOT to another disk"
        )


def require_memory(name: str, network: GraphBuilder, precision: Precision, backbone: Backbone) -> None:
    """Raises WorkError where memory is short. Weights are mapped and written one by one; verifying takes memory."""
    needed = MEMORY_MARGIN_BYTES + verification_memory(network, precision, backbone)
    require_memory_for(needed, f"verifying {name}")


def require_memory_for(needed: int, what: str) -> None:
    """Raises WorkError where less memory is free than `what` needs."""
    free = available_memory()
    if free is not None and free < needed:
        raise WorkError(
            f"{free / 1e9:.1f} GB of memory are free, and {what} needs {needed / 1e9:.1f} GB; end other programs or "
            "take a larger machine"
        )


def verification_memory(network: GraphBuilder, precision: Precision, backbone: Backbone) -> int:
    """An estimate of the anonymous memory that verifying a graph takes on the CPU, in bytes, without what every program
    of this kind takes (`MEMORY_MARGIN_BYTES`). With it, it is at least what `benchmarks/export` measures.
    """
    total = network.weight_bytes
    if parts_needed(total, precision, backbone):
        blocks: dict[str, int] = {}
        for weight in network.weights.values():
            key = ".".join(weight.name.split(".")[:2])
            blocks[key] = blocks.get(key, 0) + weight.bytes
        largest = max(blocks.values())
        if total > SINGLE_FILE_LIMIT_BYTES:
            return int(largest * _MAPPED_BLOCK_COPIES)
        return int(largest * _INLINE_BLOCK_COPIES + total * _INLINE_COPIES)
    if precision.half is not None:
        return int(total * _EMULATED_COPIES) + EMULATION_MARGIN_BYTES
    return int(total * (_INTEGER_COPIES if precision.integer else _WHOLE_COPIES))


def available_memory() -> int | None:
    """Bytes of memory that can be had without swapping, as Linux tells; None elsewhere."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
