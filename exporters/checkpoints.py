"""Checkpoint files: finding the published name, judging the SHA-256 before unpickling, loading without a copy."""

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from models.build import DinoModel, build_with_weights, expected_shapes
from models.catalogue import Backbone
from models.errors import WorkError
from models.find import WEIGHTS_PAGE, checkpoint_candidates, misnamed_checkpoints

_HASH_BLOCK_BYTES = 1 << 22
_NAMED = 4
"""How many keys or files an error message names before it only counts the rest."""

BytesDone = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""


class CheckpointError(WorkError):
    """A checkpoint is missing, damaged, of another architecture or unsafe to read."""


class AmbiguousCheckpointError(CheckpointError):
    """Several files could be the checkpoint; the message lists them."""


class CheckpointStatus(StrEnum):
    """What the SHA-256 of a file says about it."""

    OFFICIAL = "official"
    """It begins with the catalogue's hash: Meta's published file."""
    OWN = "own"
    """It begins with the hash in the file's own name: fine-tuned or test weights, whole."""
    MISMATCH = "mismatch"
    """Neither: truncated or altered."""
    UNLISTED = "unlisted"
    """Of a source that publishes no hash to compare with, as Hugging Face."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file whose hash has been judged."""

    path: Path
    sha256: str
    status: CheckpointStatus


def find_checkpoint(backbone: Backbone, weights_root: Path) -> Path:
    """The backbone's checkpoint anywhere below `weights_root`, by its published name (letter case ignored).

    A file with the published hash in its name is preferred; otherwise the only one with another hash is taken.

    Raises:
        CheckpointError: the folder is missing, or holds no such file.
        AmbiguousCheckpointError: several files with other hashes.
    """
    if not weights_root.is_dir():
        raise CheckpointError(
            f"the weights folder {weights_root} does not exist; set WEIGHTS_ROOT to the folder with the .pth files"
        )
    found = checkpoint_candidates(backbone, weights_root)
    if len(found) > 1:
        names = "\n  ".join(str(path) for path in found)
        raise AmbiguousCheckpointError(
            f"several files below {weights_root} could be the checkpoint of {backbone.alias}; "
            f"keep one, or name the one to use:\n  {names}"
        )
    if not found:
        raise CheckpointError(
            f"no checkpoint of {backbone.alias} below {weights_root}: expected a file named "
            f"{backbone.checkpoint_name}. {_what_to_do(weights_root)}"
        )
    return found[0]


def judge_checkpoint(
    backbone: Backbone, path: Path, *, unofficial: bool = False, progress: BytesDone | None = None
) -> Checkpoint:
    """Reads the file once for its SHA-256 and compares it with the catalogue and with the file's own name.

    Args:
        unofficial: accept a mismatch.

    Raises:
        CheckpointError: the file cannot be read, or its hash fits neither and `unofficial` is not set.
    """
    sha256 = file_sha256(path, progress)
    own = re.search(r"-([0-9a-f]{8})\.pth$", path.name, re.IGNORECASE)
    if sha256.startswith(backbone.sha256_prefix):
        status = CheckpointStatus.OFFICIAL
    elif own and sha256.startswith(own[1].lower()):
        status = CheckpointStatus.OWN
    else:
        status = CheckpointStatus.MISMATCH
    if status is CheckpointStatus.MISMATCH and not unofficial:
        named = own[1].lower() if own else None
        other = "" if named is None else ", as in its name" if named == backbone.sha256_prefix else f" or {named}"
        raise CheckpointError(
            f"{path} is truncated or altered: its SHA-256 begins with {sha256[:8]}, expected "
            f"{backbone.sha256_prefix}{other}. "
            "Download it again, or pass --unofficial if the file is meant to differ"
        )
    return Checkpoint(path, sha256, status)


def file_sha256(path: Path, progress: BytesDone | None = None) -> str:
    """SHA-256 (hex) of a file, read block by block.

    Raises:
        CheckpointError: the file cannot be read.
    """
    digest, done = hashlib.sha256(), 0
    try:
        total = path.stat().st_size
        with path.open("rb") as file:
            while block := file.read(_HASH_BLOCK_BYTES):
                digest.update(block)
                done += len(block)
                if progress is not None:
                    progress(done, total)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def load_state(backbone: Backbone, path: Path) -> dict[str, Tensor]:
    """The checked tensors of a checkpoint, memory-mapped (read-only) where they are float32 already.

    Only tensors are unpickled (`weights_only=True`), so a file cannot run code.

    Raises:
        CheckpointError: not readable, not a state dict, other keys or shapes than the backbone's, or values that are
            not finite.
    """
    state = _unpickle(path)
    check_keys(backbone, path, state)
    check_finite(path, state)
    return {key: tensor.detach().float() for key, tensor in state.items()}


