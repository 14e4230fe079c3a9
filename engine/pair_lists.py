"""Which pairs of a data set are compared: `--pairs all|cross-altitude|retrieval:K|sequential:N|FILE`."""

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.dataset import DataSet, ImageEntry
from engine.errors import KeyNotFoundError, UsageError
from engine.keys import looks_like_selector
from engine.pairs import PairIndexList, enumerate_pairs
from engine.retrieval import nearest_pairs
from engine.store.names import image_name
from engine.suggest import did_you_mean

ALL, CROSS_ALTITUDE, RETRIEVAL, SEQUENTIAL, FILE = "all", "cross-altitude", "retrieval", "sequential", "file"
_PLAIN, _COUNTED = (ALL, CROSS_ALTITUDE), (RETRIEVAL, SEQUENTIAL)
_LISTED = 10
"""Lines of a file that an error lists."""

GlobalDescriptors = Callable[[Sequence[ImageEntry]], NDArray[np.float32]]
"""Photographs to their global descriptors [n, D]; a row that is not finite stands for one that cannot be read."""


@dataclass(frozen=True)
class PairMode:
    """A value of `--pairs`.

    Attributes:
        kind: `all`, `cross-altitude`, `retrieval`, `sequential` or `file`.
        count: K or N of `retrieval:K` and `sequential:N`.
        path: the list of pairs.
    """

    kind: str
    count: int = 0
    path: Path | None = None

    @classmethod
    def parse(cls, text: str) -> "PairMode":
        """Reads a value of `--pairs`. Use `./all` for a file that is called like a mode.

        Raises:
            UsageError: neither a mode nor an existing file, or a count that is no positive number.
        """
        name, colon, count = text.strip().partition(":")
        if not colon and name in _PLAIN:
            return cls(name)
        if name in _COUNTED:
            if not re.fullmatch(r"0*[1-9][0-9]{0,8}", count, re.ASCII):
                raise UsageError(f"--pairs {text}: write {name}:N with a number from 1 on, such as {name}:10")
            return cls(name, int(count))
        path = Path(text)
        if path.is_file():
            return cls(FILE, path=path)
        what = "is a folder" if path.is_dir() else "is neither a mode nor an existing file"
        known = _COUNTED if colon else _PLAIN + _COUNTED
        # Only what is written like a mode, and not like a path, was meant for one.
        hint = did_you_mean(name, known) if re.fullmatch("[A-Za-z-]+", name) else ""
        raise UsageError(
            f"--pairs {text} {what}.{hint} Give {', '.join(_PLAIN)}, retrieval:K, sequential:N, or the path of a list "
            "of pairs (two image names relative to IMG_ROOT on each line)"
        )

    @property
    def needs_descriptors(self) -> bool:
        """Whether the photographs have to be encoded before their pairs are known."""
        return self.kind == RETRIEVAL


def select_pairs(
    dataset: DataSet, a: str | None, b: str | None, mode: PairMode, descriptors: GlobalDescriptors | None = None
) -> PairIndexList:
    """The pairs of a mode, each once, among those that `a` and `b` allow (see `enumerate_pairs`).

    `cross-altitude`: photographs of different altitudes. `sequential:N`: each photograph and the N that follow it in
    its flight at its altitude. `retrieval:K`: each photograph and the K that are most similar to it by their global
    descriptor among those that it may be paired with. `file`: the pairs of the list, in its order.

    With `-a` or `-b`, the sides are those that `enumerate_pairs` gives.

    Args:
        descriptors: needed for `retrieval`.

    Raises:
        KeyNotFoundError, DataSetError: as `enumerate_pairs`.
        UsageError: no pair is left, or the list names what is not there; the message lists the lines.
    """
    allowed = enumerate_pairs(dataset, a, b)
    if mode.kind == ALL:
        return allowed
    if mode.kind == CROSS_ALTITUDE:
        altitude = np.array([_altitude(entry, mode) for entry in allowed.entries], np.int64)
        chosen = allowed.take(altitude[allowed.first] != altitude[allowed.second])
    elif mode.kind == SEQUENTIAL:
        flight, place = _places(dataset, allowed.entries, mode)
        apart = np.abs(place[allowed.first] - place[allowed.second])
        chosen = allowed.take((flight[allowed.first] == flight[allowed.second]) & (apart <= mode.count))
    elif mode.kind == RETRIEVAL:
        if descriptors is None:
            raise ValueError("retrieval needs global descriptors")
        chosen = nearest_pairs(allowed, descriptors(allowed.entries), mode.count)
    else:
        chosen = _listed_pairs(dataset, allowed, mode, narrowed=a is not None or b is not None)
    if not len(chosen):
        word = str(mode.path) if mode.path else mode.kind
        narrowed = " that -a and -b allow" if a is not None or b is not None else ""
        raise UsageError(f"--pairs {word} leaves none of the {len(allowed)} pair(s){narrowed} below {dataset.root}")
    return chosen


