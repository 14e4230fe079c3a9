"""Source `hf`: a model of Hugging Face, by the alias of a backbone, by its repository, or from a folder.

DINOv3 models take the names of the official checkpoints and give the same graphs in every precision; other models are
traced (see `exporters.sources.traced`). The source model is always Transformers' own, loaded by `AutoModel`.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from exporters.checkpoints import Checkpoint
from exporters.sources.hf_dinov3 import CONVNEXT, VIT, OfficialNames, dinov3_arch, rope_periods
from exporters.sources.hf_preprocessing import Preprocessing, read_preprocessing
from exporters.sources.hf_repository import PREPROCESSOR, HuggingFaceError, ModelFiles, find_model
from exporters.sources.loaded import LoadedSource, Progress, SourceModel
from exporters.sources.network import network_blocked
from exporters.sources.safetensors_file import read_safetensors
from models.build import build_with_weights
from models.catalogue import Backbone, ConvNeXtArch, Group, ViTArch
from models.contract import SOURCE_HF

LARGE_BYTES = 4_000_000_000
"""Above it, graphs are verified part by part against our own definition: Transformers' model would fill the memory."""

PERIODS_NOTE = (
    "RoPE periods are those of the official checkpoints, rounded to bfloat16; Transformers computes them in float32, "
    "which changes tokens by about 5e-3"
)


def load_hf(
    alias: str,
    model_id: str,
    *,
    backbone: Backbone | None = None,
    token: str | None = None,
    block_network: bool = False,
    progress: Progress | None = None,
) -> LoadedSource:
    """A model with its weights and preprocessing.

    Args:
        alias: what graphs and results are called by.
        model_id: a repository, or a folder as an absolute path.
        backbone: the catalogue's entry where the model was named by its alias.
        token: of an account with access, where the repository is gated.
        block_network: take the model from the local cache only.

    Raises:
        HuggingFaceError: the model cannot be had, is incomplete, not what its alias says, or cannot be exported.
    """
    require_transformers()
    tell = progress or (lambda stage, done, total: None)
    files = find_model(model_id, token, block_network)
    config, preprocessing = files.config(), _preprocessing(files)
    checkpoint = files.checkpoint(progress)
    tell("load", 0, 1)
    reason = ""
    if config.get("model_type") in (VIT, CONVNEXT):
        arch = _checked_arch(config, files)
        if not isinstance(arch, str):
            network = _described(alias, arch, preprocessing, backbone, files)
            source = _load_dinov3(network, files, checkpoint, preprocessing)
            tell("load", 1, 1)
            return source
        reason = f"; it is a DINOv3 model, but {arch}, which the graphs built for DINOv3 do not cover"
    if backbone is not None:
        raise HuggingFaceError(
            f"{model_id} is not {alias}: it is no DINOv3 model of the published kind "
            f"(model_type {config.get('model_type')!r}{reason})"
        )
    from exporters.sources.traced import describe_model

    model = auto_model(files)
    described, source_model = describe_model(alias, config, model, preprocessing, model_id)
    tell("load", 1, 1)
    note = f"{described.arch}: traced by PyTorch's exporter, in fp32 only{reason}"
    return LoadedSource(
        described, checkpoint, None, source_model, SOURCE_HF, model_id, (note,), preprocessing.resampling
    )


def require_transformers() -> None:
    """Raises HuggingFaceError where Transformers is not installed."""
    try:
        import transformers  # noqa: F401
    except ImportError as error:
        raise HuggingFaceError(
            f"--source hf needs transformers ({error}): install the extra 'hf' (pip install 'dinov3-match[hf]')"
        ) from error


