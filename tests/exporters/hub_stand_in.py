"""A stand-in for a clone of facebookresearch/dinov3: its layout and entry points, with this project's network."""

from pathlib import Path

HUBCONF = """
{before}
from dinov3.hub.backbones import dinov3_vits16, dinov3_convnext_tiny

dependencies = ["torch"]
"""
BACKBONES = """
from models.build import build
from models.catalogue import BACKBONES
from models.random_checkpoint import shortened

{extra}

def make(alias):
    model = build(shortened(BACKBONES[alias], 1))
    {build}

    class Model(type(model)):
        def forward_features(self, image):
            {hook}
            tokens = self(image)
            return {{"x_norm_clstoken": tokens.class_token, "x_norm_patchtokens": tokens.patch_tokens + {offset}}}

    model.__class__ = Model
    return model


def dinov3_vits16(*, pretrained=True, weights="LVD1689M", check_hash=False, **kwargs):
    assert not pretrained, "weights are loaded by the caller"
    assert weights.endswith("-08c60483.pth")
    return make("vits16")


def dinov3_convnext_tiny(*, pretrained=True, weights="LVD1689M", **kwargs):
    assert not pretrained
    return make("cxTiny")
"""


def write_clone(
    folder: Path,
    *,
    before: str = "",
    extra: str = "",
    build: str = "pass",
    hook: str = "pass",
    offset: float = 0.0,
) -> Path:
    """Writes a clone; `before` runs when hubconf.py is imported, `extra` with the entry points, `build` when a network
    is made, `hook` in every run."""
    (folder / "dinov3" / "hub").mkdir(parents=True)
    (folder / "hubconf.py").write_text(HUBCONF.format(before=before))
    for place in ("dinov3", "dinov3/hub"):
        (folder / place / "__init__.py").write_text("")
    content = BACKBONES.format(extra=extra, build=build, hook=hook, offset=offset)
    (folder / "dinov3/hub/backbones.py").write_text(content)
    return folder
