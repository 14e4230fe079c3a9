"""DINOv3 models of Hugging Face under the names of the official checkpoints, so that the same graphs are built.

Transformers keeps query, key and value apart, has no key bias, leaves out what inference does not use, and computes
RoPE periods in float32 where checkpoints hold them rounded to bfloat16.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from exporters.sources.hf_repository import HuggingFaceError
from models.build import expected_shapes
from models.catalogue import Backbone, ConvNeXtArch, Ffn, ViTArch
from models.vit import RopeEmbed

VIT, CONVNEXT = "dinov3_vit", "dinov3_convnext"
"""`model_type` of their configurations."""

_STAGES = 4
_VIT_LAYERS = {
    "attn.proj": "attention.o_proj",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.fc1": "mlp.up_proj",
    "mlp.fc2": "mlp.down_proj",
    "mlp.w1": "mlp.gate_proj",
    "mlp.w2": "mlp.up_proj",
    "mlp.w3": "mlp.down_proj",
}
_VIT_OUTSIDE = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "storage_tokens": "embeddings.register_tokens",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.bias",
    "norm.weight": "norm.weight",
    "norm.bias": "norm.bias",
}
_CONVNEXT_LAYERS = {
    "dwconv": "depthwise_conv",
    "norm": "layer_norm",
    "pwconv1": "pointwise_conv1",
    "pwconv2": "pointwise_conv2",
    "gamma": "gamma",
}


def dinov3_arch(config: Mapping[str, Any]) -> ViTArch | ConvNeXtArch | str:
    """Our architecture of a configuration; a reason where our definition does not cover it."""
    if config.get("num_channels", 3) != 3:
        return f"it takes {config['num_channels']} channels"
    return _vit_arch(config) if config.get("model_type") == VIT else _convnext_arch(config)


def _vit_arch(config: Mapping[str, Any]) -> ViTArch | str:
    gated = bool(config.get("use_gated_mlp", False))
    wanted = {
        "hidden_act": "silu" if gated else "gelu",
        "key_bias": False,
        "proj_bias": True,
        "mlp_bias": True,
        "value_bias": config.get("query_bias", True),
    }
    standard = {"hidden_act": "gelu", "key_bias": False, "proj_bias": True, "mlp_bias": True, "value_bias": True}
    for name, value in wanted.items():
        if config.get(name, standard[name]) != value:
            return f"its {name} is {config.get(name, standard[name])!r}"
    patch = config.get("patch_size", 16)
    if not isinstance(patch, int):
        return f"its patches are {patch}"
    return ViTArch(
        dim=int(config["hidden_size"]),
        depth=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        ffn=Ffn.SWIGLU if gated else Ffn.MLP,
        ffn_hidden=int(config["intermediate_size"]),
        qkv_bias=bool(config.get("query_bias", True)),
        storage_tokens=int(config.get("num_register_tokens", 0)),
        patch_size=patch,
        norm_eps=float(config.get("layer_norm_eps", 1e-5)),
        rope_base=float(config.get("rope_theta", 100.0)),
    )


def _convnext_arch(config: Mapping[str, Any]) -> ConvNeXtArch | str:
    depths, dims = config.get("depths"), config.get("hidden_sizes")
    if not (isinstance(depths, list) and isinstance(dims, list) and len(depths) == len(dims) == _STAGES):
        return f"it has not {_STAGES} stages"
    if config.get("hidden_act", "gelu") != "gelu":
        return f"its hidden_act is {config['hidden_act']!r}"
    first, second, third, fourth = (int(depth) for depth in depths)
    a, b, c, d = (int(dim) for dim in dims)
    return ConvNeXtArch((first, second, third, fourth), (a, b, c, d), float(config.get("layer_norm_eps", 1e-6)))


def rope_periods(arch: ViTArch) -> Tensor:
    """The periods that checkpoints of this architecture hold: rounded to bfloat16."""
    return RopeEmbed(arch.head_dim, arch.rope_base).periods


class OfficialNames(Mapping[str, Tensor]):
    """A model's tensors under the official names, float32, made when they are asked for."""

    def __init__(self, backbone: Backbone, tensors: Mapping[str, Tensor], origin: object) -> None:
        """Checks that every tensor is there, has its shape and is finite, and that none is left over.

        Args:
            backbone: with the architecture of the model's own configuration.
            tensors: as the files hold them.
            origin: the folder, for messages.

        Raises:
            HuggingFaceError: a tensor is missing, of another shape, left over, or holds values that are not finite.
        """
        self._shapes = expected_shapes(backbone)
        known = {re.sub(r"^model\.(?=layer\.|stages\.)", "", name): value for name, value in tensors.items()}
        make = _vit_maker if isinstance(backbone.arch, ViTArch) else _convnext_maker
        self._made: dict[str, Callable[[], Tensor]] = {}
        used: set[str] = set()
        missing: list[str] = []
        for key, shape in self._shapes.items():
            names, maker = make(backbone, key, shape)
            absent = [name for name in names if name not in known]
            missing += absent
            used.update(names)
            if not absent:
                self._made[key] = _bound(maker, [known[name] for name in names])
        left = sorted(set(known) - used)
        if missing or left:
            told = [f"{len(some)} {what} ({', '.join(some[:3])})" for what, some in _both(missing, left) if some]
            raise HuggingFaceError(f"{origin} is no whole DINOv3 model: of its tensors {' and '.join(told)}")
        for key, shape in self._shapes.items():
            value = self[key]
            if tuple(value.shape) != shape:
                raise HuggingFaceError(f"{origin}: '{key}' has the shape {list(value.shape)} instead of {list(shape)}")
            if not bool(torch.isfinite(value).all()):
                raise HuggingFaceError(f"{origin} holds values that are not finite (NaN or infinite) in '{key}'")

    def __getitem__(self, key: str) -> Tensor:
        return self._made[key]().detach().float()

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


