"""Checkpoint files: finding the published name, judging the SHA-256 before unpickling, loading without a copy."""

import hashlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from models.build import DinoModel, build_with_weights, expected_shapes
from models.catalogue import Backbone
from models.contract import CheckpointStatus
from models.errors import WorkError
from models.find import checkpoint_candidates, no_checkpoint_text

_HASH_BLOCK_BYTES = 1 << 22
_OLD_MAGIC = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of a checkpoint of the old format: `torch.serialization.MAGIC_NUMBER` by pickle protocol 2."""
_NAMED = 4
"""How many keys an error message names before it only counts the rest."""

BytesDone = Callable[[int, int], None]
"""Called with (bytes done, bytes in all)."""

Digest = Callable[[Path, BytesDone | None], str]
"""A file to its SHA-256 (hex); raises CheckpointError where it cannot be read."""


class CheckpointError(WorkError):
    """A checkpoint is missing, damaged, of another architecture or unsafe to read."""


class AmbiguousCheckpointError(CheckpointError):
    """Several files could be the checkpoint; the message lists them."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint file whose hash has been judged."""

    path: Path
    sha256: str
    status: CheckpointStatus


def find_checkpoint(backbone: Backbone, weights_root: Path) -> Path:
    """The backbone's checkpoint anywhere below `weights_root`, by its published name (letter case ignored).

    A file with the published hash in its name is preferred; otherwise the only one with another hash is taken, and of
    several the only one whose content has the hash of its name.

    Raises:
        CheckpointError: the folder is missing, or holds no such file.
        AmbiguousCheckpointError: several files with other hashes, of which not just one is whole.
    """
    found = checkpoint_candidates(backbone, weights_root)
    if len(found) > 1:
        whole = [path for path in found if file_sha256(path).startswith(path.stem[-8:].lower())]
        if len(whole) == 1:
            return whole[0]
        names = "\n  ".join(str(path) for path in found)
        raise AmbiguousCheckpointError(
            f"several files below {weights_root} could be the checkpoint of {backbone.alias}; "
            f"move all but the one to use out of that folder:\n  {names}"
        )
    if not found:
        raise CheckpointError(no_checkpoint_text(backbone, weights_root))
    return found[0]


def judge_checkpoint(
    backbone: Backbone,
    path: Path,
    *,
    unofficial: bool = False,
    progress: BytesDone | None = None,
    digest: Digest | None = None,
) -> Checkpoint:
    """Reads the file once for its SHA-256 and compares it with the catalogue and with the file's own name.

    Args:
        unofficial: accept a mismatch.
        digest: gives the SHA-256, by default by reading the file.

    Raises:
        CheckpointError: the file cannot be read, or its hash fits neither and `unofficial` is not set.
    """
    sha256 = (digest or file_sha256)(path, progress)
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
            "Download it again, or export it with engine export --unofficial if it is meant to differ"
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


def load_state(backbone: Backbone, path: Path) -> Mapping[str, Tensor]:
    """The checked tensors of a checkpoint in float32: a dict of memory-mapped (read-only) ones where all are float32
    already, else a mapping that widens each when it is asked for.

    Only tensors are unpickled (`weights_only=True`), so a file cannot run code.

    Raises:
        CheckpointError: not readable, not a state dict, other keys or shapes than the backbone's, or values that are
            not finite.
    """
    state = {key: tensor.detach() for key, tensor in _unpickle(path).items()}
    check_keys(backbone, path, state)
    check_finite(path, state)
    return state if all(tensor.dtype is torch.float32 for tensor in state.values()) else Widened(state)


class Widened(Mapping[str, Tensor]):
    """Tensors of any floating-point type as float32, made when they are asked for."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._tensors = tensors

    def __getitem__(self, key: str) -> Tensor:
        return self._tensors[key].float()

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


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
            if _is_old_format(path):
                raise CheckpointError(
                    f"{path} is of PyTorch's old format (before 1.6), which cannot be mapped: load it with a current "
                    "PyTorch where you trust it, save its state dict again, and name the file by its new hash"
                )
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
            f"{path} was not read: it asks for more than tensors{_refused(error)}, which can run code on this machine. "
            "Use a file from a source you trust, saved as a plain state dict"
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
        raise RuntimeError("it does not say where its values lie")
    if start + storage.nbytes() > len(content):
        raise RuntimeError("it ends within its values")
    values = content[start : start + storage.nbytes()].view(announced.dtype)
    first = values.storage_offset() + int(announced.storage_offset())  # counted from the front of the file
    return values.as_strided(announced.shape, announced.stride(), first)


def _is_old_format(path: Path) -> bool:
    """Whether a file begins as `torch.save` wrote it before PyTorch 1.6: a pickled magic number, without an archive."""
    with path.open("rb") as file:
        return file.read(len(_OLD_MAGIC)) == _OLD_MAGIC


def _refused(error: Exception) -> str:
    """What of a pickle was refused, by name, where PyTorch says it. The rest of its message is advice to run it."""
    named = re.search(r"GLOBAL\s+([\w.]*\w)", str(error))
    return f" ({named[1]})" if named else ""


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
