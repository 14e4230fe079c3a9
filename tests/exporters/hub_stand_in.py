"""A stand-in for a clone of facebookresearch/dinov3: its layout and entry points, with this project's network."""

from pathlib import Path

HUBCONF = """
{before}
from dinov3.hub.backbones import dinov3_vits16, dinov3_convnext_tiny

dependencies = ["torch"]
"""
BACKBONES = """
from dataclasses import replace

from torch import nn

from models.build import build
from models.catalogue import BACKBONES
from models.random_checkpoint import shortened

{extra}

class Model(nn.Module):
    def __init__(self, alias):
        super().__init__()
        inner = build(shortened(BACKBONES[alias], 1))
        for name, part in inner.named_children():
            setattr(self, name, part)
        for name, value in list(inner.named_parameters(recurse=False)):
            setattr(self, name, value)
        self.__dict__["inner"] = inner

    def load_state_dict(self, state, strict=True):
        return self.inner.load_state_dict(state, strict=strict)

    def forward_features(self, image):
        {hook}
        tokens = self.inner(image)
        return {{"x_norm_clstoken": tokens.class_token, "x_norm_patchtokens": tokens.patch_tokens + {offset}}}


def dinov3_vits16(*, pretrained=True, weights="LVD1689M", check_hash=False, **kwargs):
    assert not pretrained, "weights are loaded by the caller"
    assert weights.endswith("-08c60483.pth")
    return Model("vits16")


def dinov3_convnext_tiny(*, pretrained=True, weights="LVD1689M", **kwargs):
    assert not pretrained
    return Model("cxTiny")
"""


def write_clone(folder: Path, *, before: str = "", extra: str = "", hook: str = "pass", offset: float = 0.0) -> Path:
    """Writes a clone; `before` runs when hubconf.py is imported, `extra` with the entry points, `hook` in every run."""
    (folder / "dinov3" / "hub").mkdir(parents=True)
    (folder / "hubconf.py").write_text(HUBCONF.format(before=before))
    for place in ("dinov3", "dinov3/hub"):
        (folder / place / "__init__.py").write_text("")
    (folder / "dinov3/hub/backbones.py").write_text(BACKBONES.format(extra=extra, hook=hook, offset=offset))
    return folder