def _altitude(entry: ImageEntry, mode: PairMode) -> int:
    if entry.altitude is None:
        raise UsageError(
            f"--pairs {mode.kind} goes by flights and altitudes, but {entry.path} is a file outside the data set: "
            "leave --pairs out, or name photographs by their keys"
        )
    return int(entry.altitude)


def _places(
    dataset: DataSet, entries: Sequence[ImageEntry], mode: PairMode
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each photograph, the number of its flight and altitude, and its place among their frames."""
    flights: dict[tuple[str, int], int] = {}
    seen: dict[int, int] = {}
    of: dict[Path, tuple[int, int]] = {}
    for key, entry in zip(dataset.keys, dataset.entries, strict=True):
        flight = flights.setdefault((key.flight, key.altitude_value), len(flights))
        seen[flight] = seen.get(flight, -1) + 1
        of[entry.path] = (flight, seen[flight])
    for entry in entries:
        _altitude(entry, mode)
    both = np.array([of[entry.path] for entry in entries], np.int64)
    return both[:, 0], both[:, 1]


def _listed_pairs(dataset: DataSet, allowed: PairIndexList, mode: PairMode, narrowed: bool) -> PairIndexList:
    """The pairs of a file, each once, as the file writes them; where narrowed, a and b as `-a` and `-b` say."""
    read = _read_list(dataset, mode)
    if not narrowed:
        return read
    row = {entry.path: number for number, entry in enumerate(allowed.entries)}
    inside = np.array([row.get(entry.path, -1) for entry in read.entries], np.int64)
    first, second = inside[read.first], inside[read.second]
    both = (first >= 0) & (second >= 0)
    count = len(allowed.entries)

    def code(one: NDArray[np.integer], other: NDArray[np.integer]) -> NDArray[np.int64]:
        return np.asarray(np.minimum(one, other).astype(np.int64) * count + np.maximum(one, other))

    return allowed.take(np.isin(code(allowed.first, allowed.second), code(first[both], second[both])))


def _read_list(dataset: DataSet, mode: PairMode) -> PairIndexList:
    if mode.path is None:
        raise ValueError("a list of pairs needs a path")
    try:
        lines = mode.path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else error.strerror
        raise UsageError(f"--pairs {mode.path} cannot be read: {reason}") from error
    row_of: dict[str, int] = {image_name(entry.path, dataset.root): i for i, entry in enumerate(dataset.entries)}
    number = {entry.path: i for i, entry in enumerate(dataset.entries)}
    problems: list[str] = []

    def find(name: str) -> int:
        row = row_of.get(name)
        if row is None:
            found = dataset.find(name) if looks_like_selector(name) else ()
            if len(found) != 1:
                raise KeyNotFoundError(
                    f"'{name}' names {len(found)} photographs" if found else f"there is no {name} below {dataset.root}"
                )
            row = row_of[name] = number[found[0].path]
        return row

    sides: list[tuple[int, int]] = []
    for line_number, line in enumerate(lines, 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            first, second = (find(name) for name in _two_names(line))
            if first == second:
                raise UsageError("both names are the same photograph")
            sides.append((first, second))
        except UsageError as error:
            problems.append(f"line {line_number}: {error}")
    if problems:
        more = f"\n  … and {len(problems) - _LISTED} more" if len(problems) > _LISTED else ""
        listed = "".join(f"\n  {problem}" for problem in problems[:_LISTED])
        raise UsageError(f"{len(problems)} line(s) of --pairs {mode.path} cannot be used:{listed}{more}")
    both = np.array(sides, np.int32).reshape(-1, 2)
    return PairIndexList(dataset.entries, both[:, 0], both[:, 1]).distinct()


def _two_names(line: str) -> tuple[str, str]:
    """The names of a line: parted by a tab, by white space, or in quotes where they hold spaces."""
    names = [name.strip() for name in line.split("\t")] if line.strip().count("\t") == 1 else line.split()
    if len(names) != 2 and '"' in line:
        try:
            names = shlex.split(line)
        except ValueError:
            names = []
    if len(names) != 2:
        raise UsageError("expected two image names (parted by a tab, or in double quotes, where they hold spaces)")
    return names[0], names[1]
