"""Which networks a command asks for, by the source of their weights: aliases, or any model of Hugging Face."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.errors import GraphError, UsageError
from engine.graphs import requested_backbones
from models.catalogue import BACKBONES, Backbone
from models.contract import KEY_MODEL, SOURCE_BUILTIN, SOURCE_HF

BLOCK_NET = "DINOV3_BLOCK_NET"
_REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+")
_YES = frozenset({"1", "on", "yes", "true"})


@dataclass(frozen=True)
class Wanted:
    """A network that was asked for.

    Attributes:
        alias: what graphs and results are called by.
        source: a `models.contract.SOURCES` name.
        model: what it is called at its source: a hub entry, a repository, or a folder as an absolute path.
        backbone: the catalogue's entry; None for a model outside it.
    """

    alias: str
    source: str
    model: str
    backbone: Backbone | None


def requested_models(weights: list[str], group: str | None, all_weights: bool, source: str) -> list[Wanted]:
    """What `-w`, `-g` or `--all-weights` name; with the source `hf`, `-w` also takes OWNER/NAME and folders.

    Raises:
        UsageError: an unknown name or group, more than one of the three, or a backbone that the source has not.
    """
    outside = [text for text in weights if source == SOURCE_HF and text not in BACKBONES and _is_model(text)]
    named = requested_backbones([text for text in weights if text not in outside], group, all_weights)
    if outside and (group is not None or all_weights):
        raise UsageError(
            f"-w and {'-g' if group is not None else '--all-weights'} exclude each other: give one of them"
        )
    found = [_of_catalogue(entry, source) for entry in named]
    return list(dict.fromkeys([*found, *(_of_hugging_face(text, source) for text in outside)]))


def require_same_model(graph: Path, metadata: Mapping[str, str], wanted: Wanted) -> None:
    """Raises GraphError where a graph was made from another model of the same name, by its metadata."""
    recorded = metadata.get(KEY_MODEL, wanted.model)
    if recorded != wanted.model:
        raise GraphError(
            f"{graph} was made from {recorded}, not from {wanted.model}: rename one of the two folders (graphs are "
            "called by the folder's name), or delete the graph"
        )


def downloads_blocked(values: Mapping[str, str]) -> bool:
    """Whether models may not be downloaded: DINOV3_BLOCK_NET is set, and not to 0, or HF_HUB_OFFLINE is on."""
    offline = values.get("HF_HUB_OFFLINE", "").strip().lower() in _YES
    return offline or values.get(BLOCK_NET, "").strip() not in ("", "0")


def foreign_code_blocked(values: Mapping[str, str]) -> bool:
    """Whether code of a clone is kept off the network: unless DINOV3_BLOCK_NET is 0."""
    return values.get(BLOCK_NET, "").strip() != "0"


def _is_model(text: str) -> bool:
    return _REPOSITORY.fullmatch(text) is not None or Path(text).expanduser().is_dir()


def _of_catalogue(entry: Backbone, source: str) -> Wanted:
    model = entry.hf_repository if source == SOURCE_HF else entry.hub_entry
    if model is None:
        raise UsageError(f"{entry.alias} is not to be had from --source {source}: use --source {SOURCE_BUILTIN}")
    return Wanted(entry.alias, source, model, entry)


def _of_hugging_face(text: str, source: str) -> Wanted:
    known = {entry.hf_repository: entry for entry in BACKBONES.values() if entry.hf_repository}
    if text in known:
        return Wanted(known[text].alias, source, text, known[text])
    folder = Path(text).expanduser()
    if folder.is_dir():
        return Wanted(_file_word(folder.resolve().name), source, str(folder.resolve()), None)
    return Wanted(_file_word(text.replace("/", "--")), source, text, None)


def _file_word(text: str) -> str:
    return re.sub(r"[^\w.+-]", "_", text) or "model"
