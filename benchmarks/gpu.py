"""Checks that only a GPU can do: `python -m benchmarks.gpu [GRAPH …]`. Without a GPU it says so and exits with 0.

For each graph (by default that of the bundled backbone): whether the CUDA provider really runs it, which nodes it left
on the CPU, how far its outputs are from those of the CPU provider, and images per second beside it. Then a large
backbone runs in bf16 beside `torch.compile` and a bare matrix product (`benchmarks/gpu_torch.py`, needs a torch with
CUDA), and all pairs of a large data set are matched on the card (`benchmarks/gpu_matching.py`). Prints a table in
Markdown, with the date and the card, to be kept in the documents.
"""

import argparse
import datetime
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from benchmarks.gpu_matching import measure_matching
from engine.errors import Dinov3MatchError
from engine.runtime import OnnxRuntime, open_graph
from models.bundled import bundled_graph
from models.catalogue import Backbone, backbone
from models.contract import INPUT_IMAGE, OUTPUT_GLOBAL_DESCRIPTOR, OUTPUT_PATCH_TOKENS

CUDA = "CUDAExecutionProvider"
SIDE_PX, BATCH, REPEATS = 336, 8, 10
SIXTEEN_BITS = ("bf16", "fp16")
"""Precisions that are for GPUs alone."""


@dataclass(frozen=True)
class Row:
    """One graph's figures. `cpu_nodes` counts operators that ran on the CPU by name.

    `cpu_images_s` is None for a graph of 16 bits, which is not for CPUs.
    """

    graph: str
    cpu_nodes: Counter[str]
    cuda_nodes: int
    largest_difference: float
    smallest_cosine: float
    cuda_images_s: float
    cpu_images_s: float | None


def card() -> str | None:
    """Name of the first GPU, as the driver tells it; None where there is none."""
    try:
        asked = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        answer = subprocess.run(asked, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.splitlines()[0].strip() if answer.stdout.strip() else None


def images(count: int, seed: int = 0) -> NDArray[np.uint8]:
    """Noise at several scales, [count, SIDE_PX, SIDE_PX, 3] uint8."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, SIDE_PX // 16, SIDE_PX // 16, 3))
    fine = rng.integers(-40, 41, (count, SIDE_PX, SIDE_PX, 3))
    return np.clip(coarse.repeat(16, axis=1).repeat(16, axis=2) + fine, 0, 255).astype(np.uint8)


def images_per_second(runtime: OnnxRuntime, batch: NDArray[np.uint8]) -> float:
    """Median over repeats, after a warm-up."""
    runtime(batch)
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        runtime(batch)
        times.append(time.perf_counter() - started)
    return len(batch) / float(np.median(times))


def placed_nodes(graph: Path, batch: NDArray[np.uint8]) -> tuple[int, Counter[str]]:
    """Nodes that ran on CUDA, and operators that ran on the CPU, from a profile of one run."""
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session: Any = onnxruntime.InferenceSession(str(graph), options, providers=[CUDA])
        session.run([OUTPUT_PATCH_TOKENS, OUTPUT_GLOBAL_DESCRIPTOR], {INPUT_IMAGE: batch})
        events = json.loads(Path(session.end_profiling()).read_text())
    nodes = [event["args"] for event in events if event.get("cat") == "Node" and "provider" in event.get("args", {})]
    on_cpu = Counter(node["op_name"] for node in nodes if node["provider"] != CUDA)
    return len(nodes) - sum(on_cpu.values()), on_cpu


def measure(graph: Path) -> Row:
    """All figures of one graph; one of 16 bits is compared with the fp32 graph of its backbone beside it.

    Raises:
        Dinov3MatchError: the graph cannot be loaded, or does not start on CUDA; there is no graph to compare with.
    """
    cuda = open_graph(graph, "cuda")
    of_16_bits = cuda.graph.precision in SIXTEEN_BITS
    cpu = open_graph(graph.with_name(f"{cuda.graph.alias}-fp32.onnx") if of_16_bits else graph, "cpu")
    batch = images(BATCH)
    tokens, reference = cuda(batch)[0], cpu(batch)[0]
    cosine = (tokens * reference).sum(axis=2) / (np.linalg.norm(tokens, axis=2) * np.linalg.norm(reference, axis=2))
    cuda_nodes, on_cpu = placed_nodes(graph, batch[:1])
    return Row(
        graph=graph.name,
        cpu_nodes=on_cpu,
        cuda_nodes=cuda_nodes,
        largest_difference=float(np.abs(tokens - reference).max()),
        smallest_cosine=float(cosine.min()),
        cuda_images_s=images_per_second(cuda, batch),
        cpu_images_s=None if of_16_bits else images_per_second(cpu, batch),
    )


def table(rows: list[Row], gpu: str) -> str:
    """Markdown."""
    today = datetime.date.today().isoformat()
    head = (
        f"{today}, {gpu}, ONNX Runtime {onnxruntime.__version__}, {BATCH} x {SIDE_PX} px\n\n"
        "| graph | images/s CUDA | images/s CPU | largest difference | smallest cosine | nodes on CUDA | on the CPU |\n"
        "| --- | --- | --- | --- | --- | --- | --- |\n"
    )
    lines = [
        f"| {row.graph} | {row.cuda_images_s:.0f} | {'' if row.cpu_images_s is None else f'{row.cpu_images_s:.1f}'} "
        f"| {row.largest_difference:.2g} | {row.smallest_cosine:.6f} | {row.cuda_nodes} | "
        f"{', '.join(f'{count} {name}' for name, count in row.cpu_nodes.items()) or 'none'} |"
        for row in rows
    ]
    return head + "\n".join(lines)


def beside_torch(entry: Backbone) -> str:
    """The backbone's bf16 graph beside PyTorch, in a line; or why that could not be measured."""
    try:
        import torch
    except ImportError:
        return f"{entry.alias} beside PyTorch: not measured, torch is not installed"
    if not torch.cuda.is_available():
        return f"{entry.alias} beside PyTorch: not measured, this torch ({torch.__version__}) has no CUDA"
    from benchmarks.gpu_torch import BATCH as TORCH_BATCH
    from benchmarks.gpu_torch import measure_backbone

    with tempfile.TemporaryDirectory() as folder:
        return str(measure_backbone(entry, images(TORCH_BATCH), Path(folder)))


def main(arguments: list[str]) -> int:
    """Runs the checks; 1 when a GPU is there but a graph does not run on it."""
    parser = argparse.ArgumentParser("python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("graphs", nargs="*", type=Path, default=[bundled_graph()], help="graph files")
    parser.add_argument("--backbone", default="vitl16", metavar="ALIAS", help="beside PyTorch (default: %(default)s)")
    options = parser.parse_args(arguments)
    graphs = options.graphs
    gpu = card()
    if gpu is None:
        print("no GPU: nvidia-smi finds none; nothing was measured")
        return 0
    if CUDA not in onnxruntime.get_available_providers():
        print(f"{gpu} is there, but this ONNX Runtime has no CUDA provider: install the extra 'gpu'", file=sys.stderr)
        return 1
    try:
        print(table([measure(graph) for graph in graphs], gpu))
        print(f"\n{beside_torch(backbone(options.backbone))}")
        print(f"\n{measure_matching(CUDA)}")
    except Dinov3MatchError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
