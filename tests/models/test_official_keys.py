"""Every full-size backbone against a table of keys and shapes written from the published architectures."""

import pytest

from models.build import expected_shapes, parameter_count
from models.catalogue import BACKBONES

Shapes = dict[str, tuple[int, ...]]

# alias: dim, depth, head size, feed-forward width, gated, qkv bias, local_cls_norm
VITS = {
    "vitt16": (192, 8, 64, 768, False, True, False),
    "vits16": (384, 12, 64, 1536, False, True, False),
    "vits16+": (384, 12, 64, 1536, True, True, False),
    "vitb16": (768, 12, 64, 3072, False, True, False),
    "vitl16": (1024, 24, 64, 4096, False, True, False),
    "vitl16+": (1024, 24, 64, 4096, True, True, False),
    "vith16+": (1280, 32, 64, 5120, True, True, False),
    "vit7b16": (4096, 40, 128, 8192, True, False, True),
    "vitl16sat": (1024, 24, 64, 4096, False, True, True),
    "vit7b16sat": (4096, 40, 128, 8192, True, False, True),
}
CONVNEXTS = {
    "cxTiny": ((3, 3, 9, 3), (96, 192, 384, 768)),
    "cxSmall": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "cxBase": ((3, 3, 27, 3), (128, 256, 512, 1024)),
    "cxLarge": ((3, 3, 27, 3), (192, 384, 768, 1536)),
}
# Millions of parameters. ViT: DINOv3 paper, table 2 and model cards (21, 29, 86, 300, 840, 6716); ConvNeXt: 29, 50, 89,
# 198 with the 1000-class head that these do not have (769, 769, 1025 and 1537 thousand values).
MILLIONS = {
    "vits16": 21.6,
    "vits16+": 28.7,
    "vitb16": 85.7,
    "vitl16": 303.2,
    "vith16+": 840.6,
    "vit7b16": 6716.0,
    "vitl16sat": 303.2,
    "vit7b16sat": 6716.0,
    "cxTiny": 28.59 - 0.769,
    "cxSmall": 50.22 - 0.769,
    "cxBase": 88.59 - 1.025,
    "cxLarge": 197.77 - 1.537,
}


def linear(name: str, out: int, into: int, bias: bool = True) -> Shapes:
    weight = {f"{name}.weight": (out, into)}
    return weight | ({f"{name}.bias": (out,)} if bias else {})


def norm(name: str, dim: int) -> Shapes:
    return {f"{name}.weight": (dim,), f"{name}.bias": (dim,)}


def conv(name: str, out: int, into: int, side: int) -> Shapes:
    return {f"{name}.weight": (out, into, side, side), f"{name}.bias": (out,)}


def vit_shapes(alias: str) -> Shapes:
    dim, depth, head, wide, gated, qkv_bias, local_norm = VITS[alias]
    shapes = {"cls_token": (1, 1, dim), "storage_tokens": (1, 4, dim), "mask_token": (1, dim)}
    shapes |= {"rope_embed.periods": (head // 4,)}
    shapes |= conv("patch_embed.proj", dim, 3, 16) | norm("norm", dim)
    if local_norm:
        shapes |= norm("local_cls_norm", dim)
    for index in range(depth):
        block = f"blocks.{index}"
        shapes |= norm(f"{block}.norm1", dim) | norm(f"{block}.norm2", dim)
        shapes |= linear(f"{block}.attn.qkv", 3 * dim, dim, qkv_bias) | linear(f"{block}.attn.proj", dim, dim)
        if qkv_bias:
            shapes |= {f"{block}.attn.qkv.bias_mask": (3 * dim,)}
        shapes |= {f"{block}.ls1.gamma": (dim,), f"{block}.ls2.gamma": (dim,)}
        if gated:
            shapes |= linear(f"{block}.mlp.w1", wide, dim) | linear(f"{block}.mlp.w2", wide, dim)
            shapes |= linear(f"{block}.mlp.w3", dim, wide)
        else:
            shapes |= linear(f"{block}.mlp.fc1", wide, dim) | linear(f"{block}.mlp.fc2", dim, wide)
    return shapes


def convnext_shapes(alias: str) -> Shapes:
    depths, dims = CONVNEXTS[alias]
    shapes = conv("downsample_layers.0.0", dims[0], 3, 4) | norm("downsample_layers.0.1", dims[0])
    for stage in (1, 2, 3):
        shapes |= norm(f"downsample_layers.{stage}.0", dims[stage - 1])
        shapes |= conv(f"downsample_layers.{stage}.1", dims[stage], dims[stage - 1], 2)
    for stage, (depth, dim) in enumerate(zip(depths, dims, strict=True)):
        for index in range(depth):
            block = f"stages.{stage}.{index}"
            shapes |= conv(f"{block}.dwconv", dim, 1, 7) | norm(f"{block}.norm", dim)
            shapes |= linear(f"{block}.pwconv1", 4 * dim, dim) | linear(f"{block}.pwconv2", dim, 4 * dim)
            shapes |= {f"{block}.gamma": (dim,)}
    return shapes | norm("norm", dims[3]) | norm("norms.3", dims[3])


def test_the_table_covers_the_catalogue() -> None:
    assert VITS.keys() | CONVNEXTS.keys() == BACKBONES.keys()


@pytest.mark.parametrize("alias", BACKBONES)
def test_keys_and_shapes_are_the_official_ones(alias: str) -> None:
    wanted = vit_shapes(alias) if alias in VITS else convnext_shapes(alias)
    assert expected_shapes(BACKBONES[alias]) == wanted


@pytest.mark.parametrize(("alias", "millions"), MILLIONS.items())
def test_parameter_counts_are_the_published_ones(alias: str, millions: float) -> None:
    assert parameter_count(BACKBONES[alias]) / 1e6 == pytest.approx(millions, abs=0.1)