def auto_model(files: ModelFiles) -> nn.Module:
    """Transformers' own model in float32, from files on this disk.

    Raises:
        HuggingFaceError: Transformers does not know the architecture, or cannot load the files.
    """
    import transformers

    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with network_blocked("Transformers"):
            model = transformers.AutoModel.from_pretrained(
                str(files.folder), dtype=torch.float32, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # configurations of any kind: whatever Transformers raises is about these files
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise HuggingFaceError(
            f"Transformers {transformers.__version__} cannot load {files.model_id}: {first}"
        ) from error
    finally:
        transformers.logging.set_verbosity(verbosity)
    return cast(nn.Module, model).eval().requires_grad_(False)


def _preprocessing(files: ModelFiles) -> Preprocessing:
    config = files.preprocessor()
    if config is None:
        raise HuggingFaceError(
            f"{files.folder} has no {PREPROCESSOR}, so the colour statistics of its input are unknown: copy the file "
            "from the repository that the model was made from"
        )
    return read_preprocessing(config, files.folder / PREPROCESSOR)


def _checked_arch(config: Mapping[str, Any], files: ModelFiles) -> ViTArch | ConvNeXtArch | str:
    try:
        return dinov3_arch(config)
    except (KeyError, TypeError, ValueError) as error:
        raise HuggingFaceError(f"{files.folder / 'config.json'} is incomplete ({error}): download it again") from error


def _described(
    alias: str,
    arch: ViTArch | ConvNeXtArch,
    preprocessing: Preprocessing,
    backbone: Backbone | None,
    files: ModelFiles,
) -> Backbone:
    """A catalogue entry of the model as its own files describe it."""
    if backbone is None:
        return Backbone(alias, alias, arch, preprocessing.as_pretraining(SOURCE_HF), "", Group.VIT_LVD)
    published = backbone.arch
    if isinstance(published, ViTArch):
        # The second norm of some checkpoints is not used in inference; Transformers' models leave it out.
        published = replace(published, local_cls_norm=False)
    if arch != published:
        raise HuggingFaceError(
            f"{files.model_id} is not {alias}: its config.json describes {arch}, and {alias} is {published}"
        )
    return replace(backbone, arch=arch, pretraining=preprocessing.as_pretraining(backbone.pretraining.name))


def _load_dinov3(
    network: Backbone, files: ModelFiles, checkpoint: Checkpoint, preprocessing: Preprocessing
) -> LoadedSource:
    tensors: dict[str, Tensor] = {}
    for path in files.weights:
        tensors |= read_safetensors(path)
    state = OfficialNames(network, tensors, files.folder)
    notes = [PERIODS_NOTE] if isinstance(network.arch, ViTArch) else []
    model: SourceModel
    if files.weight_bytes > LARGE_BYTES:
        model = build_with_weights(network, state)
        notes.append("compared with this program's own definition, as Transformers' model would fill the memory")
    else:
        model = DinoV3Model(auto_model(files), network)
    return LoadedSource(
        network, checkpoint, state, model, SOURCE_HF, files.model_id, tuple(notes), preprocessing.resampling
    )


class DinoV3Model:
    """Transformers' DINOv3 model as a source model: class and register tokens apart, periods as in checkpoints."""

    def __init__(self, model: nn.Module, network: Backbone) -> None:
        self._model = model
        self._prefix = network.arch.prefix_tokens if isinstance(network.arch, ViTArch) else 1
        if isinstance(network.arch, ViTArch):
            set_periods(model, rope_periods(network.arch))

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        tokens = self._model(pixel_values=image).last_hidden_state
        return tokens[:, self._prefix :], tokens[:, 0]


def set_periods(model: nn.Module, periods: Tensor) -> None:
    """Gives Transformers' model the RoPE periods [head_dim / 4] of a checkpoint.

    Raises:
        HuggingFaceError: the installed Transformers keeps them elsewhere.
    """
    rope = getattr(model, "rope_embeddings", None)
    known = getattr(rope, "inv_freq", None)
    if rope is None or not isinstance(known, Tensor) or known.shape != periods.shape:
        import transformers

        raise HuggingFaceError(
            f"Transformers {transformers.__version__} keeps the RoPE frequencies of DINOv3 where this program does not "
            "know them: install the version of constraints.txt"
        )
    rope.inv_freq = 1.0 / periods
