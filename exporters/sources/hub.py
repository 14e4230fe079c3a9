"""Source `hub`: the original code, from a local clone of facebookresearch/dinov3.

The clone's entry point builds the network, as `torch.hub.load(REPO_DIR, ENTRY, source="local")` does. The weights are
ours to load: judged by their hash, read as tensors only, and not copied to a download cache under their bare name. So
the entry point is asked for a network without weights; it is still told the published file name, from which it sees
whether the checkpoint has the second norm of the SAT collection.
"""

import importlib
import importlib.util
import itertools
import math
import runpy
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from exporters.checkpoints import Digest, check_keys
from exporters.room import require_memory_for
from exporters.sources.builtin import load_builtin
from exporters.sources.loaded import LoadedSource, Progress
from exporters.sources.network import NetworkBlockedError, network_blocked
from models.build import expected_shapes
from models.catalogue import Backbone
from models.contract import SOURCE_HUB
from models.errors import UsageError, WorkError

BACKBONES_MODULE = "dinov3.hub.backbones"
_PACKAGE = "dinov3"

Make = Callable[..., object]
"""Builds a network of the clone."""


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
    digest: Digest | None = None,
) -> LoadedSource:
    """The clone's own model with the weights of a checkpoint.

    Args:
        repository: the clone (`REPO_DIR`). Its code is run.
        checkpoint, digest: see `load_builtin`.
        block_network: keep the clone's code off the network.

    Raises:
        UsageError: the backbone has no entry point, or no clone was named.
        HubError: the clone is not one, fails, or builds another network than the checkpoint is of.
        CheckpointError: the checkpoint is missing, bad or one of several.
    """
    entry = backbone.hub_entry
    if entry is None:
        raise UsageError(f"{backbone.alias} is no backbone of facebookresearch/dinov3: use --source builtin")
    clone = require_clone(repository)
    source = load_builtin(backbone, checkpoint, unofficial=unofficial, progress=progress, digest=digest)
    state = source.state or {}
    with _guard(f"the code of {clone}", block_network):
        make, notes = entry_point(clone, entry, backbone.checkpoint_name)
        model = _with_weights(make, backbone, state, clone)
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


def entry_point(repository: Path, entry: str, weights_name: str) -> tuple[Make, list[str]]:
    """What builds the clone's network without weights, and what there is to tell.

    The original `hubconf.py` imports everything that the project offers, and with it torchvision and others; where one
    is missing or broken, the entry point is taken from the module that defines it.

    Raises:
        HubError: neither way gives an entry point.
    """
    _forget_other_clones(repository)
    arguments: dict[str, Any] = {"pretrained": False, "weights": weights_name}
    problem = _hubconf_problem(repository, entry)
    if not problem:
        return partial(
            torch.hub.load, str(repository), entry, source="local", trust_repo=True, verbose=False, **arguments
        ), []
    note = (
        f"hubconf.py of {repository} cannot be imported here ({problem}): took {entry} from {BACKBONES_MODULE}, which "
        "defines it"
    )
    return partial(_from_backbones(repository, entry), **arguments), [note]


def _hubconf_problem(repository: Path, entry: str) -> str:
    """Why `torch.hub.load` would not find the entry point in `hubconf.py`; empty where it does."""
    with _on_path(repository):
        try:
            hubconf = runpy.run_path(str(repository / "hubconf.py"))
            missing = [name for name in hubconf.get("dependencies", ()) if importlib.util.find_spec(name) is None]
        except NetworkBlockedError:
            raise
        except Exception as error:  # a broken package may raise anything while it is imported
            return _first_line(error)
    if missing:
        return f"missing dependencies: {', '.join(missing)}"
    return "" if callable(hubconf.get(entry)) else f"it has no {entry}"


def _from_backbones(repository: Path, entry: str) -> Make:
    _forget_other_clones(None)  # what a failed import left half done
    with _on_path(repository):
        try:
            return cast(Make, getattr(importlib.import_module(BACKBONES_MODULE), entry))
        except NetworkBlockedError:
            raise
        except Exception as error:  # as above
            raise HubError(
                f"{BACKBONES_MODULE} of {repository} gives no {entry}: {_first_line(error)}. Update the clone, or use "
                "--source builtin, which reads the same checkpoint"
            ) from error


def _with_weights(make: Make, backbone: Backbone, state: Mapping[str, Tensor], repository: Path) -> nn.Module:
    """The clone's model holding the mapped tensors themselves, where its code can be run without memory for them.

    Else the model is built in memory and the tensors are copied, if there is room for that; so there must be where the
    checkpoint is not of float32, as the clone's code asks for all weights at once.
    """
    needed = sum(4 * math.prod(shape) for shape in expected_shapes(backbone).values())
    if not isinstance(state, dict):
        require_memory_for(needed, f"widening the weights of {backbone.alias} for the code of {repository}")
    try:
        with torch.device("meta"):
            model = _built(make, repository)
        _load_weights(model, backbone, state, repository, assign=True)
        if not _left_empty(model):
            return model
    except HubError:
        pass  # what is wrong beyond that is told by the next attempt
    require_memory_for(needed, f"building {backbone.alias} by the code of {repository}")
    model = _built(make, repository)
    _load_weights(model, backbone, state, repository, assign=False)
    return model


def _built(make: Make, repository: Path) -> nn.Module:
    try:
        model = make()
    except NetworkBlockedError:
        raise
    except Exception as error:  # the clone's code may raise anything
        raise HubError(f"the entry point of {repository} failed: {_first_line(error)}") from error
    if not isinstance(model, nn.Module) or not hasattr(model, "forward_features"):
        raise HubError(f"the entry point of {repository} gives no DINOv3 model (it has no forward_features)")
    return model


def _load_weights(
    model: nn.Module, backbone: Backbone, state: Mapping[str, Tensor], repository: Path, *, assign: bool
) -> None:
    """Gives the clone's model the checked tensors, in its own types; its names and shapes must be the very same ones.

    Args:
        assign: put them in place of the model's own, which are not filled.
    """
    own = model.state_dict()
    check_keys(backbone, repository, own, "builds another network than")
    try:
        model.load_state_dict({key: state[key].to(own[key].dtype) for key in own}, strict=True, assign=assign)
    except (RuntimeError, TypeError) as error:
        raise HubError(f"the model of {repository} does not take the checkpoint: {_first_line(error)}") from error


def _left_empty(model: nn.Module) -> bool:
    """Whether a part of the model holds a tensor without values, as what no checkpoint gives it."""
    held = (value for part in model.modules() for value in (*vars(part).values(), *part.buffers(recurse=False)))
    tensors = itertools.chain(model.parameters(), (value for value in held if isinstance(value, Tensor)))
    return any(tensor.is_meta for tensor in tensors)


@contextmanager
def _on_path(repository: Path) -> Iterator[None]:
    sys.path.insert(0, str(repository))
    try:
        yield
    finally:
        with suppress(ValueError):
            sys.path.remove(str(repository))


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


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _guard(whose: str, block_network: bool) -> AbstractContextManager[None]:
    return network_blocked(whose) if block_network else nullcontext()
