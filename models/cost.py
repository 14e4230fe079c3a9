"""How large a backbone is and what one image costs, from the catalogue alone. Standard library only."""

from itertools import pairwise

from models.catalogue import Backbone, ConvNeXtArch, Ffn, ViTArch

_CONVNEXT_KERNEL = 7
_CONVNEXT_STEM = 4


def parameters(backbone: Backbone) -> int:
    """Number of trained values; buffers do not count, and the doubled ConvNeXt norm counts once."""
    arch = backbone.arch
    return _vit_parameters(arch) if isinstance(arch, ViTArch) else _convnext_parameters(arch)


def gflops(backbone: Backbone, height_px: int, width_px: int) -> float:
    """Billions of floating-point operations for one image, two per multiplication and addition.

    Matrix products, convolutions and attention are counted; norms, activations and the like are not.
    """
    arch = backbone.arch
    rows, cols = max(1, height_px // backbone.stride), max(1, width_px // backbone.stride)
    products = _vit_products(arch, rows * cols) if isinstance(arch, ViTArch) else _convnext_products(arch, rows, cols)
    return 2 * products / 1e9


def _vit_parameters(arch: ViTArch) -> int:
    dim, hidden = arch.dim, arch.ffn_hidden
    attention = 4 * dim * dim + dim + (3 * dim if arch.qkv_bias else 0)
    mlp = 2 * dim * hidden + hidden + dim
    if arch.ffn is Ffn.SWIGLU:
        mlp += dim * hidden + hidden
    block = attention + mlp + 4 * dim + 2 * dim  # two norms and two gains
    front = 3 * arch.patch_size**2 * dim + dim + (2 + arch.storage_tokens) * dim
    return front + arch.depth * block + (4 if arch.local_cls_norm else 2) * dim


def _vit_products(arch: ViTArch, patches: int) -> int:
    tokens, dim = patches + arch.prefix_tokens, arch.dim
    layers = 3 if arch.ffn is Ffn.SWIGLU else 2
    block = tokens * (4 * dim * dim + layers * dim * arch.ffn_hidden) + 2 * tokens * tokens * dim
    return patches * 3 * arch.patch_size**2 * dim + arch.depth * block


def _convnext_parameters(arch: ConvNeXtArch) -> int:
    kernel = _CONVNEXT_KERNEL**2
    stem = 3 * _CONVNEXT_STEM**2 * arch.dims[0] + arch.dims[0] + 2 * arch.dims[0]
    halvings = sum(2 * before + 4 * before * after + after for before, after in pairwise(arch.dims))
    # Depthwise convolution, norm, two linear layers and a gain.
    blocks = sum(
        depth * (kernel * dim + dim + 2 * dim + 8 * dim * dim + 4 * dim + dim + dim)
        for depth, dim in zip(arch.depths, arch.dims, strict=True)
    )
    return stem + halvings + blocks + 2 * arch.dim


def _convnext_products(arch: ConvNeXtArch, rows: int, cols: int) -> int:
    total = 0
    for stage, (depth, dim) in enumerate(zip(arch.depths, arch.dims, strict=True)):
        places = rows * cols * 4 ** (len(arch.dims) - 1 - stage)
        into = 3 * _CONVNEXT_STEM**2 if stage == 0 else 4 * arch.dims[stage - 1]
        total += places * (into * dim + depth * (_CONVNEXT_KERNEL**2 * dim + 8 * dim * dim))
    return total
