"""Source `hub`: the original code, from a local clone of facebookresearch/dinov3.

The clone's entry point builds the network, as `torch.hub.load(REPO_DIR, ENTRY, source="local")` does. The weights are
ours to load: judged by their hash, read as tensors only, and not copied to a download cache under their bare name. So
the entry point is asked for a network without weights; it is still told the published file name, from which it sees
whether the checkpoint has the second norm of the SAT collection.
"""

import importlib
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from exporters.checkpoints import check_keys
from exporters.sources.builtin import load_builtin
from exporters.sources.loaded import LoadedSource, Progress
from exporters.sources.network import NetworkBlockedError, network_blocked
from models.catalogue import Backbone
from models.contract import SOURCE_HUB
from models.errors import UsageError, WorkError

BACKBONES_MODULE = "dinov3.hub.backbones"
_PACKAGE = "dinov3"


class HubError(WorkError):
    """A clone of DINOv3 is missing, incomplete, or its code failed."""


def load_hub(
    backbone: Backbone,
    repository: Path | None,
    checkpoint: Path,
    *,
    block_network: bool = True,
    unofficial: bool = False,
    progress: Progress | None = None,
) -> LoadedSource:
    """The clone's own model with the weights of a checkpoint.

    Args:
        repository: the clone (`REPO_DIR`). Its code is run.
        checkpoint: see `load_builtin`.
        block_network: keep the clone's code off the network.

    Raises:
        UsageError: the backbone has no entry point, or no clone was named.
        HubError: the clone is not one, fails, or builds another network than the checkpoint is of.
        CheckpointError: the checkpoint is missing, bad or one of several.
    """
    entry = backbone.hub_entry
    if entry is None:
        raise UsageError(f"{backbone.alias} is no backbone of facebookresearch/dinov3: use --source builtin")
    require_clone(repository)
    source = load_builtin(backbone, checkpoint, unofficial=unofficial, progress=progress)
    state = source.state or {}
    with _guard(f"the code of {repository}", block_network):
        model, notes = build_model(Path(str(repository)), entry, backbone.checkpoint_name)
    _load_weights(model, backbone, state, Path(str(repository)))
    return LoadedSource(
        backbone, source.checkpoint, state, HubModel(model, block_network), SOURCE_HUB, entry, notes=tuple(notes)
    )


class HubModel:
    """The clone's model as a source model: tokens after the final norm, class and storage tokens apart."""

    def __init__(self, model: nn.Module, block_network: bool) -> None:
        self._model = model.eval().requires_grad_(False)
        self._block_network = block_network

    def __call__(self, image: Tensor) -> tuple[Tensor, Tensor]:
        with _guard("the model's code", self._block_network):
            features = self._model.forward_features(image)  # type: ignore[operator]
        return features["x_norm_patchtokens"], features["x_norm_clstoken"]


def require_clone(repository: Path | None) -> Path:
    """Raises UsageError where no clone was named, and HubError where the folder is none."""
    if repository is None:
        raise UsageError(
            "--source hub runs the original code: clone https://github.com/facebookresearch/dinov3 and set REPO_DIR to "
            "that folder (CODE_HOST in .env)"
        )
    if not (repository / _PACKAGE / "hub" / "backbones.py").is_file():
        raise HubError(
            f"{repository} is no clone of facebookresearch/dinov3: it has no dinov3/hub/backbones.py. "
            "Set REPO_DIR to the folder that holds hubconf.py"
        )
    return repository


def build_model(repository: Path, entry: str, weights_name: str) -> tuple[nn.Module, list[str]]:
    """The network that the clone's entry point builds, without weights, and what there is to tell.

    The original `hubconf.py` imports everything that the project offers, and with it torchvision and others; where one
    is missing, the entry point is taken from the module that defines it.

    Raises:
        HubError: neither way gives a model.
    """
    _forget_other_clones(repository)
    arguments: dict[str, Any] = {"pretrained": False, "weights": weights_name}
    notes: list[str] = []
    try:
        model = torch.hub.load(  # type: ignore[no-untyped-call]
            str(repository), entry, source="local", trust_repo=True, verbose=False, **arguments
        )
    except NetworkBlockedError:
        raise
    except (ImportError, RuntimeError, FileNotFoundError) as error:
        if isinstance(error, RuntimeError) and not _names_missing_parts(error):
            raise HubError(f"the entry point {entry} of {repository} failed: {_first_line(error)}") from error
        notes.append(
            f"hubconf.py of {repository} cannot be imported here ({_first_line(error)}): took {entry} from "
            f"{BACKBONES_MODULE}, which defines it"
        )
        model = _from_backbones(repository, entry, arguments)
    except Exception as error:  # the clone's code may raise anything
        raise HubError(f"the entry point {entry} of {repository} failed: {_first_line(error)}") from error
    if not isinstance(model, nn.Module) or not hasattr(model, "forward_features"):
        raise HubError(f"the entry point {entry} of {repository} gives no DINOv3 model (it has no forward_features)")
    return model, notes


def _from_backbones(repository: Path, entry: str, arguments: Mapping[str, Any]) -> object:
    _forget_other_clones(None)  # what a failed import left half done
    sys.path.insert(0, str(repository))
    try:
        module = importlib.import_module(BACKBONES_MODULE)
        return getattr(module, entry)(**arguments)
    except NetworkBlockedError:
        raise
    except Exception as error:  # as above
        raise HubError(
            f"{BACKBONES_MODULE} of {repository} gives no {entry}: {_first_line(error)}. Update the clone, or use "
            "--source builtin, which reads the same checkpoint"
        ) from error
    finally:
        sys.path.remove(str(repository))


def _load_weights(model: nn.Module, backbone: Backbone, state: Mapping[str, Tensor], repository: Path) -> None:
    """Copies the checked tensors into the clone's model, whose tensors must be the very same ones."""
    check_keys(backbone, repository, model.state_dict(), "builds another network than")
    try:
        model.load_state_dict(dict(state), strict=True)
    except RuntimeError as error:
        raise HubError(f"the model of {repository} does not take the checkpoint: {_first_line(error)}") from error


def _forget_other_clones(repository: Path | None) -> None:
    """Unloads the package `dinov3` where it came from elsewhere: Python would go on using it."""
    loaded = sys.modules.get(_PACKAGE)
    if loaded is None:
        return
    places = [Path(place).resolve() for place in getattr(loaded, "__path__", [])]
    if repository is not None and (repository / _PACKAGE).resolve() in places:
        return
    for name in [name for name in sys.modules if name == _PACKAGE or name.startswith(f"{_PACKAGE}.")]:
        del sys.modules[name]
    importlib.invalidate_caches()


def _names_missing_parts(error: RuntimeError) -> bool:
    """PyTorch's own words for a `dependencies` list that is not met, or an entry point that hubconf.py lacks."""
    return str(error).startswith(("Missing dependencies", "Cannot find callable"))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _guard(whose: str, block_network: bool) -> AbstractContextManager[None]:
    return network_blocked(whose) if block_network else nullcontext()
