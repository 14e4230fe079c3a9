"""The ONNX graph of a DINOv3 ViT, one fused operator per step of the network.

Between attention operators tokens are rows of a matrix, [B * T, D], so that every linear layer is one Gemm with its
bias. Folded where exact: colour normalisation into the patch embedding, LayerScale into the linear layer before it,
the value bias into the output projection (the weights of an attention row add up to 1), the key mask into the bias.
"""

import math

import numpy as np
from onnx import TensorProto

from exporters.graph_builder import MICROSOFT, GraphBuilder
from exporters.onnx_image import Grid, embed_image, image_grid, image_input
from exporters.source_weights import Floats, SourceWeights
from models.catalogue import Ffn, Pretraining, ViTArch
from models.contract import OUTPUT_GLOBAL_DESCRIPTOR, OUTPUT_PATCH_TOKENS


def build_vit(graph: GraphBuilder, source: SourceWeights, arch: ViTArch, pretraining: Pretraining) -> None:
    """Writes the whole network into `graph`, from the image to both outputs."""
    image = image_input(graph)
    grid = image_grid(graph, image, arch.patch_size)
    patches = embed_image(graph, source, image, grid, "patch_embed.proj", arch.dim, arch.patch_size, pretraining)
    rope = _rope_tables(graph, source, arch, grid)
    sequence = graph.node(
        "Concat", [grid.batch, graph.constant("sequence.rest", [-1, arch.dim])], "sequence.shape", axis=0
    )
    tokens = _with_prefix(graph, source, arch, grid, patches, sequence)
    for index in range(arch.depth):
        tokens = _block(graph, source, arch, f"blocks.{index}", tokens, sequence, rope)
    normed = graph.layer_norm(tokens, source.keep("norm.weight"), source.keep("norm.bias"), "normed", arch.norm_eps)
    _outputs(graph, arch, graph.node("Reshape", [normed, sequence], "normed.sequence"))


def _rope_tables(graph: GraphBuilder, source: SourceWeights, arch: ViTArch, grid: Grid) -> tuple[str, str]:
    """Cosine and sine, [T, head_dim / 2] each; prefix tokens are not turned: cosine 1 and sine 0."""
    quarter = arch.head_dim // 4
    periods = source.keep("rope_embed.periods")
    turn = graph.constant("rope.turn", 2.0 * math.pi, np.float32)
    angles = {}
    for side, extent in (("rows", grid.rows), ("cols", grid.cols)):
        scalar = graph.node("Squeeze", [extent], f"rope.{side}.count")
        start, step = graph.constant("int.scalar.0", 0), graph.constant("int.scalar.1", 1)
        index = graph.node("Range", [start, scalar, step], f"rope.{side}.index")
        position = graph.node("Cast", [index], f"rope.{side}.position", to=TensorProto.FLOAT)
        centre = graph.node("Add", [position, graph.constant("rope.half", 0.5, np.float32)], f"rope.{side}.centre")
        count = graph.node("Cast", [scalar], f"rope.{side}.extent", to=TensorProto.FLOAT)
        share = graph.node("Div", [centre, count], f"rope.{side}.share")
        doubled = graph.node("Mul", [share, graph.constant("rope.two", 2.0, np.float32)], f"rope.{side}.doubled")
        coords = graph.node("Sub", [doubled, graph.constant("rope.one", 1.0, np.float32)], f"rope.{side}.coords")
        scaled = graph.node("Mul", [coords, turn], f"rope.{side}.scaled")
        column = graph.node("Unsqueeze", [scaled, graph.constant("axes.1", [1])], f"rope.{side}.column")
        angles[side] = graph.node("Div", [column, periods], f"rope.{side}.angles")
    row_angles = graph.node("Unsqueeze", [angles["rows"], graph.constant("axes.1", [1])], "rope.rows.spread")
    shape = graph.node(
        "Concat", [grid.rows, grid.cols, graph.constant(f"int.{quarter}", [quarter])], "rope.shape", axis=0
    )
    tables = []
    for operator, name, prefix in (("Cos", "cos", 1.0), ("Sin", "sin", 0.0)):
        halves = []
        for side, angle in (("rows", row_angles), ("cols", angles["cols"])):
            value = graph.node(operator, [angle], f"rope.{name}.{side}")
            halves.append(graph.node("Expand", [value, shape], f"rope.{name}.{side}.grid"))
        both = graph.node("Concat", halves, f"rope.{name}.grid", axis=2)
        flat = graph.node("Reshape", [both, graph.constant("rope.flat", [-1, 2 * quarter])], f"rope.{name}.flat")
        head = graph.constant(f"rope.{name}.prefix", np.full((arch.prefix_tokens, 2 * quarter), prefix), np.float32)
        tables.append(graph.node("Concat", [head, flat], f"rope.{name}.table", axis=0))
    return tables[0], tables[1]


def _with_prefix(
    graph: GraphBuilder, source: SourceWeights, arch: ViTArch, grid: Grid, patches: str, sequence: str
) -> str:
    """Class and storage tokens before the patches of each image, as rows [B * T, D]."""

    def prefix() -> Floats:
        return np.concatenate([source.array("cls_token"), source.array("storage_tokens")], axis=1)

    shape = (1, arch.prefix_tokens, arch.dim)
    token_shape = graph.constant("prefix.rest", list(shape[1:]))
    target = graph.node("Concat", [grid.batch, token_shape], "prefix.shape", axis=0)
    head = graph.node("Expand", [source.fold("prefix_tokens", shape, prefix), target], "prefix")
    body = graph.node("Reshape", [patches, sequence], "patches.sequence")
    joined = graph.node("Concat", [head, body], "tokens.sequence", axis=1)
    return graph.node("Reshape", [joined, graph.constant(f"row.{arch.dim}", [-1, arch.dim])], "tokens")


