"""The DINOv3 vision transformer, with the state-dict keys of the official checkpoints.

Written from the published description: O. Siméoni et al., "DINOv3", arXiv:2508.10104, and J. Su et al.,
"RoFormer", arXiv:2104.09864, for rotary position embeddings.
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.catalogue import Ffn, ViTArch


class Tokens(NamedTuple):
    """Final-norm tokens: `patch_tokens` [B, N, D] in row-major grid order and `class_token` [B, D]."""

    patch_tokens: Tensor
    class_token: Tensor


class PatchEmbed(nn.Module):
    """Cuts [B, 3, H, W] into patches and projects each to a token: [B, H/p * W/p, D]."""

    def __init__(self, dim: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_size, stride=patch_size)

    def forward(self, image: Tensor) -> Tensor:
        return cast(Tensor, self.proj(image)).flatten(2).transpose(1, 2)


class RopeEmbed(nn.Module):
    """Axial rotary angles of a patch grid.

    `periods` [head_dim / 4] is part of the checkpoint, where its values are rounded to bfloat16.
    """

    periods: Tensor

    def __init__(self, head_dim: int, base: float) -> None:
        super().__init__()
        exponents = torch.arange(head_dim // 4, dtype=torch.float32) / (head_dim // 4)
        self.register_buffer("periods", (base**exponents).bfloat16().float())

    def forward(
        self, rows: int, cols: int, scale: Tensor | None = None, shift: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Sine and cosine, each [rows * cols, head_dim] float32.

        Args:
            scale: [2] factors on the (row, col) coordinates; an augmentation of training.
            shift: [2] offsets of the (row, col) coordinates in [-1, 1] units; an augmentation of training.
        """
        device = self.periods.device
        row = (torch.arange(rows, dtype=torch.float32, device=device) + 0.5) / rows
        col = (torch.arange(cols, dtype=torch.float32, device=device) + 0.5) / cols
        coords = torch.stack(torch.meshgrid(row, col, indexing="ij"), dim=-1).reshape(-1, 2) * 2.0 - 1.0
        if shift is not None:
            coords = coords + shift
        if scale is not None:
            coords = coords * scale
        half = (2.0 * math.pi * coords[:, :, None] / self.periods.float()).flatten(1)
        angles = torch.cat((half, half), dim=-1)
        return angles.sin(), angles.cos()


