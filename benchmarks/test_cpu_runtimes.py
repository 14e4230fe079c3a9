"""Runtimes and precisions on the CPU beside PyTorch, in one run: `pytest benchmarks/test_cpu_runtimes.py -s`.

All run the same random vits16 at 336 px, one image at a time, on at most two threads, in turns, so that other work on
the machine hits all alike. Random weights serve for speed and for the closeness to fp32 of one network's tokens.
"""

import gc
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

SIDE_PX = 336
THREADS = 2
BAR = 2.5
"""The best of all against PyTorch eager fp32, of those whose tokens have a mean cosine of `CLOSE` to fp32."""
CLOSE = 0.99

Run = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@pytest.fixture
def threads() -> Iterator[int]:
    torch = pytest.importorskip("torch")
    before, count = torch.get_num_threads(), min(THREADS, os.cpu_count() or 1)
    torch.set_num_threads(count)
    yield count
    torch.set_num_threads(before)


def runs_of(folder: Path, threads: int) -> dict[str, Run]:
    """What is compared, by name; PyTorch eager fp32 first. OpenVINO takes part where it is installed."""
    import torch

    from engine.errors import WorkError
    from engine.runtime import open_graph
    from exporters.check_images import normalise
    from exporters.export import export_backbone
    from exporters.sources.builtin import load_builtin
    from models.catalogue import backbone
    from models.random_checkpoint import write_random_checkpoint
    from plugins.runtime_openvino import open_openvino

    entry = backbone("vits16")
    checkpoint = write_random_checkpoint(entry, folder)
    model = load_builtin(entry, checkpoint, unofficial=True).model
    graphs = {
        name: export_backbone(entry, checkpoint, folder, name, unofficial=True).graph_path for name in ("fp32", "int8")
    }

    def eager(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            return np.asarray(model(normalise(image, entry.pretraining))[0].numpy())

    def tokens_of(runtime: Callable[..., tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Run:
        return lambda image: runtime(image)[0]

    found: dict[str, Run] = {"PyTorch eager fp32": eager}
    for name, graph in graphs.items():
        found[f"ONNX Runtime {name}"] = tokens_of(open_graph(graph, "cpu", threads))
    try:
        runtime = open_openvino(graphs["fp32"], threads=threads)
    except WorkError as error:
        print(f"\nwithout OpenVINO: {error}")
    else:
        found[runtime.provider] = tokens_of(runtime)
    return found


def test_the_best_of_the_cpu_is_much_faster_than_pytorch(tmp_path: Path, threads: int, quick: bool) -> None:
    runs = runs_of(tmp_path, threads)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (1, SIDE_PX // 16, SIDE_PX // 16, 3), np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    reference, *_ = outputs = [run(image) for run in runs.values()]
    times: dict[str, list[float]] = {name: [] for name in runs}
    gc.collect()
    for _ in range(5 if quick else 25):
        for name, run in runs.items():
            started = time.perf_counter()
            run(image)
            times[name].append(time.perf_counter() - started)
    print(f"\nvits16, {SIDE_PX} px, {threads} threads; median of {len(times[name])} turns, spread from 10 % to 90 %")
    print("| runtime | ms | spread | speed-up | mean cosine | smallest |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    # The ratio within a turn, where all had the same other work beside them.
    ratios = {}
    for (name, spent), output in zip(times.items(), outputs, strict=True):
        first = times["PyTorch eager fp32"]
        ratios[name] = statistics.median(a / b for a, b in zip(first, spent, strict=True))
        cosines = (output * reference).sum(-1) / (np.linalg.norm(output, axis=-1) * np.linalg.norm(reference, axis=-1))
        low, high = np.quantile(spent, (0.1, 0.9)) * 1e3
        print(
            f"| {name} | {statistics.median(spent) * 1e3:.0f} | {low:.0f} to {high:.0f} | {ratios[name]:.2f} "
            f"| {cosines.mean():.6f} | {cosines.min():.6f} |"
        )
        assert cosines.mean() >= CLOSE, name
    assert max(ratios.values()) >= BAR
