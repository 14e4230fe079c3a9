"""Models of other families than DINOv3: what their tokens are, and their graph, traced by PyTorch's exporter.

Nothing is believed of a model that was not seen: the number of tokens at two sizes tells how many stand in front of the
patches, and a changed patch must change its own token most, which tells that tokens follow the grid row by row.
"""

import contextlib
import inspect
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor, nn

from exporters.graph_builder import OPSET
from exporters.graph_file import SINGLE_FILE_LIMIT_BYTES, WrittenGraph, flush_to_disk
from exporters.sources.hf_preprocessing import WHITE, Preprocessing
from exporters.sources.hf_repository import HuggingFaceError
from exporters.sources.interpolation import traceable_interpolation
from exporters.sources.loaded import LoadedSource, OtherNetwork, SourceModel
from models.catalogue import Pretraining
from models.contract import INPUT_IMAGE, OUTPUT_GLOBAL_DESCRIPTOR, OUTPUT_PATCH_TOKENS
from models.errors import WorkError

_PREFIX_AT_MOST = 64
_PROBE_ROWS, _PROBE_COLS = 3, 4
_WITHOUT_CLASS_TOKEN = frozenset({"siglip_vision_model", "siglip2_vision_model", "ijepa"})


class TracingError(WorkError):
    """PyTorch's exporter could not turn a model into a graph."""


class TokenModel(nn.Module):
    """A model of Transformers as a source model: normalised [B, 3, H, W] to patch tokens and global descriptors."""

    def __init__(self, model: nn.Module, prefix: int, has_class_token: bool) -> None:
        super().__init__()
        self.model = model
        self.prefix = prefix
        self.has_class_token = has_class_token
        self._extra = extra_arguments(model)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        tokens = last_tokens(self.model(pixel_values=image, **self._extra).last_hidden_state)
        patches = tokens[:, self.prefix :]
        return patches, tokens[:, 0] if self.has_class_token else patches.mean(dim=1)


class PixelModel(nn.Module):
    """The same from uint8 RGB [B, H, W, 3], as a graph takes it."""

    mean: Tensor
    std: Tensor

    def __init__(self, tokens: TokenModel, pretraining: Pretraining) -> None:
        super().__init__()
        self.tokens = tokens
        self.register_buffer("mean", torch.tensor(pretraining.mean)[:, None, None])
        self.register_buffer("std", torch.tensor(pretraining.std)[:, None, None])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        pixels = image.permute(0, 3, 1, 2).to(torch.float32) / WHITE
        patches, descriptor = self.tokens((pixels - self.mean) / self.std)
        return patches, descriptor


def describe_model(
    alias: str, config: Mapping[str, Any], model: nn.Module, preprocessing: Preprocessing, model_id: str
) -> tuple[OtherNetwork, SourceModel]:
    """What a model gives, found out by running it on small images.

    Args:
        config: the content of its `config.json`.

    Of a model of images and texts, the part for images is taken.

    Raises:
        HuggingFaceError: it gives no tokens of patches in the order of a grid.
    """
    model, config = _image_part(model, config)
    stride = _patch_size(config, model, model_id)
    kind = str(config.get("model_type"))
    counts = [
        (_probe(model, rows * stride, cols * stride, model_id), rows * cols)
        for rows, cols in ((_PROBE_ROWS, _PROBE_COLS), (_PROBE_COLS + 1, _PROBE_ROWS))
    ]
    prefixes = {tokens.shape[1] - patches for tokens, patches in counts}
    prefix = prefixes.pop()
    if prefixes or not 0 <= prefix <= _PREFIX_AT_MOST:
        told = " and ".join(f"{tokens.shape[1]} tokens for {patches} patches" for tokens, patches in counts)
        raise HuggingFaceError(f"{model_id} ({kind}) gives {told} of {stride} px: these are no tokens of patches")
    declared = int(config.get("num_register_tokens") or 0)
    if prefix < declared:
        raise HuggingFaceError(
            f"{model_id} ({kind}) declares {declared} register tokens, but only {prefix} stand before its patches"
        )
    has_class_token = prefix > declared and kind not in _WITHOUT_CLASS_TOKEN
    source = TokenModel(model, prefix, has_class_token).eval()
    _require_grid(source, stride, model_id)
    dim = int(counts[0][0].shape[2])
    return OtherNetwork(alias, kind, stride, dim, preprocessing.as_pretraining(kind), has_class_token), source


