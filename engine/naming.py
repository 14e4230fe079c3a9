"""Which files of a folder are photographs of a data set, and what key each file's name gives."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import DataSetError, UsageError
from engine.keys import ImageKey

DEFAULT_REGEX = r"(?P<id>[0-9A-Za-z]+)_(?P<alt>[0-9]+)_(?P<frame>[0-9]+)"
"""`<ID>_<ALT>_<FRAME>`, with any number of digits."""

DEFAULT_EXTS = ("jpg", "jpeg")

PICTURE_EXTS = frozenset({"avif", "bmp", "gif", "heic", "jp2", "jpeg", "jpg", "png", "tif", "tiff", "webp"})
"""Suffixes of pictures in general; used only to explain why a folder holds no photographs."""

_GROUPS = ("id", "alt", "frame")
_SYSTEM_FOLDERS = frozenset({"$recycle.bin", "@eadir", "__macosx", "lost+found", "system volume information"})


@dataclass(frozen=True)
class NameRule:
    """The rule of a data set's file names.

    Attributes:
        pattern: matches a whole file name, with or without its suffix; has the groups `id`, `alt` and `frame`.
        exts: suffixes accepted, in lower case and without the dot.
    """

    pattern: re.Pattern[str]
    exts: tuple[str, ...]

    @classmethod
    def make(cls, regex: str | None = None, exts: Sequence[str] | None = None) -> "NameRule":
        """Checks what a person gave; None stands for the default.

        Raises:
            UsageError: the regular expression is broken or lacks a group, or a suffix is none.
        """
        text = DEFAULT_REGEX if regex is None else regex
        try:
            pattern = re.compile(text)
        except (re.error, OverflowError, RecursionError, ValueError) as error:
            raise UsageError(f"--regex {text!r} is not a regular expression: {error}") from None
        missing = [f"(?P<{name}>…)" for name in _GROUPS if name not in pattern.groupindex]
        if missing:
            raise UsageError(f"--regex {text!r} lacks {', '.join(missing)}; the default is {DEFAULT_REGEX}")
        return cls(pattern, DEFAULT_EXTS if exts is None else _checked_exts(exts))

    def takes_suffix(self, name: str) -> bool:
        """Whether the file name has one of the accepted suffixes, in either case."""
        return suffix_of(name) in self.exts

    def key_of(self, name: str) -> ImageKey | None:
        """The key that a file name gives, whatever its suffix; None when the name does not follow the rule.

        Raises:
            UsageError: the rule captures an altitude or frame that is no number.
        """
        match = self.pattern.fullmatch(os.path.splitext(name)[0]) or self.pattern.fullmatch(name)  # noqa: PTH122
        if match is None or not all(match[group] for group in _GROUPS):
            return None
        try:
            return ImageKey(match["id"], match["alt"], match["frame"])
        except ValueError as error:
            raise UsageError(f"--regex {self.pattern.pattern!r} fits the file {name}, but its {error}") from None

    def __str__(self) -> str:
        form = "<ID>_<ALT>_<FRAME>" if self.pattern.pattern == DEFAULT_REGEX else self.pattern.pattern
        return f"{form} with the suffix {' or '.join('.' + ext for ext in self.exts)}"


def suffix_of(name: str) -> str:
    """A file name's suffix in lower case and without the dot."""
    return os.path.splitext(name)[1][1:].lower()  # noqa: PTH122


def _checked_exts(exts: Sequence[str]) -> tuple[str, ...]:
    words = [word for item in exts for word in re.split(r"[,\s]+", item) if word]
    cleaned = [word.lower().removeprefix("*").removeprefix(".") for word in words]
    if not cleaned:
        raise UsageError("--exts needs at least one suffix, for example --exts jpg")
    wrong = [word for word, ext in zip(words, cleaned, strict=True) if not ext or re.search(r"[./\\*?]", ext)]
    if wrong:
        raise UsageError(f"--exts: '{wrong[0]}' is not a file suffix; write for example --exts jpg tif")
    return tuple(dict.fromkeys(cleaned))


def walk_files(root: Path) -> Iterator[Path]:
    """All files below `root`, folder by folder in name order; hidden and system files and folders are left out.

    Links to folders are followed, each folder once.

    Raises:
        DataSetError: a folder cannot be read.
    """

    def unreadable(error: OSError) -> None:
        raise DataSetError(
            f"{error.filename} cannot be read: {error.strerror}. Allow reading it, or move it out of {root}"
        ) from error

    seen: set[str] = set()
    for folder, subfolders, names in os.walk(root, followlinks=True, onerror=unreadable):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(
            name for name in subfolders if not name.startswith(".") and name.lower() not in _SYSTEM_FOLDERS
        )
        for name in sorted(names):
            if not name.startswith("."):
                yield Path(folder, name)


def explain_none(root: Path, rule: NameRule, names: Sequence[str]) -> str:
    """Why none of the files of these names is a photograph under the rule, and what to do about it."""
    looked = f"no photographs below {root}: looked for files named {rule}."
    advice = "Set IMG_ROOT to the folder that holds your <ID>_<ALT> folders, or give image files as -a and -b."
    if not names:
        return f"{looked} The folder holds no files. {advice}"
    found = []
    other_suffix = Counter(suffix_of(name) for name in names if not rule.takes_suffix(name) and rule.key_of(name))
    pictures = [(ext, count) for ext, count in other_suffix.most_common() if ext in PICTURE_EXTS]
    if pictures:
        listed = ", ".join(f"{count} .{ext} files" for ext, count in pictures[:3])
        found.append(f"{listed} with such names: use --exts {' '.join(ext for ext, _ in pictures[:3])}")
    misnamed = [name for name in names if rule.takes_suffix(name)]
    if misnamed:
        suffixes = ", ".join(f"{n} .{ext}" for ext, n in Counter(map(suffix_of, misnamed)).most_common(3))
        found.append(
            f"{suffixes} files with other names, such as {misnamed[0]}: "
            "rename them, or describe their names with --regex (groups id, alt and frame)"
        )
    if not found:
        kinds = Counter(f".{suffix_of(name)}" if suffix_of(name) else "without suffix" for name in names)
        found.append(", ".join(f"{count} files {kind}" for kind, count in kinds.most_common(4)) + f". {advice}")
    return f"{looked} Found instead: {'; '.join(found)}"
