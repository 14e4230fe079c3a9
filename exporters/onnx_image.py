"""The front of every graph: uint8 pixels to the first linear layer, with the colour normalisation folded into it."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from exporters.graph_builder import GraphBuilder
from exporters.source_weights import SourceWeights
from models.catalogue import Pretraining
from models.contract import INPUT_IMAGE

WHITE = 255.0
"""Pixel value of full brightness; colour statistics are given for pixels scaled to 0..1."""


@dataclass(frozen=True)
class Grid:
    """Names of one-element int64 values in a graph: images, rows and columns of positions."""

    batch: str
    rows: str
    cols: str


def image_input(graph: GraphBuilder) -> str:
    """Declares the graph's input: uint8 [B, H, W, 3] RGB."""
    return graph.input(INPUT_IMAGE, TensorProto.UINT8, ["batch", "height", "width", 3])


def image_grid(graph: GraphBuilder, image: str, patch: int) -> Grid:
    """The grid of patches of an image. Sizes that are no multiple of `patch` make `cut_patches` fail when run."""
    batch = graph.node("Shape", [image], "batch_size", start=0, end=1)
    pixels = graph.constant(f"int.{patch}", [patch])
    sides = []
    for axis, side in ((1, "rows"), (2, "cols")):
        extent = graph.node("Shape", [image], f"{side}.pixels", start=axis, end=axis + 1)
        sides.append(graph.node("Div", [extent, pixels], side))
    return Grid(batch, *sides)


def cut_patches(graph: GraphBuilder, value: str, grid: Grid, patch: int, channels: int, name: str) -> str:
    """Rearranges [B, rows * patch, cols * patch, channels] into one row per patch: [B * rows * cols, -1].

    A row is ordered (y, x, channel) within its patch. The batch is spelt out in the shape, so that a size that is no
    multiple of `patch` is refused by the runtime and never read as another one.
    """
    parts = [grid.batch, grid.rows, graph.constant(f"int.{patch}", [patch]), grid.cols]
    parts.append(graph.constant(f"int.{patch * channels}", [patch * channels]))
    shape = graph.node("Concat", parts, f"{name}.shape", axis=0)
    tiles = graph.node("Reshape", [value, shape], f"{name}.tiles")
    ordered = graph.node("Transpose", [tiles], f"{name}.ordered", perm=[0, 1, 3, 2, 4])
    row = graph.constant(f"row.{patch * patch * channels}", [-1, patch * patch * channels])
    return graph.node("Reshape", [ordered, row], f"{name}.rows")


def patch_weight(source: SourceWeights, key: str, out: int, patch: int, channels: int) -> str:
    """The kernel [out, channels, patch, patch] of a convolution with stride `patch`, as rows of `cut_patches`."""

    def produce() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return source.array(key).transpose(0, 2, 3, 1).reshape(out, -1)

    return source.fold(f"{key}.rows", (out, patch * patch * channels), produce)


def embed_image(
    graph: GraphBuilder, source: SourceWeights, image: str, grid: Grid, key: str, out: int, patch: int, of: Pretraining
) -> str:
    """The first layer of a network, a convolution with stride `patch`, on raw pixels: [B * rows * cols, out] float32.

    The layer is linear and its windows never reach outside the image, so that normalising the pixels,
    `(pixel / 255 - mean) / std`, folds into its weight and bias exactly. It is computed in float32: pixels
    are no longer centred, so that rounded weights would leave a large part of the mean behind.
    """
    weight, bias = f"{key}.weight", f"{key}.bias"
    mean = np.asarray(of.mean, np.float64)[:, None, None]
    std = np.asarray(of.std, np.float64)[:, None, None]

    def folded_weight() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        kernel = source.array(weight).astype(np.float64) / (WHITE * std)
        return kernel.transpose(0, 2, 3, 1).reshape(out, -1)

    def folded_bias() -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        kernel = source.array(weight).astype(np.float64)
        return np.asarray(source.array(bias) - (kernel * (mean / std)).sum(axis=(1, 2, 3)))

    pixels = cut_patches(graph, image, grid, patch, 3, "pixels")
    values = graph.node("Cast", [pixels], "pixels.float", to=TensorProto.FLOAT)
    return graph.linear(
        values,
        source.fold(f"{weight}.normalised", (out, patch * patch * 3), folded_weight),
        source.fold(f"{bias}.normalised", (out,), folded_bias),
        key,
        exact=True,
    )
