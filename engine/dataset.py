"""A data set: the photographs below a folder, each with its key, and how people name them."""

import difflib
import hashlib
import os
import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from engine.errors import DataSetError, KeyNotFoundError
from engine.keys import ImageKey, Selector, looks_like_selector, parse_selector
from engine.naming import DEFAULT_EXTS, DEFAULT_REGEX, NameRule, explain_none, walk_files
from engine.suggest import nearest

__all__ = [
    "DEFAULT_EXTS",
    "DEFAULT_REGEX",
    "DataSet",
    "ImageEntry",
    "distinct_labels",
    "file_entry",
    "scan",
    "scan_for",
]

_LISTED = 8
"""How many alternatives an error lists."""

_UNSAFE = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]')
"""Characters that a file name cannot hold on Windows, and halves of characters."""


@dataclass(frozen=True)
class ImageEntry:
    """One photograph.

    Attributes:
        key: `ALT.FRAME`, or `ID:ALT.FRAME` where several flights of the data set share altitude and frame;
            `<folder>/<stem>` for a file given by path.
        label: the same as part of a file name: `ALT.FRAME`, `ID_ALT.FRAME` or `<folder>_<stem>`.
        path: the file.
        flight, altitude, frame: as in the file's name; None for a file given by path.
    """

    key: str
    label: str
    path: Path
    flight: str | None
    altitude: str | None
    frame: str | None


@dataclass(frozen=True)
class DataSet:
    """Photographs in the order of flight, altitude and frame (the latter two by value).

    Attributes:
        root: the folder scanned.
        entries: the photographs.
    """

    root: Path
    entries: tuple[ImageEntry, ...]

    def __len__(self) -> int:
        return len(self.entries)

    @cached_property
    def keys(self) -> tuple[ImageKey, ...]:
        """The full key of each entry, in the same order."""
        return tuple(ImageKey(e.flight or "", e.altitude or "", e.frame or "") for e in self.entries)

    def find(self, argument: str) -> tuple[ImageEntry, ...]:
        """The photographs that a person means by `argument`, in the order of the data set.

        `ALT.FRAME` and `ID:ALT.FRAME` name one photograph, by value: `400.1` finds `400.0001`. `ALT` names all of an
        altitude, of every flight; `ID:ALT` those of one flight. Anything else is the path of an image file, relative
        to the current folder or to the root; where that file belongs to the data set, its entry is returned.

        Raises:
            KeyNotFoundError: nothing fits, or `ALT.FRAME` fits several flights; the message lists what there is.
            UsageError: a malformed key.
        """
        if not looks_like_selector(argument):
            return (self._by_path(argument),)
        selector = parse_selector(argument)
        found = [(key, entry) for key, entry in zip(self.keys, self.entries, strict=True) if selector.fits(key)]
        if not found:
            raise KeyNotFoundError(
                f"no photograph is called '{argument.strip()}' below {self.root}. {self._near(selector)}"
            )
        if selector.frame is not None and len(found) > 1:
            full = _listed([str(key) for key, _ in found])
            raise KeyNotFoundError(f"'{argument.strip()}' fits {len(found)} flights: say which with {full}")
        return tuple(entry for _, entry in found)

    def _by_path(self, argument: str) -> ImageEntry:
        path = next((p for p in (Path(argument), self.root / argument) if _is_file(p)), None)
        if path is None:
            what = "is a folder" if os.path.isdir(argument) else "is neither a key nor an existing file"  # noqa: PTH112
            raise KeyNotFoundError(
                f"'{argument}' {what}.{self._nearest(argument)} "
                f"Expected ALT.FRAME (such as {self._example()}), ID:ALT.FRAME, "
                "ALT or ID:ALT of the data set, or the path of an image file"
            )
        for entry in self.entries:
            if entry.path.name.casefold() == path.name.casefold() and entry.path.samefile(path):
                return entry
        return file_entry(path)

    def _nearest(self, argument: str) -> str:
        """What a mistyped key, altitude or path was probably meant to be."""
        if os.path.isdir(argument):  # noqa: PTH112
            return ""
        files = {entry.path.name: entry.path for entry in self.entries}
        keys = [word for key in self.keys for word in (key.short, str(key), key.altitude)]
        near = nearest(os.path.basename(argument), [*keys, *files])  # noqa: PTH119
        if near is None:
            return ""
        path = files.get(near)
        return f" Did you mean {near if path is None else os.path.relpath(path, self.root)}?"

    def _example(self) -> str:
        return self.entries[0].key if self.entries else "400.0001"

    def _near(self, wanted: Selector) -> str:
        """What the data set has that comes nearest to a selector nothing fits."""
        if not self.keys:
            return "The data set is empty"
        keys = self.keys
        if wanted.flight is not None:
            flights = sorted({key.flight for key in keys})
            if wanted.flight not in flights:
                near = difflib.get_close_matches(wanted.flight, flights, n=_LISTED, cutoff=0.0)
                return f"There is no flight '{wanted.flight}'; flights: {_listed(near, len(flights))}"
            keys = tuple(key for key in keys if key.flight == wanted.flight)
        of = "" if wanted.flight is None else f" of flight {wanted.flight}"
        altitudes = {key.altitude_value: key.altitude for key in keys}
        if wanted.altitude not in altitudes:
            # Alike as it is typed, such as 40 and 400, before near in height.
            alike = {
                value: difflib.SequenceMatcher(None, str(value), str(wanted.altitude)).ratio() for value in altitudes
            }
            order = sorted(altitudes, key=lambda value: (-alike[value], abs(value - wanted.altitude), value))
            near = [altitudes[value] for value in order]
            return f"Did you mean {near[0]}? Altitudes{of}: {_listed(near)}"
        at = [key for key in keys if key.altitude_value == wanted.altitude]
        at.sort(key=lambda key: (abs(key.frame_value - (wanted.frame or 0)), key))
        return (
            f"Nearest at altitude {altitudes[wanted.altitude]}{of}: {_listed(list(dict.fromkeys(k.short for k in at)))}"
        )


