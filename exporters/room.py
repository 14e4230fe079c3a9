"""Whether disk and memory suffice for an export or a verification: said with numbers, before the work."""

import contextlib
import shutil
from pathlib import Path

from exporters.graph_builder import GraphBuilder
from exporters.graph_file import SINGLE_FILE_LIMIT_BYTES
from exporters.precisions import Precision
from exporters.verify import parts_needed
from models.catalogue import Backbone
from models.errors import WorkError

DISK_MARGIN_BYTES = 1 << 26
MEMORY_MARGIN_BYTES = 500_000_000
"""Python, PyTorch and ONNX Runtime themselves, and the activations of the images compared."""


def require_free_disk(final: Path, needed: int) -> None:
    """Raises WorkError where so many bytes, and some more, do not fit beside `final`."""
    free = shutil.disk_usage(final.parent).free
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
    """An estimate of the anonymous memory that verifying a graph takes on the CPU, in bytes.

    A whole graph is held twice while ONNX Runtime packs its weights, an emulated one in float32 besides. Part by part,
    one block of the graph is in memory.
    """
    total = network.weight_bytes
    copies = 2.0 if precision.half is None else 4.0
    if parts_needed(total, precision, backbone):
        blocks: dict[str, int] = {}
        for weight in network.weights.values():
            key = ".".join(weight.name.split(".")[:2])
            blocks[key] = blocks.get(key, 0) + weight.bytes
        inline = total if total <= SINGLE_FILE_LIMIT_BYTES else 0
        return int(max(blocks.values()) * copies) + inline
    return int(total * copies)


def available_memory() -> int | None:
    """Bytes of memory that can be had without swapping, as Linux tells; None elsewhere."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None
