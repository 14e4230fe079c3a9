"""Runs a graph and its source model on the same images and says how far apart their outputs are."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from exporters.check_images import CheckImages, made_up_images, normalise
from exporters.graph_check import (
    BlockCheck,
    GraphCheck,
    compare_matches,
    compare_output,
    range_failures,
    token_cosines,
)
from exporters.graph_runs import CPU, OUTPUTS, PartedGraph, Reach, Values, VerificationError, WholeGraph
from exporters.precisions import PRECISIONS, Precision
from exporters.sources.loaded import LoadedSource, Network, SourceModel
from models.build import DinoModel, build_with_weights
from models.catalogue import ViTArch
from models.contract import INPUT_IMAGE, SOURCE_BUILTIN
from models.vit import DinoVisionTransformer

PARTS_FROM_BYTES = 2_000_000_000
"""Graphs of more bytes are run part by part on the CPU: a session of the whole copies all weights, some twice."""

EMULATED_PARTS_FROM_BYTES = 300_000_000
"""The same where 16-bit arithmetic is emulated, which holds every weight in float32."""

Floats = NDArray[np.float32]
Steps = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

Run = Callable[[NDArray[np.uint8]], tuple[Floats, ...]]
"""Images, uint8 RGB [B, H, W, 3], to the outputs of a graph."""


def check_graph(
    graph_path: Path,
    model: DinoModel | SourceModel,
    backbone: Network,
    images: CheckImages | None = None,
    precision: Precision = PRECISIONS["fp32"],
    provider: str = CPU,
    progress: Steps | None = None,
    *,
    parts_from_bytes: int | None = None,
    run: Run | None = None,
) -> GraphCheck:
    """Compares a graph with its source model, which runs in PyTorch on the CPU.

    By ONNX Runtime on the CPU, 16-bit graphs are emulated (see `exporters.emulation`), and a large ViT is run part by
    part: once from the image to the outputs, for the figures, and each block once more on the very input of the
    source's block.

    Args:
        images: made-up ones by default.
        provider: what computes, as the figures tell; of anything but ONNX Runtime on the CPU, `run` is what runs it.
        parts_from_bytes: run graphs of more bytes part by part.
        run: runs the graph as a whole in place of ONNX Runtime on the CPU.

    Raises:
        GraphError: the graph or its data file is missing, damaged or altered.
        VerificationError: the graph cannot be run, an output has another shape or is not finite, or a value leaves the
            range of the precision.
    """
    images = images or made_up_images(backbone.stride)
    half = precision.half if run is None else None
    tell = progress or (lambda done, total: None)
    blocks = None
    in_parts = run is None and parts_needed(weight_bytes(graph_path), precision, backbone, parts_from_bytes)
    if in_parts and isinstance(model, DinoVisionTransformer):
        parts = PartedGraph(graph_path, block_cuts(backbone), half)
        found, wanted, blocks = _run_parts(parts, model, backbone, images, tell)
        reach = parts.reach
    elif run is not None:
        found, wanted = _run_whole(run, model, backbone, images, tell)
        reach = Reach()
    else:
        whole = WholeGraph(graph_path, half)
        found, wanted = _run_whole(whole.run, model, backbone, images, tell)
        reach = whole.reach
    largest = None if half is None else reach.largest
    if overflow := range_failures(largest, reach.at, precision):
        raise VerificationError(f"{graph_path.name} cannot be used: {overflow[0]}. Use bf16 or fp32")
    outputs = {
        name: compare_output(graph_path, name, [(a[index], b[index]) for a, b in zip(found, wanted, strict=True)])
        for index, name in enumerate(OUTPUTS)
    }

    def tokens(place: tuple[int, int]) -> tuple[Floats, Floats]:
        batch, index = place
        return found[batch][0][index], wanted[batch][0][index]

    return GraphCheck(
        shapes=tuple((len(batch), batch.shape[1], batch.shape[2]) for batch in images.batches),
        outputs=outputs,
        provider=provider,
        emulated=half is not None,
        photographs=images.photographs,
        matches=compare_matches((tokens(a), tokens(b)) for a, b in images.pairs()),
        blocks=blocks,
        largest_activation=largest,
        largest_activation_at=reach.at,
    )


def comparison_model(
    source: LoadedSource, size_bytes: int, precision: Precision, provider: str = CPU
) -> tuple[DinoModel | SourceModel, str]:
    """What a graph of so many bytes is compared with, and a remark: the source's own model, unless the graph is run
    part by part, for which the source must be known block by block."""
    model = source.model
    if source.state is None or source.source == SOURCE_BUILTIN or isinstance(model, DinoVisionTransformer):
        return model, ""
    if provider != CPU or not parts_needed(size_bytes, precision, source.network):
        return model, ""
    return build_with_weights(source.backbone, source.state), (
        "the graph is compared part by part, with this program's own definition and these weights"
    )


def parts_needed(size_bytes: int, precision: Precision, backbone: Network, limit_bytes: int | None = None) -> bool:
    """Whether a graph of so many bytes is run part by part on the CPU. A ConvNeXt never is: none is that large."""
    standard = PARTS_FROM_BYTES if precision.half is None else EMULATED_PARTS_FROM_BYTES
    return isinstance(backbone.arch, ViTArch) and size_bytes > (standard if limit_bytes is None else limit_bytes)


def weight_bytes(graph_path: Path) -> int:
    """Bytes of a graph file and of the data files that carry its name."""
    beside = (path.stat().st_size for path in graph_path.parent.glob("*.data") if path.name.startswith(graph_path.stem))
    return graph_path.stat().st_size + sum(beside)


def block_cuts(backbone: Network) -> list[str]:
    """The values of a ViT's graph after which it is cut: what each block takes, and what the last one gives."""
    depth = cast(ViTArch, backbone.arch).depth
    return ["tokens", *(f"blocks.{index}.out" for index in range(depth))]


