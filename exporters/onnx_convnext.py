"""The ONNX graph of a DINOv3 ConvNeXt.

Positions are rows of a matrix, [B * rows * cols, C], everywhere but in the depthwise convolutions: the stem and the
halvings are patch embeddings, and so are linear layers too. Colour normalisation and LayerScale are folded in.
"""

from onnx import TensorProto

from exporters.graph_builder import GraphBuilder
from exporters.onnx_image import Grid, cut_patches, embed_image, image_grid, image_input, patch_weight
from exporters.source_weights import SourceWeights
from models.catalogue import ConvNeXtArch, Pretraining
from models.contract import OUTPUT_GLOBAL_DESCRIPTOR, OUTPUT_PATCH_TOKENS
from models.convnext import STEM_PATCH


def build_convnext(graph: GraphBuilder, source: SourceWeights, arch: ConvNeXtArch, pretraining: Pretraining) -> None:
    """Writes the whole network into `graph`, from the image to both outputs."""
    image = image_input(graph)
    grid = image_grid(graph, image, STEM_PATCH)
    first = arch.dims[0]
    rows = embed_image(graph, source, image, grid, "downsample_layers.0.0", first, STEM_PATCH, pretraining)
    rows = _norm(graph, source, arch, "downsample_layers.0.1", rows)
    for stage, (depth, dim) in enumerate(zip(arch.depths, arch.dims, strict=True)):
        if stage > 0:
            rows, grid = _halve(graph, source, arch, stage, rows, grid)
        spread = _spatial_shape(graph, grid, dim, f"stages.{stage}")
        for index in range(depth):
            rows = _block(graph, source, arch, f"stages.{stage}.{index}", dim, rows, spread)
    _outputs(graph, source, arch, rows, grid)


def _norm(graph: GraphBuilder, source: SourceWeights, arch: ConvNeXtArch, key: str, value: str) -> str:
    return graph.layer_norm(value, source.keep(f"{key}.weight"), source.keep(f"{key}.bias"), key, arch.norm_eps)


def _spatial_shape(graph: GraphBuilder, grid: Grid, dim: int, name: str) -> str:
    parts = [grid.batch, grid.rows, grid.cols, graph.constant(f"int.{dim}", [dim])]
    return graph.node("Concat", parts, f"{name}.shape", axis=0)


def _halve(
    graph: GraphBuilder, source: SourceWeights, arch: ConvNeXtArch, stage: int, rows: str, grid: Grid
) -> tuple[str, Grid]:
    """LayerNorm and a 2 x 2 convolution with stride 2, as a patch embedding of the feature map."""
    key, before, after = f"downsample_layers.{stage}", arch.dims[stage - 1], arch.dims[stage]
    two = graph.constant("int.2", [2])
    half = Grid(
        grid.batch,
        graph.node("Div", [grid.rows, two], f"stages.{stage}.rows"),
        graph.node("Div", [grid.cols, two], f"stages.{stage}.cols"),
    )
    patches = cut_patches(graph, _norm(graph, source, arch, f"{key}.0", rows), half, 2, before, f"{key}.patches")
    weight = patch_weight(source, f"{key}.1.weight", after, 2, before)
    return graph.as_float(graph.linear(patches, weight, source.keep(f"{key}.1.bias"), f"{key}.1")), half


def _block(
    graph: GraphBuilder, source: SourceWeights, arch: ConvNeXtArch, block: str, dim: int, rows: str, spread: str
) -> str:
    spatial = graph.node("Reshape", [rows, spread], f"{block}.spatial")
    channels_first = graph.node("Transpose", [spatial], f"{block}.channels_first", perm=[0, 3, 1, 2])
    kernel = [channels_first, source.keep(f"{block}.dwconv.weight"), source.keep(f"{block}.dwconv.bias")]
    mixed = graph.node("Conv", kernel, f"{block}.dwconv", group=dim, kernel_shape=[7, 7], pads=[3, 3, 3, 3])
    channels_last = graph.node("Transpose", [mixed], f"{block}.channels_last", perm=[0, 2, 3, 1])
    flat = graph.node("Reshape", [channels_last, graph.constant(f"row.{dim}", [-1, dim])], f"{block}.rows")
    normed = _norm(graph, source, arch, f"{block}.norm", flat)
    wide = graph.linear(
        normed, source.keep(f"{block}.pwconv1.weight"), source.keep(f"{block}.pwconv1.bias"), f"{block}.pwconv1"
    )
    active = graph.node("Gelu", [wide], f"{block}.gelu", approximate="none")
    narrow = source.scaled_linear(f"{block}.pwconv2", f"{block}.gamma", (dim, 4 * dim))
    branch = graph.as_float(graph.linear(active, *narrow, f"{block}.pwconv2"))
    return graph.node("Add", [rows, branch], f"{block}.out")


def _outputs(graph: GraphBuilder, source: SourceWeights, arch: ConvNeXtArch, rows: str, grid: Grid) -> None:
    shape = graph.node("Concat", [grid.batch, graph.constant("tokens.rest", [-1, arch.dim])], "tokens.shape", axis=0)
    tokens = graph.node("Reshape", [rows, shape], "tokens")
    mean = graph.node("ReduceMean", [tokens, graph.constant("axes.1", [1])], "mean", keepdims=0)
    gain, bias = source.keep("norm.weight"), source.keep("norm.bias")
    graph.layer_norm(tokens, gain, bias, OUTPUT_PATCH_TOKENS, arch.norm_eps)
    graph.layer_norm(mean, gain, bias, OUTPUT_GLOBAL_DESCRIPTOR, arch.norm_eps)
    graph.output(OUTPUT_PATCH_TOKENS, TensorProto.FLOAT, ["batch", "tokens", arch.dim])
    graph.output(OUTPUT_GLOBAL_DESCRIPTOR, TensorProto.FLOAT, ["batch", arch.dim])