def _image_part(model: nn.Module, config: Mapping[str, Any]) -> tuple[nn.Module, Mapping[str, Any]]:
    """The part of a model of images and texts that takes images alone, with its configuration; others as they are."""
    part = getattr(model, "vision_model", None)
    if not isinstance(part, nn.Module) or "input_ids" not in inspect.signature(model.forward).parameters:
        return model, config
    described = getattr(part, "config", None)
    return part, described.to_dict() if described is not None else config.get("vision_config", {})


def extra_arguments(model: nn.Module) -> dict[str, Any]:
    """Arguments that let a model take other image sizes than the one it was trained at."""
    known = inspect.signature(model.forward).parameters
    return {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in known else {}


def last_tokens(state: Tensor) -> Tensor:
    """[B, T, D] as it is; a feature map [B, D, rows, cols] as tokens, row by row."""
    return state.flatten(2).transpose(1, 2) if state.ndim == 4 else state


def _patch_size(config: Mapping[str, Any], model: nn.Module, model_id: str) -> int:
    """The stride: of feature maps by measuring, of tokens from the configuration."""
    tokens = _run(model, 128, 128, model_id)
    if tokens.ndim == 4 and tokens.shape[2] == tokens.shape[3] and 128 % tokens.shape[2] == 0:
        return 128 // int(tokens.shape[2])
    size = config.get("patch_size")
    if isinstance(size, list | tuple) and len(set(size)) == 1:
        size = size[0]
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise HuggingFaceError(
            f"{model_id} ({config.get('model_type')}) has no patch size in its config.json that this program "
            f"understands ({size!r}): it is no model of square patches"
        )
    return size


def _run(model: nn.Module, height: int, width: int, model_id: str) -> Tensor:
    image = torch.randn((1, 3, height, width), generator=torch.Generator().manual_seed(0))
    try:
        with torch.inference_mode():
            state = model(pixel_values=image, **extra_arguments(model)).last_hidden_state
    except Exception as error:  # models of any kind: whatever they raise is about being run like this
        raise HuggingFaceError(
            f"{model_id} cannot be run on an image of {width} x {height} px: {_first_line(error)}"
        ) from error
    if not isinstance(state, Tensor) or state.ndim not in (3, 4):
        raise HuggingFaceError(f"{model_id} gives no tokens (last_hidden_state is no [images, tokens, values])")
    return state


def _probe(model: nn.Module, height: int, width: int, model_id: str) -> Tensor:
    return last_tokens(_run(model, height, width, model_id))


@torch.inference_mode()
def _require_grid(source: TokenModel, stride: int, model_id: str) -> None:
    """Changes one patch after the other, and sees whether its own token changes most."""
    random = torch.Generator().manual_seed(1)
    plain = torch.randn((1, 3, _PROBE_ROWS * stride, _PROBE_COLS * stride), generator=random)
    patches = _PROBE_ROWS * _PROBE_COLS
    changed = plain.repeat(patches, 1, 1, 1)
    for index in range(patches):
        top, left = index // _PROBE_COLS * stride, index % _PROBE_COLS * stride
        changed[index, :, top : top + stride, left : left + stride] += 1.0
    moved = (source(changed)[0] - source(plain)[0]).norm(dim=2)
    own = int((moved.argmax(dim=1) == torch.arange(patches)).sum())
    if 2 * own <= patches:
        raise HuggingFaceError(
            f"{model_id}: a change of one patch changes its own token most in {own} of {patches} places only, so its "
            "tokens do not follow the grid of patches row by row"
        )


def traced_bytes(source: LoadedSource) -> int:
    """Bytes of the weights of a model to be traced.

    Raises:
        TracingError: they exceed 2 GB.
    """
    weight_bytes = 0
    if isinstance(source.model, nn.Module):
        weight_bytes = sum(int(value.nbytes) for value in source.model.state_dict().values())
    if weight_bytes > SINGLE_FILE_LIMIT_BYTES:
        raise TracingError(
            f"{source.model_id} has {weight_bytes / 1e9:.1f} GB of weights; models other than DINOv3 are exported up "
            f"to {SINGLE_FILE_LIMIT_BYTES / 1e9:.0f} GB"
        )
    return weight_bytes


def write_traced(source: LoadedSource, path: Path) -> WrittenGraph:
    """Traces a model into a graph of the contract, dynamic in batch and both sides, and writes it.

    Raises:
        TracingError: PyTorch's exporter cannot trace it, or the result is not dynamic.
    """
    network, model = source.network, source.model
    if not isinstance(model, TokenModel):
        raise TypeError("only models described by `describe_model` are traced")
    stride = network.stride
    example = torch.zeros((2, _PROBE_ROWS * stride, _PROBE_COLS * stride, 3), dtype=torch.uint8)
    dynamic = {INPUT_IMAGE: dict.fromkeys(range(3), torch.export.Dim.DYNAMIC)}
    try:
        with _quiet(), traceable_interpolation(model):
            program = torch.export.export(
                PixelModel(model, network.pretraining).eval(), (example,), dynamic_shapes=dynamic, strict=False
            )
            exported = torch.onnx.export(
                program,
                (),
                dynamo=True,
                input_names=[INPUT_IMAGE],
                output_names=[OUTPUT_PATCH_TOKENS, OUTPUT_GLOBAL_DESCRIPTOR],
                opset_version=OPSET,
                verbose=False,
            )
    except Exception as error:  # the exporter's own errors share no base class
        raise TracingError(
            f"PyTorch {torch.__version__} cannot export {source.model_id} ({network.arch}): {_first_line(error)}"
        ) from error
    if exported is None:
        raise TracingError(f"PyTorch {torch.__version__} gave no graph of {source.model_id}")
    graph = exported.model_proto
    _name_sides(graph, network.dim, source.model_id)
    with path.open("wb") as file:
        file.write(graph.SerializeToString())
        flush_to_disk(file)
    return WrittenGraph(path)


def _name_sides(model: onnx.ModelProto, dim: int, model_id: str) -> None:
    """Gives the dynamic sides the contract's names, and removes what the tracer noted about this machine."""
    wanted: dict[str, list[int | str]] = {
        INPUT_IMAGE: ["batch", "height", "width", 3],
        OUTPUT_PATCH_TOKENS: ["batch", "tokens", dim],
        OUTPUT_GLOBAL_DESCRIPTOR: ["batch", dim],
    }
    for value in [*model.graph.input, *model.graph.output]:
        sides = value.type.tensor_type.shape.dim
        for side, name in zip(sides, wanted[value.name], strict=True):
            if isinstance(name, int):
                side.dim_value = name
                continue
            if side.HasField("dim_value"):
                raise TracingError(
                    f"the traced graph of {model_id} has a fixed {name} of {side.dim_value} in '{value.name}', so it "
                    "would run at one size only"
                )
            side.dim_param = name
    del model.graph.value_info[:], model.metadata_props[:], model.graph.metadata_props[:]
    for part in [*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        del part.metadata_props[:]
        part.doc_string = ""
    model.producer_name = "dinov3-match"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own progress and its remarks about parts of PyTorch; errors come as exceptions."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
