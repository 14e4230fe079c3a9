"""Settings that come from the environment or a `.env` file: above all, where files are."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from engine.dotenv import read_dotenv
from engine.errors import UsageError

_WINDOWS_PATH = re.compile(r"[A-Za-z]:[\\/]|\\\\")


def read_environment(environ: Mapping[str, str] | None = None, folder: Path | None = None) -> dict[str, str]:
    """The values of `folder/.env`, overlaid by the environment's.

    Args:
        environ: the environment; by default that of the process.
        folder: where `.env` is looked for (not in its parents); by default the current folder.

    Raises:
        UsageError: the file cannot be read, or a line of it is malformed; the message names file and line.
    """
    path = (Path() if folder is None else folder) / ".env"
    values = read_dotenv(path) if os.path.exists(path) else {}  # noqa: PTH110 - false, too, where it is out of reach
    values.update(os.environ if environ is None else environ)
    return values


@dataclass(frozen=True)
class Roots:
    """Absolute folders that the program reads from and writes to. None of them need exist yet.

    Attributes:
        images: photographs (`IMG_ROOT`).
        weights: checkpoints, at any depth (`WEIGHTS_ROOT`).
        graphs: exported graphs (`GRAPH_ROOT`).
        exports: everything written, unless another root says otherwise (`EXPORT_ROOT`).
        embeds: stored feature maps (`EMBED_ROOT`).
        matches: JSON and HDF5 results (`MATCH_ROOT`).
        pictures: drawn matches (`VIS_ROOT`).
        repository: a clone of Meta's DINOv3 source (`REPO_DIR`), or None.
    """

    images: Path
    weights: Path
    graphs: Path
    exports: Path
    embeds: Path
    matches: Path
    pictures: Path
    repository: Path | None = None


def load_roots(values: Mapping[str, str]) -> Roots:
    """The folders that `values` (see `read_environment`) name. An empty value counts as unset.

    An unset `IMG_ROOT`, `WEIGHTS_ROOT`, `EXPORT_ROOT` or `REPO_DIR` is taken from `DATASET_HOST`, `WEIGHTS_HOST`,
    `EXPORT_HOST` or `CODE_HOST`, the host's side of the container's folders, and else is `./data`, `./weights`,
    `./exports` and None. A relative `EMBED_ROOT`, `MATCH_ROOT` or `VIS_ROOT` lies below the export root; other
    relative folders lie below the current one. `~` is the home folder.

    Raises:
        UsageError: a path cannot be meant for this machine.
    """
    found, errors = resolve_roots(values)
    if errors:
        raise errors[0]
    return Roots(**found)


def resolve_roots(values: Mapping[str, str]) -> tuple[dict[str, Path], list[UsageError]]:
    """The folders as in `load_roots`, each on its own, by the names of `Roots`; and what is wrong with the others.

    Folders below the export root are missing with it, unless they say for themselves where they are.
    """
    found: dict[str, Path] = {}
    errors: list[UsageError] = []
    here = Path.cwd()

    def resolve(root: str, variables: tuple[str, ...], base: Path | None, default: Path | None) -> None:
        try:
            given = _given(values, variables)
        except UsageError as error:
            errors.append(error)
            return
        path = default if given is None else given if base is None else base / given
        if path is not None and path.is_absolute():
            found[root] = path

    resolve("images", ("IMG_ROOT", "DATASET_HOST"), here, here / "data")
    resolve("weights", ("WEIGHTS_ROOT", "WEIGHTS_HOST"), here, here / "weights")
    resolve("exports", ("EXPORT_ROOT", "EXPORT_HOST"), here, here / "exports")
    exports = found.get("exports")
    resolve("graphs", ("GRAPH_ROOT",), here, exports and exports / "dinov3_graphs")
    resolve("embeds", ("EMBED_ROOT",), exports, exports and exports / "dinov3_embeds")
    resolve("matches", ("MATCH_ROOT",), exports, exports and exports / "pair_match")
    resolve("pictures", ("VIS_ROOT",), exports, exports and exports / "pair_viz")
    resolve("repository", ("REPO_DIR", "CODE_HOST"), here, None)
    return found, errors


def tagged(folder: Path, tag: str | None) -> Path:
    """The folder, or its sibling `<folder>-<tag>` of the results that `--tag` keeps apart.

    Raises:
        UsageError: the tag cannot be part of a folder's name.
    """
    if tag is None:
        return folder
    if not tag.strip() or any(letter in tag for letter in '/\\:*?"<>|'):
        raise UsageError(f"--tag '{tag}' cannot be part of a folder name")
    return folder.with_name(f"{folder.name}-{tag}")


def _given(values: Mapping[str, str], names: tuple[str, ...]) -> Path | None:
    """The path that the first of `names` with a value gives; None when none has one."""
    for name in names:
        text = values.get(name, "").strip()
        if text:
            return _local_path(name, text)
    return None


def _local_path(name: str, text: str) -> Path:
    if os.name != "nt" and _WINDOWS_PATH.match(text):
        hint = f" (under WSL: /mnt/{text[0].lower()}/{text[3:].replace(chr(92), '/')})" if text[1] == ":" else ""
        raise UsageError(
            f"{name} is the Windows path {text}, but this is not Windows. Set {name} to a path of this machine{hint}"
        )
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise UsageError(f"{name} is {text}, but its home folder is unknown: write the full path") from error