def _run_whole(
    run: Run, model: DinoModel | SourceModel, backbone: Network, images: CheckImages, tell: Steps
) -> tuple[list[tuple[Floats, ...]], list[tuple[Floats, ...]]]:
    found: list[tuple[Floats, ...]] = []
    wanted: list[tuple[Floats, ...]] = []
    total = len(images.batches)
    for done, batch in enumerate(images.batches, 1):
        with torch.inference_mode():
            tokens = model(normalise(batch, backbone.pretraining))
        wanted.append(tuple(output.numpy() for output in tokens))
        found.append(run(batch))
        tell(done, total)
    return found, wanted


def _run_parts(
    graph: PartedGraph, model: DinoVisionTransformer, backbone: Network, images: CheckImages, tell: Steps
) -> tuple[list[tuple[Floats, ...]], list[tuple[Floats, ...]], BlockCheck]:
    """Source and graph in step, one block of both at a time."""
    batches, cuts, total = images.batches, block_cuts(backbone), len(graph)
    values: list[Values] = [{INPUT_IMAGE: batch} for batch in batches]
    _advance(graph, 0, values)
    with torch.inference_mode():
        sources = [model.embed(normalise(batch, backbone.pretraining)) for batch in batches]
    states, ropes = [tokens for tokens, _, _ in sources], [(sin, cos) for _, sin, cos in sources]
    difference, cosine = 0.0, 1.0
    for index, block in enumerate(model.blocks):
        tell(index + 1, total)
        part = graph.open_part(index + 1, values[0])
        for batch, state in enumerate(states):
            with torch.inference_mode():
                after: Tensor = block(state, *ropes[batch])
            same = part.run({**values[batch], cuts[index]: _rows(state)})[cuts[index + 1]]
            wanted_rows = _rows(after)
            difference = max(difference, float(np.abs(same - wanted_rows).max() / np.abs(wanted_rows).max()))
            cosine = min(cosine, float(token_cosines(same, wanted_rows).min()))
            values[batch].update(part.run(values[batch]))
            del values[batch][cuts[index]]
            states[batch] = after
    _advance(graph, len(graph) - 1, values)
    tell(total, total)
    with torch.inference_mode():
        wanted = [tuple(output.numpy() for output in model.finish(state)) for state in states]
    found = [tuple(value[name] for name in OUTPUTS) for value in values]
    return found, wanted, BlockCheck(len(model.blocks), difference, cosine)


def _advance(graph: PartedGraph, index: int, values: list[Values]) -> None:
    part = graph.open_part(index, values[0])
    for value in values:
        value.update(part.run(value))


def _rows(state: Tensor) -> Floats:
    return np.asarray(state.reshape(-1, state.shape[-1]).numpy())