def rotate(tokens: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
    """Rotates the trailing `len(sin)` tokens of [B, heads, N, head_dim]; the prefix tokens stay as they are."""
    prefix = tokens.shape[-2] - sin.shape[-2]
    head, patches = tokens[..., :prefix, :], tokens[..., prefix:, :]
    first, second = patches.float().chunk(2, dim=-1)
    turned = torch.cat((-second, first), dim=-1)
    return torch.cat((head, (patches.float() * cos + turned * sin).to(tokens.dtype)), dim=-2)


class KeyMaskedLinear(nn.Linear):
    """The joint query-key-value projection. `bias_mask` holds zeros for the key third and ones elsewhere."""

    bias_mask: Tensor

    def __init__(self, dim: int, *, bias: bool) -> None:
        super().__init__(dim, 3 * dim, bias=bias)
        if bias:
            mask = torch.ones(3 * dim)
            mask[dim : 2 * dim] = 0.0
            self.register_buffer("bias_mask", mask)

    def forward(self, tokens: Tensor) -> Tensor:
        bias = None if self.bias is None else self.bias * self.bias_mask
        return functional.linear(tokens, self.weight, bias)


class Attention(nn.Module):
    """Multi-head self-attention with rotary position embedding of the patch tokens."""

    def __init__(self, arch: ViTArch) -> None:
        super().__init__()
        self.heads = arch.heads
        self.qkv = KeyMaskedLinear(arch.dim, bias=arch.qkv_bias)
        self.proj = nn.Linear(arch.dim, arch.dim)

    def forward(self, tokens: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        batch, count, dim = tokens.shape
        qkv = self.qkv(tokens).reshape(batch, count, 3, self.heads, dim // self.heads)
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
        mixed = functional.scaled_dot_product_attention(rotate(query, sin, cos), rotate(key, sin, cos), value)
        return cast(Tensor, self.proj(mixed.transpose(1, 2).reshape(batch, count, dim)))


class LayerScale(nn.Module):
    """A learnt gain per channel on a residual branch."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class Mlp(nn.Module):
    """Two linear layers with exact GELU between them."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.fc2(functional.gelu(self.fc1(tokens))))


class SwiGlu(nn.Module):
    """The gated layer w3(silu(w1 x) * w2 x) of N. Shazeer, arXiv:2002.05202."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.w1 = nn.Linear(dim, hidden)
        self.w2 = nn.Linear(dim, hidden)
        self.w3 = nn.Linear(hidden, dim)

    def forward(self, tokens: Tensor) -> Tensor:
        return cast(Tensor, self.w3(functional.silu(self.w1(tokens)) * self.w2(tokens)))


class Block(nn.Module):
    """Pre-norm transformer block with LayerScale on both residual branches."""

    def __init__(self, arch: ViTArch) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(arch.dim, eps=arch.norm_eps)
        self.attn = Attention(arch)
        self.ls1 = LayerScale(arch.dim)
        self.norm2 = nn.LayerNorm(arch.dim, eps=arch.norm_eps)
        ffn = Mlp if arch.ffn is Ffn.MLP else SwiGlu
        self.mlp = ffn(arch.dim, arch.ffn_hidden)
        self.ls2 = LayerScale(arch.dim)

    def forward(self, tokens: Tensor, sin: Tensor, cos: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens), sin, cos))
        return cast(Tensor, tokens + self.ls2(self.mlp(self.norm2(tokens))))


class DinoVisionTransformer(nn.Module):
    """DINOv3 ViT: normalised float32 image [B, 3, H, W], H and W multiples of the patch size, to `Tokens`."""

    def __init__(self, arch: ViTArch) -> None:
        super().__init__()
        self.arch = arch
        self.cls_token = nn.Parameter(torch.zeros(1, 1, arch.dim))
        self.storage_tokens = nn.Parameter(torch.zeros(1, arch.storage_tokens, arch.dim))
        self.mask_token = nn.Parameter(torch.zeros(1, arch.dim))
        self.patch_embed = PatchEmbed(arch.dim, arch.patch_size)
        self.rope_embed = RopeEmbed(arch.head_dim, arch.rope_base)
        self.blocks = nn.ModuleList(Block(arch) for _ in range(arch.depth))
        self.norm = nn.LayerNorm(arch.dim, eps=arch.norm_eps)
        if arch.local_cls_norm:
            # Part of the SAT and 7B checkpoints; used on local crops in training, never in inference.
            self.local_cls_norm = nn.LayerNorm(arch.dim, eps=arch.norm_eps)

    def forward(self, image: Tensor, rope_scale: Tensor | None = None, rope_shift: Tensor | None = None) -> Tokens:
        tokens, sin, cos = self.embed(image, rope_scale, rope_shift)
        for block in self.blocks:
            tokens = block(tokens, sin, cos)
        return self.finish(tokens)

    def embed(
        self, image: Tensor, rope_scale: Tensor | None = None, rope_shift: Tensor | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the first block takes: tokens [B, prefix + N, D], and sine and cosine of the patch grid."""
        patch = self.arch.patch_size
        rows, cols = image.shape[-2] // patch, image.shape[-1] // patch
        sin, cos = self.rope_embed(rows, cols, rope_scale, rope_shift)
        prefix = torch.cat((self.cls_token, self.storage_tokens), dim=1).expand(image.shape[0], -1, -1)
        return torch.cat((prefix, self.patch_embed(image)), dim=1), sin, cos

    def finish(self, tokens: Tensor) -> Tokens:
        """The outputs, from the tokens [B, prefix + N, D] that the last block gives."""
        tokens = self.norm(tokens)
        return Tokens(tokens[:, self.arch.prefix_tokens :], tokens[:, 0])
