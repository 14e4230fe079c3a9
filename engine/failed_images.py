"""The list of photographs that could not be read: a text file beside the results, gone when all have been read.

A line each: key, path and reason, separated by tabs. A run replaces the lines of the photographs it tried and keeps
those of others, so that matching an altitude does not hide what failed at another.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from engine.dataset import ImageEntry
from engine.errors import ResultFileError
from engine.pipeline import FailedImage
from engine.store.atomic import write_error, write_text
from engine.store.names import escape, folder_name

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")


def failed_list_path(root: Path, weights: str) -> Path:
    """`ROOT/<weights>_failed.txt`."""
    return root / folder_name(f"{escape(weights)}_failed.txt")


def update_failed_list(path: Path, tried: Iterable[ImageEntry], failed: Iterable[FailedImage]) -> int:
    """Brings the list up to date; the photographs that failed are tried again by the next run in any case.

    Args:
        path: see `failed_list_path`.
        tried: the photographs of this run.
        failed: those of them that could not be read.

    Returns:
        How many photographs are on the list now.

    Raises:
        WriteError: the list cannot be written.
    """
    before = _read(path)
    done = {_cell(str(entry.path)) for entry in tried}
    lines = [line for line in before if line.split("\t")[1:2] and line.split("\t")[1] not in done]
    lines += ["\t".join(_cell(part) for part in (item.entry.key, str(item.entry.path), item.reason)) for item in failed]
    if lines == before:
        return len(lines)
    if lines:
        write_text(path, "".join(f"{line}\n" for line in lines))
        return len(lines)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(path, error) from error
    return 0


def _read(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8", "replace").split("\n")[:-1]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ResultFileError(f"{path}: cannot be read: {error.strerror or error}. Move it away") from error


def _cell(text: str) -> str:
    """The text on one line and in one column; names that are no UTF-8 with their bytes spelt out."""
    return _CONTROL.sub(" ", text.encode("utf-8", "backslashreplace").decode("utf-8"))