def load_model(backbone: Backbone, path: Path) -> DinoModel:
    """The source model with the tensors of a checkpoint; see `load_state`."""
    return build_with_weights(backbone, load_state(backbone, path))


def _unpickle(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, mapped read-only.

    PyTorch's own `mmap=True` maps for writing, which counts against the machine's memory as a whole: Linux refuses it
    for a file larger than that. So the names and shapes are read first, and the values are mapped here.
    """
    try:
        if not zipfile.is_zipfile(path):
            raise RuntimeError("it is no archive of named tensors, or a cut one")
        with FakeTensorMode():
            loaded = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(loaded, Mapping) or not all(
            isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
        ):
            raise CheckpointError(f"{path} holds no plain state dict (names to tensors); save the backbone's alone")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is not writable; nothing here writes to it
            content = torch.from_numpy(np.memmap(path, mode="r"))
        return {key: _mapped(content, value) for key, value in loaded.items()}
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"{path} was not read: it asks for more than tensors, which can run code on this machine "
            f"({_first_line(error)}). Use a file from a source you trust, saved as a plain state dict"
        ) from error
    except (RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is not a whole PyTorch checkpoint ({_first_line(error)}). Download it again"
        ) from error


def _mapped(content: Tensor, announced: Tensor) -> Tensor:
    """The values of an announced tensor as a view of the file's bytes.

    Raises:
        RuntimeError: the file does not hold so many.
    """
    storage = announced.untyped_storage()
    start = getattr(storage, "_checkpoint_offset", None)
    if start is None:
        raise RuntimeError("it is of the old format without a directory; load and save it with a current PyTorch")
    if start + storage.nbytes() > len(content):
        raise RuntimeError("it ends within its values")
    values = content[start : start + storage.nbytes()].view(announced.dtype)
    first = values.storage_offset() + int(announced.storage_offset())  # counted from the front of the file
    return values.as_strided(announced.shape, announced.stride(), first)


def check_finite(path: Path, state: Mapping[str, Tensor]) -> None:
    """Raises CheckpointError where a value is NaN or infinite."""
    for key, tensor in state.items():
        if not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path} holds values that are not finite (NaN or infinite) in '{key}'")


def check_keys(backbone: Backbone, path: Path, state: Mapping[str, Tensor], verb: str = "is no checkpoint of") -> None:
    """Compares names, shapes and kinds of tensors with those that the backbone has.

    Args:
        verb: what stands between path and alias in the message.

    Raises:
        CheckpointError: they differ; the message names a few.
    """
    expected = expected_shapes(backbone)
    missing = [key for key in expected if key not in state]
    unexpected = [key for key in state if key not in expected]
    other_shape = [
        f"{key} {list(state[key].shape)} for {list(shape)}"
        for key, shape in expected.items()
        if key in state and tuple(state[key].shape) != shape
    ]
    problems = (("missing", missing), ("unexpected", unexpected), ("of another shape", other_shape))
    if any(keys for _, keys in problems):
        told = "; ".join(f"{len(keys)} {what}: {_some(keys)}" for what, keys in problems if keys)
        raise CheckpointError(f"{path} {verb} {backbone.alias}: of its tensors {told}")
    other_kind = [key for key, tensor in state.items() if not tensor.is_floating_point()]
    if other_kind:
        raise CheckpointError(f"{path} holds tensors that are not of floating point: {_some(other_kind)}")


def _some(names: list[str]) -> str:
    rest = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _what_to_do(weights_root: Path) -> str:
    ask = f"sk Meta for the weights: {WEIGHTS_PAGE}"
    misnamed = [path.name for path in misnamed_checkpoints(weights_root)]
    if not misnamed:
        return f"A{ask}"
    return f"There is {_some(misnamed)}, which is no name of a checkpoint: rename the right file, or a{ask}"
