"""The DINOv3 ConvNeXt, with the state-dict keys of the official checkpoints.

Written from the published description: Z. Liu et al., "A ConvNet for the 2020s", arXiv:2201.03545, and
O. Siméoni et al., "DINOv3", arXiv:2508.10104, for its use of one class token and of the final norm.
"""

from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.catalogue import ConvNeXtArch
from models.vit import Tokens

STEM_PATCH = 4
"""Pixels per position of the first stage, along each axis; every later stage halves the grid."""


class ChannelsFirstNorm(nn.LayerNorm):
    """LayerNorm over the channels of [B, C, H, W]."""

    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class ConvNeXtBlock(nn.Module):
    """Depthwise 7 x 7 convolution, LayerNorm and a two-layer MLP with exact GELU, on a residual branch."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(dim, dim, 7, padding=3, groups=dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.pwconv1 = nn.Linear(dim, 4 * dim)
        self.pwconv2 = nn.Linear(4 * dim, dim)
        self.gamma = nn.Parameter(torch.full((dim,), 1e-6))

    def forward(self, features: Tensor) -> Tensor:
        branch = self.norm(self.dwconv(features).permute(0, 2, 3, 1))
        branch = self.gamma * self.pwconv2(functional.gelu(self.pwconv1(branch)))
        return features + cast(Tensor, branch).permute(0, 3, 1, 2)


class DinoConvNeXt(nn.Module):
    """DINOv3 ConvNeXt: normalised float32 image [B, 3, H, W], H and W multiples of 32, to `Tokens`.

    Patch tokens are the positions of the last stage; the class token is their mean. Both pass the final norm.
    """

    def __init__(self, arch: ConvNeXtArch) -> None:
        super().__init__()
        self.arch = arch
        dims, eps = arch.dims, arch.norm_eps
        stem = nn.Sequential(nn.Conv2d(3, dims[0], STEM_PATCH, stride=STEM_PATCH), ChannelsFirstNorm(dims[0], eps=eps))
        halvings = (
            nn.Sequential(ChannelsFirstNorm(before, eps=eps), nn.Conv2d(before, after, 2, stride=2))
            for before, after in pairwise(dims)
        )
        self.downsample_layers = nn.ModuleList((stem, *halvings))
        self.stages = nn.ModuleList(
            nn.Sequential(*(ConvNeXtBlock(dim, eps) for _ in range(depth)))
            for depth, dim in zip(arch.depths, dims, strict=True)
        )
        self.norm = nn.LayerNorm(arch.dim, eps=eps)
        # One module under two names: official checkpoints hold the final norm as `norm` and as `norms.3`.
        self.norms = nn.ModuleList((nn.Identity(), nn.Identity(), nn.Identity(), self.norm))

    def forward(self, image: Tensor) -> Tokens:
        features = image
        for downsample, stage in zip(self.downsample_layers, self.stages, strict=True):
            features = stage(downsample(features))
        patches = features.flatten(2).transpose(1, 2)
        tokens = self.norm(torch.cat((patches.mean(dim=1, keepdim=True), patches), dim=1))
        return Tokens(tokens[:, 1:], tokens[:, 0])
