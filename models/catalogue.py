"""The catalogue of backbones: the only table of names, hashes, sizes and colour statistics.

Standard library only, so that matching works without torch. Architecture figures and file hashes are those
that Meta published with DINOv3 (https://github.com/facebookresearch/dinov3, README and `dinov3/hub/backbones.py`).
"""

import difflib
from dataclasses import dataclass, field
from enum import StrEnum

from models.errors import UsageError

RGB = tuple[float, float, float]


class Group(StrEnum):
    """Families of checkpoints, as users group them on the command line."""

    VIT_LVD = "ViT_LVD1689M"
    CONVNEXT_LVD = "ConvNeXT_LVD1689M"
    VIT_SAT = "ViT_SAT493M"
    BUNDLED = "bundled"


@dataclass(frozen=True)
class Pretraining:
    """The image collection of a checkpoint and the colour statistics its inputs are normalised with."""

    name: str
    mean: RGB
    std: RGB


LVD1689M = Pretraining("lvd1689m", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SAT493M = Pretraining("sat493m", (0.430, 0.411, 0.296), (0.213, 0.156, 0.143))
RSSCN7 = Pretraining("rsscn7", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class Ffn(StrEnum):
    """Feed-forward layer of a ViT block: two linear layers with GELU, or the gated SwiGLU."""

    MLP = "mlp"
    SWIGLU = "swiglu"


@dataclass(frozen=True)
class ViTArch:
    """A DINOv3 vision transformer. `ffn_hidden` is the width between the feed-forward layers."""

    dim: int
    depth: int
    heads: int
    ffn: Ffn
    ffn_hidden: int
    qkv_bias: bool = True
    local_cls_norm: bool = False
    storage_tokens: int = 4
    patch_size: int = 16
    norm_eps: float = 1e-5
    rope_base: float = 100.0

    @property
    def stride(self) -> int:
        """Pixels of the input per token, along each axis."""
        return self.patch_size

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def prefix_tokens(self) -> int:
        """Tokens in front of the patch tokens: one class token and the storage (register) tokens."""
        return 1 + self.storage_tokens


@dataclass(frozen=True)
class ConvNeXtArch:
    """A DINOv3 ConvNeXt: blocks and channels of its four stages."""

    depths: tuple[int, int, int, int]
    dims: tuple[int, int, int, int]
    norm_eps: float = 1e-6

    @property
    def dim(self) -> int:
        """Length of a token."""
        return self.dims[-1]

    @property
    def stride(self) -> int:
        """Pixels of the input per token, along each axis."""
        return 32


@dataclass(frozen=True)
class Backbone:
    """One published network: what it is called, how it is built, and which file holds its weights."""

    alias: str
    file_arch: str
    arch: ViTArch | ConvNeXtArch
    pretraining: Pretraining
    sha256_prefix: str
    group: Group
    hub_entry: str | None = field(default=None)
    hf_repository: str | None = field(default=None)

    @property
    def checkpoint_name(self) -> str:
        """The published file name of the checkpoint."""
        return f"{self.checkpoint_stem}-{self.sha256_prefix}.pth"

    @property
    def checkpoint_stem(self) -> str:
        """The published file name up to the hash."""
        return f"dinov3_{self.file_arch}_pretrain_{self.pretraining.name}"

    @property
    def stride(self) -> int:
        return self.arch.stride

    @property
    def dim(self) -> int:
        return self.arch.dim


def _published(
    alias: str, file_arch: str, arch: ViTArch | ConvNeXtArch, pretraining: Pretraining, sha256_prefix: str, group: Group
) -> Backbone:
    hub_entry = f"dinov3_{file_arch}"
    hf_name = f"dinov3-{file_arch.replace('_', '-')}-pretrain-{pretraining.name}"
    return Backbone(alias, file_arch, arch, pretraining, sha256_prefix, group, hub_entry, f"facebook/{hf_name}")


_VIT_S = ViTArch(384, 12, 6, Ffn.MLP, 1536)
_VIT_S_PLUS = ViTArch(384, 12, 6, Ffn.SWIGLU, 1536)
_VIT_B = ViTArch(768, 12, 12, Ffn.MLP, 3072)
_VIT_L = ViTArch(1024, 24, 16, Ffn.MLP, 4096)
_VIT_L_SAT = ViTArch(1024, 24, 16, Ffn.MLP, 4096, local_cls_norm=True)
_VIT_L_PLUS = ViTArch(1024, 24, 16, Ffn.SWIGLU, 4096)
_VIT_H_PLUS = ViTArch(1280, 32, 20, Ffn.SWIGLU, 5120)
_VIT_7B = ViTArch(4096, 40, 32, Ffn.SWIGLU, 8192, qkv_bias=False, local_cls_norm=True)
_VIT_T = ViTArch(192, 8, 3, Ffn.MLP, 768)

_CX_TINY = ConvNeXtArch((3, 3, 9, 3), (96, 192, 384, 768))
_CX_SMALL = ConvNeXtArch((3, 3, 27, 3), (96, 192, 384, 768))
_CX_BASE = ConvNeXtArch((3, 3, 27, 3), (128, 256, 512, 1024))
_CX_LARGE = ConvNeXtArch((3, 3, 27, 3), (192, 384, 768, 1536))

BUNDLED_ALIAS = "vitt16"

BACKBONES: dict[str, Backbone] = {
    backbone.alias: backbone
    for backbone in (
        _published("vits16", "vits16", _VIT_S, LVD1689M, "08c60483", Group.VIT_LVD),
        _published("vits16+", "vits16plus", _VIT_S_PLUS, LVD1689M, "4057cbaa", Group.VIT_LVD),
        _published("vitb16", "vitb16", _VIT_B, LVD1689M, "73cec8be", Group.VIT_LVD),
        _published("vitl16", "vitl16", _VIT_L, LVD1689M, "8aa4cbdd", Group.VIT_LVD),
        _published("vitl16+", "vitl16plus", _VIT_L_PLUS, LVD1689M, "46503df0", Group.VIT_LVD),
        _published("vith16+", "vith16plus", _VIT_H_PLUS, LVD1689M, "7c1da9a5", Group.VIT_LVD),
        _published("vit7b16", "vit7b16", _VIT_7B, LVD1689M, "a955f4ea", Group.VIT_LVD),
        _published("cxTiny", "convnext_tiny", _CX_TINY, LVD1689M, "21b726bb", Group.CONVNEXT_LVD),
        _published("cxSmall", "convnext_small", _CX_SMALL, LVD1689M, "296db49d", Group.CONVNEXT_LVD),
        _published("cxBase", "convnext_base", _CX_BASE, LVD1689M, "801f2ba9", Group.CONVNEXT_LVD),
        _published("cxLarge", "convnext_large", _CX_LARGE, LVD1689M, "61fa432d", Group.CONVNEXT_LVD),
        _published("vitl16sat", "vitl16", _VIT_L_SAT, SAT493M, "eadcf0ff", Group.VIT_SAT),
        _published("vit7b16sat", "vit7b16", _VIT_7B, SAT493M, "a6675841", Group.VIT_SAT),
        Backbone(BUNDLED_ALIAS, "vitt16", _VIT_T, RSSCN7, "f8ffc836", Group.BUNDLED),
    )
}


class UnknownBackboneError(UsageError, LookupError):
    """No backbone has this alias; the message names the nearest ones."""


def backbone(alias: str) -> Backbone:
    """The backbone of this alias.

    Raises:
        UnknownBackboneError: no such alias; the message lists all and suggests the nearest.
    """
    if alias in BACKBONES:
        return BACKBONES[alias]
    lowered = {name.lower(): name for name in BACKBONES}
    near = difflib.get_close_matches(alias.lower(), lowered, n=1)
    hint = f" Did you mean '{lowered[near[0]]}'?" if near else ""
    raise UnknownBackboneError(f"no backbone is called '{alias}'.{hint} Known: {', '.join(BACKBONES)}")


def in_group(group: Group) -> tuple[Backbone, ...]:
    """The backbones of a group, in catalogue order."""
    return tuple(entry for entry in BACKBONES.values() if entry.group is group)
