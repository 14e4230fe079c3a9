"""From a catalogue entry to its PyTorch module, without weights or with those of a state dict."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.catalogue import Backbone, ViTArch
from models.convnext import ConvNeXtBlock, DinoConvNeXt
from models.vit import Block, DinoVisionTransformer

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
    """The network in evaluation mode with the tensors of `state`.

    Of a dict it holds the very tensors (memory-mapped ones stay mapped). Other mappings make tensors when asked for
    them: each block then asks for its own whenever it runs, and lets them go, so that memory holds one block at a time.

    Raises:
        RuntimeError: keys or shapes of `state` are not those of `expected_shapes`.
    """
    with torch.device("meta"):
        model = build(backbone)
    model.requires_grad_(False)
    if isinstance(state, dict):
        model.load_state_dict(state, strict=True, assign=True)
    else:
        _stream(model, state)
    return model.eval().requires_grad_(False)


def _stream(model: DinoModel, state: Mapping[str, Tensor]) -> None:
    expected = model.state_dict().keys()
    if expected != state.keys():
        raise RuntimeError(f"other keys than those of the network: {sorted(expected ^ state.keys())[:4]}")
    blocks = {name: part for name, part in model.named_modules() if isinstance(part, Block | ConvNeXtBlock)}
    streamed = {f"{name}.{key}" for name, block in blocks.items() for key in block.state_dict()}
    outside = {key: state[key] for key in expected if key not in streamed}
    model.load_state_dict(outside, strict=False, assign=True)
    for name, block in blocks.items():
        _stream_block(block, state, f"{name}.")


def _stream_block(block: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    keys = list(block.state_dict())

    def fill(*_: object) -> None:
        block.load_state_dict({key: state[prefix + key] for key in keys}, strict=True, assign=True)

    def empty(*_: object) -> None:
        block.to("meta")

    block.register_forward_pre_hook(fill)
    block.register_forward_hook(empty, always_call=True)


def parameter_count(backbone: Backbone) -> int:
    """Number of trained values; buffers do not count, and the doubled ConvNeXt norm counts once."""
    with torch.device("meta"):
        model: nn.Module = build(backbone)
    return sum(parameter.numel() for parameter in model.parameters())