def _block(
    graph: GraphBuilder,
    source: SourceWeights,
    arch: ViTArch,
    block: str,
    tokens: str,
    sequence: str,
    rope: tuple[str, str],
) -> str:
    normed = _norm(graph, source, arch, f"{block}.norm1", tokens)
    branch = graph.as_float(_attention(graph, source, arch, block, normed, sequence, rope))
    tokens = graph.node("Add", [tokens, branch], f"{block}.mid")
    normed = _norm(graph, source, arch, f"{block}.norm2", tokens)
    feed_forward = _mlp if arch.ffn is Ffn.MLP else _swiglu
    branch = graph.as_float(feed_forward(graph, source, arch, block, normed))
    return graph.node("Add", [tokens, branch], f"{block}.out")


def _norm(graph: GraphBuilder, source: SourceWeights, arch: ViTArch, key: str, tokens: str) -> str:
    return graph.layer_norm(tokens, source.keep(f"{key}.weight"), source.keep(f"{key}.bias"), key, arch.norm_eps)


def _attention(
    graph: GraphBuilder,
    source: SourceWeights,
    arch: ViTArch,
    block: str,
    normed: str,
    sequence: str,
    rope: tuple[str, str],
) -> str:
    key, dim = f"{block}.attn", arch.dim
    biases = source.masked_bias(f"{key}.qkv") if arch.qkv_bias else np.zeros(3 * dim, np.float32)
    query_bias, key_bias, value_bias = np.split(biases, 3)
    parts = {}
    for index, (part, bias) in enumerate((("query", query_bias), ("key", key_bias), ("value", None))):
        weight = source.keep_rows(f"{key}.{part}.weight", f"{key}.qkv.weight", index * dim, dim)
        added = None
        if bias is not None and bias.any():
            added = graph.constant(f"{key}.{part}.bias", bias, np.float32)
        flat = graph.linear(normed, weight, added, f"{key}.{part}.rows")
        parts[part] = graph.node("Reshape", [flat, sequence], f"{key}.{part}")
    position, (cos, sin) = graph.constant("position.0", [0]), rope
    turned = []
    for part in ("query", "key"):
        inputs = [graph.as_float(parts[part]), position, cos, sin]
        angle = graph.node("RotaryEmbedding", inputs, f"{key}.{part}.turned", MICROSOFT, interleaved=0)
        turned.append(graph.as_half(angle))
    mixed = graph.node("MultiHeadAttention", [*turned, parts["value"]], f"{key}.mixed", MICROSOFT, num_heads=arch.heads)
    flat = graph.node("Reshape", [mixed, graph.constant(f"row.{dim}", [-1, dim])], f"{key}.mixed.rows")
    projection = source.scaled_linear(f"{key}.proj", f"{block}.ls1.gamma", (dim, dim), value_bias)
    return graph.linear(flat, *projection, f"{key}.proj")


def _mlp(graph: GraphBuilder, source: SourceWeights, arch: ViTArch, block: str, normed: str) -> str:
    key = f"{block}.mlp"
    wide = graph.linear(normed, source.keep(f"{key}.fc1.weight"), source.keep(f"{key}.fc1.bias"), f"{key}.fc1")
    active = graph.node("Gelu", [wide], f"{key}.gelu", approximate="none")
    narrow = source.scaled_linear(f"{key}.fc2", f"{block}.ls2.gamma", (arch.dim, arch.ffn_hidden))
    return graph.linear(active, *narrow, f"{key}.fc2")


def _swiglu(graph: GraphBuilder, source: SourceWeights, arch: ViTArch, block: str, normed: str) -> str:
    key = f"{block}.mlp"
    gate = graph.linear(normed, source.keep(f"{key}.w1.weight"), source.keep(f"{key}.w1.bias"), f"{key}.w1")
    value = graph.linear(normed, source.keep(f"{key}.w2.weight"), source.keep(f"{key}.w2.bias"), f"{key}.w2")
    # QuickGelu is x * sigmoid(alpha * x): with alpha 1 it is SiLU, in one operator.
    silu = graph.node("QuickGelu", [gate], f"{key}.silu", MICROSOFT, alpha=1.0)
    gated = graph.node("Mul", [silu, value], f"{key}.gated")
    narrow = source.scaled_linear(f"{key}.w3", f"{block}.ls2.gamma", (arch.dim, arch.ffn_hidden))
    return graph.linear(gated, *narrow, f"{key}.w3")


def _outputs(graph: GraphBuilder, arch: ViTArch, sequence: str) -> None:
    first, axis = graph.constant("int.scalar.0", 0), graph.constant("axes.1", [1])
    graph.node("Gather", [sequence, first], OUTPUT_GLOBAL_DESCRIPTOR, axis=1)
    start = graph.constant(f"int.{arch.prefix_tokens}", [arch.prefix_tokens])
    end = graph.constant("int.end", [np.iinfo(np.int64).max])
    graph.node("Slice", [sequence, start, end, axis], OUTPUT_PATCH_TOKENS)
    graph.output(OUTPUT_PATCH_TOKENS, TensorProto.FLOAT, ["batch", "tokens", arch.dim])
    graph.output(OUTPUT_GLOBAL_DESCRIPTOR, TensorProto.FLOAT, ["batch", arch.dim])