Maker = Callable[[list[Tensor]], Tensor]


def _both(missing: list[str], left: list[str]) -> tuple[tuple[str, list[str]], ...]:
    return ("are missing", missing), ("are left over", left)


def _bound(maker: Maker, tensors: list[Tensor]) -> Callable[[], Tensor]:
    return lambda: maker(tensors)


def _same(tensors: list[Tensor]) -> Tensor:
    return tensors[0]


def _vit_maker(backbone: Backbone, key: str, shape: tuple[int, ...]) -> tuple[list[str], Maker]:
    """Names of the tensors that an official one is made from, and how."""
    arch = backbone.arch
    if key == "rope_embed.periods" and isinstance(arch, ViTArch):
        return [], lambda _: rope_periods(arch)
    if key in _VIT_OUTSIDE:
        return [_VIT_OUTSIDE[key]], lambda found: found[0].reshape(shape)
    _, index, rest = key.split(".", 2)
    layer = f"layer.{index}"
    if rest == "attn.qkv.weight":
        return [f"{layer}.attention.{part}_proj.weight" for part in "qkv"], torch.cat
    if rest == "attn.qkv.bias":
        return [f"{layer}.attention.{part}_proj.bias" for part in "qv"], _joint_bias
    if rest == "attn.qkv.bias_mask":
        third = shape[0] // 3
        return [], lambda _: torch.cat([torch.ones(third), torch.zeros(third), torch.ones(third)])
    name, _, kind = rest.rpartition(".")
    if rest in _VIT_LAYERS:
        return [f"{layer}.{_VIT_LAYERS[rest]}"], _same
    return [f"{layer}.{_VIT_LAYERS.get(name, name)}.{kind}"], _same


def _joint_bias(found: list[Tensor]) -> Tensor:
    query, value = found
    return torch.cat([query, torch.zeros_like(query), value])


def _convnext_maker(backbone: Backbone, key: str, shape: tuple[int, ...]) -> tuple[list[str], Maker]:
    """As `_vit_maker`."""
    del backbone, shape
    parts = key.split(".")
    if parts[0] == "downsample_layers":
        return [".".join(["stages", parts[1], "downsample_layers", *parts[2:]])], _same
    if parts[0] == "stages":
        return [".".join(["stages", parts[1], "layers", parts[2], _CONVNEXT_LAYERS[parts[3]], *parts[4:]])], _same
    return [f"layer_norm.{parts[-1]}"], _same  # `norm` and `norms.3`, one and the same
