"""The files of a Hugging Face model: from a local folder, the local cache, or the hub."""

import hashlib
import json
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from exporters.checkpoints import Checkpoint, file_sha256
from exporters.sources.loaded import Progress
from exporters.sources.network import network_blocked
from models.contract import CheckpointStatus
from models.errors import WorkError

CONFIG, PREPROCESSOR = "config.json", "preprocessor_config.json"
WEIGHTS, WEIGHTS_INDEX = "model.safetensors", "model.safetensors.index.json"
_WANTED = (CONFIG, PREPROCESSOR, WEIGHTS, WEIGHTS_INDEX, "model-*.safetensors")


class HuggingFaceError(WorkError):
    """A model of Hugging Face cannot be had, is incomplete, or is of a kind that cannot be exported."""


@dataclass(frozen=True)
class ModelFiles:
    """A model on this disk.

    Attributes:
        model_id: the repository, or the folder.
        folder: where its files are.
        weights: its safetensors files, in order.
    """

    model_id: str
    folder: Path
    weights: tuple[Path, ...]

    def config(self) -> dict[str, Any]:
        """`config.json`."""
        return read_json(self.folder / CONFIG)

    def preprocessor(self) -> dict[str, Any] | None:
        """`preprocessor_config.json`, or None where there is none."""
        path = self.folder / PREPROCESSOR
        return read_json(path) if path.is_file() else None

    @property
    def weight_bytes(self) -> int:
        return sum(path.stat().st_size for path in self.weights)

    def checkpoint(self, progress: Progress | None = None) -> Checkpoint:
        """The digest of the weights: of several files, that of their digests in order."""
        tell = progress or (lambda stage, done, total: None)
        total, before = self.weight_bytes, 0
        digests = []
        for path in self.weights:

            def count(done: int, _: int, first: int = before) -> None:
                tell("hash", first + done, total)

            digests.append(file_sha256(path, count))
            before += path.stat().st_size
        joined = digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        return Checkpoint(Path(self.model_id), joined, CheckpointStatus.UNLISTED)


def find_model(model_id: str, token: str | None, block_network: bool) -> ModelFiles:
    """A local folder as it is; a repository from the local cache, downloaded first where the network may be used.

    Raises:
        HuggingFaceError: no such repository, no access to it, not in the cache, no connection, or files are missing.
    """
    folder = Path(model_id)
    if not folder.is_absolute():
        folder = _snapshot(model_id, token, block_network)
    if not (folder / CONFIG).is_file():
        raise HuggingFaceError(f"{folder} has no {CONFIG}: it is not the folder of a model of Hugging Face")
    return ModelFiles(model_id, folder, _weights(folder))


def _snapshot(repository: str, token: str | None, block_network: bool) -> Path:
    try:
        import huggingface_hub
        from huggingface_hub import errors
    except ImportError as error:
        raise HuggingFaceError(
            f"--source hf needs transformers ({error}): install the extra 'hf' (pip install 'dinov3-match[hf]')"
        ) from error
    try:
        with network_blocked("Hugging Face's library") if block_network else nullcontext():
            # The cache first: a repository that is whole there costs no request and no token.
            cached = _cached(repository)
            if cached is not None or block_network:
                return cached or _absent(repository)
            return Path(huggingface_hub.snapshot_download(repository, allow_patterns=list(_WANTED), token=token))
    except errors.GatedRepoError as error:
        raise HuggingFaceError(_gated(repository, token)) from error
    except errors.RepositoryNotFoundError as error:
        raise HuggingFaceError(
            f"Hugging Face has no repository '{repository}', or it is private and "
            f"{'the token has no access' if token else 'no token was given (--hf-token or HF_TOKEN)'}. Name another "
            "repository or a folder with -w; where the .pth file of a backbone is at hand, --source builtin takes that"
        ) from error
    except errors.HFValidationError as error:
        raise HuggingFaceError(
            f"'{repository}' is neither a folder nor the name of a repository (OWNER/NAME): {_first_line(error)}"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise HuggingFaceError(f"{_not_cached(repository)}HF_HUB_OFFLINE forbids downloads") from error
    except (errors.HfHubHTTPError, OSError) as error:
        raise HuggingFaceError(
            f"{repository} could not be downloaded from Hugging Face: {_first_line(error)}. Check the connection and "
            "the token, or bring the folder and name it in place of the repository"
        ) from error
    except Exception as error:
        # The library's HTTP client has exceptions of its own, which differ from release to release.
        if type(error).__module__.split(".")[0] not in ("httpx", "httpx2", "httpcore", "httpcore2", "requests"):
            raise
        raise HuggingFaceError(
            f"{repository} could not be downloaded: Hugging Face cannot be reached ({_first_line(error)})"
        ) from error


def _cached(repository: str) -> Path | None:
    """The folder of a repository in the local cache where nothing of it is missing."""
    import huggingface_hub
    from huggingface_hub import errors

    try:
        folder = Path(
            huggingface_hub.snapshot_download(repository, allow_patterns=list(_WANTED), local_files_only=True)
        )
        _weights(folder)
    except (errors.LocalEntryNotFoundError, HuggingFaceError):
        return None
    return folder if (folder / CONFIG).is_file() else None


def _absent(repository: str) -> Path:
    raise HuggingFaceError(
        f"{_not_cached(repository)}downloads are blocked: set DINOV3_BLOCK_NET=0 to download it, or bring the "
        "folder and name it in place of the repository"
    )


def _not_cached(repository: str) -> str:
    return f"{repository} is not complete in the local cache of Hugging Face, and "


def _gated(repository: str, token: str | None) -> str:
    page = f"https://huggingface.co/{repository}"
    if token:
        why = "the account of the token given has no access to it"
    else:
        why = "no token of an account with access was given"
    return (
        f"{repository} is gated, and {why}. Ask for access on {page} (log in, accept the licence, wait for the "
        "approval); then make a token of the kind 'read' on https://huggingface.co/settings/tokens and give it with "
        "--hf-token or HF_TOKEN"
    )


def _weights(folder: Path) -> tuple[Path, ...]:
    """The safetensors files of a folder: one, or those that the index names."""
    if (folder / WEIGHTS).is_file():
        return (folder / WEIGHTS,)
    index = folder / WEIGHTS_INDEX
    if not index.is_file():
        raise HuggingFaceError(
            f"{folder} has no {WEIGHTS}; only safetensors are read, as other formats can run code. Save the model "
            "again with a current transformers: model.save_pretrained(FOLDER)"
        )
    mapping = read_json(index).get("weight_map")
    if not isinstance(mapping, dict) or not all(isinstance(name, str) for name in mapping.values()):
        raise HuggingFaceError(f"{index} is no index of weights: download it again")
    names = sorted(set(mapping.values()))
    missing = [name for name in names if "/" in name or "\\" in name or not (folder / name).is_file()]
    if missing:
        raise HuggingFaceError(f"{folder} lacks {', '.join(missing[:4])}, named in {index.name}: download it again")
    return tuple(folder / name for name in names)


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        HuggingFaceError: it cannot be read or is none.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise HuggingFaceError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValueError as error:
        raise HuggingFaceError(f"{path} is no JSON ({error}): download it again") from error
    if not isinstance(value, dict):
        raise HuggingFaceError(f"{path} holds no JSON object: download it again")
    return value


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
