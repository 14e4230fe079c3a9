"""From a catalogue entry to its PyTorch module, without weights or with those of a state dict."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.catalogue import Backbone, ViTArch
from models.convnext import DinoConvNeXt
from models.vit import DinoVisionTransformer

DinoModel = DinoVisionTransformer | DinoConvNeXt


def build(backbone: Backbone) -> DinoModel:
    """The network of a backbone with its initial values. Under `torch.device("meta")` it takes no memory."""
    arch = backbone.arch
    return DinoVisionTransformer(arch) if isinstance(arch, ViTArch) else DinoConvNeXt(arch)


def expected_shapes(backbone: Backbone) -> dict[str, tuple[int, ...]]:
    """Every key of the official checkpoint with its shape; nothing is allocated."""
    with torch.device("meta"):
        return {key: tuple(value.shape) for key, value in build(backbone).state_dict().items()}


def build_with_weights(backbone: Backbone, state: Mapping[str, Tensor]) -> DinoModel:
    """The network in evaluation mode, holding the very tensors of `state` (memory-mapped ones stay mapped).

    Raises:
        RuntimeError: keys or shapes of `state` are not those of `expected_shapes`.
    """
    with torch.device("meta"):
        model = build(backbone)
    model.load_state_dict(dict(state), strict=True, assign=True)
    return model.eval().requires_grad_(False)


def parameter_count(backbone: Backbone) -> int:
    """Number of trained values; buffers do not count, and the doubled ConvNeXt norm counts once."""
    with torch.device("meta"):
        model: nn.Module = build(backbone)
    return sum(parameter.numel() for parameter in model.parameters())