def scan(root: Path, regex: str | None = None, exts: Sequence[str] | None = None) -> DataSet:
    """Finds the photographs below `root`, at any depth, by their file names; folder names do not matter.

    Args:
        regex: must match a whole file name (with or without its suffix), with the named groups `id`, `alt` and
            `frame`; `DEFAULT_REGEX` by default.
        exts: suffixes accepted, in either case, with or without dot; `DEFAULT_EXTS` by default.

    Raises:
        UsageError: `regex` or `exts` cannot be used.
        DataSetError: the folder is missing or unreadable, holds no photographs, or holds two of one key.
    """
    rule = NameRule.make(regex, exts)
    if not root.is_dir():
        what = "is a file, not a folder" if root.exists() else "does not exist"
        raise DataSetError(
            f"the image folder {root} {what}. Set IMG_ROOT (in the environment or .env) to the folder that holds "
            "your <ID>_<ALT> folders, or give image files as -a and -b"
        )
    found: dict[ImageKey, Path] = {}
    others: list[str] = []
    for path in walk_files(root):
        key = rule.key_of(path.name) if rule.takes_suffix(path.name) else None
        if key is None:
            others.append(path.name)
        elif key in found:
            raise DataSetError(
                f"two files are the same photograph {key}: {found[key]} and {path}. "
                "Move one of them away, or tell them apart with --regex"
            )
        else:
            found[key] = path
    if not found:
        raise DataSetError(explain_none(root, rule, others))
    flights = Counter((key.altitude_value, key.frame_value) for key in found)
    entries = []
    for key in sorted(found):
        shared = flights[key.altitude_value, key.frame_value] > 1
        text, label = (str(key), f"{key.flight}_{key.short}") if shared else (key.short, key.short)
        entries.append(ImageEntry(text, _safe(label), found[key], key.flight, key.altitude, key.frame))
    return DataSet(root, distinct_labels(entries))


def scan_for(
    root: Path, arguments: Sequence[str | None], regex: str | None = None, exts: Sequence[str] | None = None
) -> DataSet:
    """Like `scan`, but a data set need not be there when every argument is the path of an existing file.

    Args:
        arguments: what the person gave for a and b; None stands for "all".

    Raises:
        UsageError, DataSetError: as `scan`.
    """
    NameRule.make(regex, exts)
    try:
        return scan(root, regex, exts)
    except DataSetError:
        if all(a is not None and not looks_like_selector(a) and _is_file(a) for a in arguments):
            return DataSet(root, ())
        raise


def file_entry(path: Path, folders: int = 1, keep_suffix: bool = False) -> ImageEntry:
    """The entry of a file outside any data set: its key is `<folder>/<stem>`.

    Args:
        folders: how many folder names the key holds, for files that one name does not tell apart.
        keep_suffix: take the whole file name in place of the stem.
    """
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - links stay as the person named them
    names = absolute.parent.parts[1:][-folders:]
    key = "/".join((*names, absolute.name if keep_suffix else absolute.stem))
    key = key.encode(errors="backslashreplace").decode()  # a name that is no UTF-8 could not be written to JSON
    return ImageEntry(key, _safe(key), absolute, None, None, None)


def distinct_labels(entries: Sequence[ImageEntry], taken: Collection[str] = ()) -> tuple[ImageEntry, ...]:
    """The entries, with a short digest of the key after each label that another has too, ignoring case.

    Two flights may differ only in case or in characters that file names cannot hold; their results must not
    overwrite each other.

    Args:
        taken: labels that entries outside this sequence have, in lower case (`casefold`).
    """
    labels = Counter(entry.label.casefold() for entry in entries)
    labels.update(taken)
    return tuple(
        replace(
            entry, label=f"{entry.label}~{hashlib.sha256(entry.key.encode(errors='surrogatepass')).hexdigest()[:8]}"
        )
        if labels[entry.label.casefold()] > 1
        else entry
        for entry in entries
    )


def _is_file(path: str | Path) -> bool:
    """Whether it is a file. Unlike `Path.is_file`, false for text that no file could be called."""
    return os.path.isfile(path)  # noqa: PTH113


def _safe(text: str) -> str:
    """The text as part of a file name: what Windows does not allow becomes `_`."""
    return _UNSAFE.sub("_", text).strip(" .") or "_"


def _listed(items: Sequence[str], total: int | None = None) -> str:
    total = len(items) if total is None else total
    more = f" and {total - _LISTED} more" if total > _LISTED else ""
    return ", ".join(items[:_LISTED]) + more
