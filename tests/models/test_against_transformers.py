"""Our definitions against transformers' DINOv3 models, an independent implementation, with the same random weights."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from models.build import build_with_weights
from models.catalogue import BACKBONES, Backbone, ConvNeXtArch, Ffn, ViTArch
from models.random_checkpoint import random_state, shortened

transformers = pytest.importorskip("transformers")

TOLERANCE = 1e-4
SQUARE, RECTANGLE = (1, 3, 96, 96), (2, 3, 64, 160)

# vit7b16 with its head size, without qkv bias, and narrow enough to test in a second.
NARROW_7B = replace(
    BACKBONES["vit7b16"],
    arch=ViTArch(512, 2, 4, Ffn.SWIGLU, 1024, qkv_bias=False, local_cls_norm=True),
)
VITS = {
    "vits16": BACKBONES["vits16"],
    "vits16+": BACKBONES["vits16+"],
    "vitb16": BACKBONES["vitb16"],
    "vitt16": BACKBONES["vitt16"],
    "vitl16": shortened(BACKBONES["vitl16"]),
    "vitl16+": shortened(BACKBONES["vitl16+"], 1),
    "vith16+": shortened(BACKBONES["vith16+"], 1),
    "vitl16sat": shortened(BACKBONES["vitl16sat"], 1),
    "narrow 7b": NARROW_7B,
}
CONVNEXTS = {"cxTiny": BACKBONES["cxTiny"]} | {
    alias: shortened(BACKBONES[alias], 1) for alias in ("cxSmall", "cxBase", "cxLarge")
}


def transformers_vit(arch: ViTArch, state: dict[str, Tensor]) -> nn.Module:
    gated = arch.ffn is Ffn.SWIGLU
    config = transformers.DINOv3ViTConfig(
        hidden_size=arch.dim,
        intermediate_size=arch.ffn_hidden,
        num_hidden_layers=arch.depth,
        num_attention_heads=arch.heads,
        use_gated_mlp=gated,
        hidden_act="silu" if gated else "gelu",
        num_register_tokens=4,
        query_bias=arch.qkv_bias,
        key_bias=False,
        value_bias=arch.qkv_bias,
        layer_norm_eps=1e-5,
    )
    named = {
        "embeddings.cls_token": state["cls_token"],
        "embeddings.mask_token": state["mask_token"][None],
        "embeddings.register_tokens": state["storage_tokens"],
        "embeddings.patch_embeddings.weight": state["patch_embed.proj.weight"],
        "embeddings.patch_embeddings.bias": state["patch_embed.proj.bias"],
        "norm.weight": state["norm.weight"],
        "norm.bias": state["norm.bias"],
    }
    layers = {"w1": "gate_proj", "w2": "up_proj", "w3": "down_proj", "fc1": "up_proj", "fc2": "down_proj"}
    for index in range(arch.depth):
        ours, theirs = f"blocks.{index}", f"model.layer.{index}"
        for kind in ("weight", "bias"):
            for name in ("norm1", "norm2"):
                named[f"{theirs}.{name}.{kind}"] = state[f"{ours}.{name}.{kind}"]
            for name in ("w1", "w2", "w3") if gated else ("fc1", "fc2"):
                named[f"{theirs}.mlp.{layers[name]}.{kind}"] = state[f"{ours}.mlp.{name}.{kind}"]
            named[f"{theirs}.attention.o_proj.{kind}"] = state[f"{ours}.attn.proj.{kind}"]
        for name in ("1", "2"):
            named[f"{theirs}.layer_scale{name}.lambda1"] = state[f"{ours}.ls{name}.gamma"]
        query, key, value = state[f"{ours}.attn.qkv.weight"].chunk(3)
        named |= {f"{theirs}.attention.q_proj.weight": query, f"{theirs}.attention.k_proj.weight": key}
        named |= {f"{theirs}.attention.v_proj.weight": value}
        if arch.qkv_bias:
            query, _, value = state[f"{ours}.attn.qkv.bias"].chunk(3)
            named |= {f"{theirs}.attention.q_proj.bias": query, f"{theirs}.attention.v_proj.bias": value}
    with torch.device("meta"):
        model = transformers.DINOv3ViTModel(config)
    model.load_state_dict(named, strict=True, assign=True)
    model.rope_embeddings.inv_freq = 1.0 / state["rope_embed.periods"]
    return model.eval()


def transformers_convnext(arch: ConvNeXtArch, state: dict[str, Tensor]) -> nn.Module:
    config = transformers.DINOv3ConvNextConfig(
        depths=list(arch.depths), hidden_sizes=list(arch.dims), layer_norm_eps=1e-6
    )
    layers = {
        "dwconv": "depthwise_conv",
        "norm": "layer_norm",
        "pwconv1": "pointwise_conv1",
        "pwconv2": "pointwise_conv2",
    }
    named = {}
    for key, tensor in state.items():
        family, *rest = key.split(".")
        if family == "downsample_layers":
            stage, *tail = rest
            named[".".join(("model.stages", stage, "downsample_layers", *tail))] = tensor
        elif family == "stages":
            stage, block, layer, *tail = rest
            named[".".join(("model.stages", stage, "layers", block, layers.get(layer, layer), *tail))] = tensor
        elif family == "norm":
            named[".".join(("layer_norm", *rest))] = tensor
    with torch.device("meta"):
        model = transformers.DINOv3ConvNextModel(config)
    model.load_state_dict(named, strict=True, assign=True)
    return model.eval()


@torch.inference_mode()
def largest_differences(backbone: Backbone, shape: tuple[int, int, int, int]) -> tuple[float, float]:
    """Of patch tokens and of class tokens."""
    state = random_state(backbone, seed=3)
    ours = build_with_weights(backbone, state)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    if isinstance(backbone.arch, ViTArch):
        theirs, prefix = transformers_vit(backbone.arch, state), backbone.arch.prefix_tokens
    else:
        theirs, prefix = transformers_convnext(backbone.arch, state), 1
    found, wanted = ours(image), theirs(image).last_hidden_state
    rows, cols = shape[2] // backbone.stride, shape[3] // backbone.stride
    assert found.patch_tokens.shape == (shape[0], rows * cols, backbone.dim)
    patches = (found.patch_tokens - wanted[:, prefix:]).abs().max()
    return float(patches), float((found.class_token - wanted[:, 0]).abs().max())


@pytest.mark.parametrize("shape", [SQUARE, RECTANGLE], ids=["square", "rectangle"])
@pytest.mark.parametrize("name", [*VITS, *CONVNEXTS])
def test_tokens_are_those_of_transformers(name: str, shape: tuple[int, int, int, int]) -> None:
    patches, class_token = largest_differences((VITS | CONVNEXTS)[name], shape)
    assert patches <= TOLERANCE
    assert class_token <= TOLERANCE


@pytest.mark.slow
def test_one_block_of_vit7b16_at_full_width() -> None:
    patches, class_token = largest_differences(shortened(BACKBONES["vit7b16sat"], 1), RECTANGLE)
    assert patches <= TOLERANCE
    assert class_token <= TOLERANCE


UNUSED = ("mask_token", "local_cls_norm.weight", "local_cls_norm.bias", "norms.3.weight", "norms.3.bias")


@pytest.mark.parametrize("alias", ["vitl16sat", "vits16+", "cxTiny"])
def test_every_tensor_counts(alias: str) -> None:
    """What makes the comparisons above worth something: each term changes the tokens by far more than the tolerance."""
    backbone = shortened(BACKBONES[alias], 1)
    state = random_state(backbone)
    image = torch.randn((1, 3, 64, 96), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = build_with_weights(backbone, state)(image).patch_tokens
        for key in state:
            noise = torch.rand(state[key].shape, generator=torch.Generator().manual_seed(2))
            changed = dict(state) | {key: state[key] * (0.5 + noise)}
            if key == "norm.weight" and "norms.3.weight" in state:
                changed["norms.3.weight"] = changed[key]
            if key == "norm.bias" and "norms.3.bias" in state:
                changed["norms.3.bias"] = changed[key]
            moved = float((build_with_weights(backbone, changed)(image).patch_tokens - before).abs().max())
            if key not in UNUSED:
                assert moved > 50 * TOLERANCE, key
            elif not key.startswith("norms."):
                assert moved == 0.0, key


def test_the_key_bias_is_masked() -> None:
    backbone = shortened(BACKBONES["vits16"], 1)
    state = random_state(backbone)
    image = torch.randn((1, 3, 64, 96), generator=torch.Generator().manual_seed(1))
    other = dict(state) | {"blocks.0.attn.qkv.bias": state["blocks.0.attn.qkv.bias"].clone()}
    other["blocks.0.attn.qkv.bias"][384:768] += 1.0
    with torch.inference_mode():
        before = build_with_weights(backbone, state)(image).patch_tokens
        assert torch.equal(build_with_weights(backbone, other)(image).patch_tokens, before)
