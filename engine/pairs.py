"""Which photographs are compared with which."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from engine.dataset import DataSet, ImageEntry, distinct_labels, file_entry
from engine.errors import DataSetError, UsageError


@dataclass(frozen=True, slots=True)
class Pair:
    """Two photographs to compare, a and b."""

    a: ImageEntry
    b: ImageEntry


class PairIndexList(Sequence[Pair]):
    """Pairs of photographs as numbers: 8 bytes a pair, where two million `Pair` objects would take a quarter of 1 GB.

    Attributes:
        entries: the photographs, each once. Pairs name them by their rows.
    """

    def __init__(self, entries: Sequence[ImageEntry], first: NDArray[np.integer], second: NDArray[np.integer]) -> None:
        if first.shape != second.shape or first.ndim != 1:
            raise ValueError(f"first and second must be of one length, got {first.shape} and {second.shape}")
        self.entries = tuple(entries)
        self._first = np.ascontiguousarray(first, np.int32)
        self._second = np.ascontiguousarray(second, np.int32)

    @property
    def first(self) -> NDArray[np.int32]:
        """Of each pair, the row of a."""
        return self._first

    @property
    def second(self) -> NDArray[np.int32]:
        """Of each pair, the row of b."""
        return self._second

    def __len__(self) -> int:
        return len(self._first)

    @overload
    def __getitem__(self, row: int) -> Pair: ...

    @overload
    def __getitem__(self, row: slice) -> "PairIndexList": ...

    def __getitem__(self, row: int | slice) -> "Pair | PairIndexList":
        if isinstance(row, slice):
            return PairIndexList(self.entries, *self.numbers(row))
        first, second = self.numbers(np.array([range(len(self))[row]]))
        return Pair(self.entries[first[0]], self.entries[second[0]])

    def __iter__(self) -> Iterator[Pair]:
        for start in range(0, len(self), _ITERATED):
            sides = self.numbers(slice(start, start + _ITERATED))
            for first, second in zip(*(side.tolist() for side in sides), strict=True):
                yield Pair(self.entries[first], self.entries[second])

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> "PairIndexList":
        """Any pairs; photographs in the order they come."""
        if isinstance(pairs, PairIndexList):
            return pairs
        rows: dict[str, int] = {}
        entries: list[ImageEntry] = []
        for pair in pairs:
            for entry in (pair.a, pair.b):
                if rows.setdefault(entry.key, len(entries)) == len(entries):
                    entries.append(entry)
        first, second = (np.array([rows[entry.key] for entry in side], np.int32) for side in _sides(pairs))
        return cls(entries, first, second)

    def photographs(self) -> NDArray[np.intp]:
        """Rows of the entries that stand in any pair, ascending."""
        used = np.zeros(len(self.entries), np.bool_)
        used[self.first] = True
        used[self.second] = True
        return np.flatnonzero(used)

    def numbers(self, rows: NDArray[np.integer] | slice) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Rows of `entries`, those of a and those of b, of these pairs."""
        return self.first[rows], self.second[rows]

    def with_a_in(self, low: int, high: int) -> NDArray[np.integer]:
        """The pairs whose a is one of `entries[low:high]`, ascending."""
        return np.flatnonzero((self.first >= low) & (self.first < high))

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> "PairIndexList":
        """The pairs of these rows, or those where a mask is true."""
        return PairIndexList(self.entries, self.first[rows], self.second[rows])

    def distinct(self) -> "PairIndexList":
        """Without pairs of a photograph with itself, and with the first of those that name the same two."""
        low, high = np.minimum(self.first, self.second), np.maximum(self.first, self.second)
        _, rows = np.unique(low.astype(np.int64) * len(self.entries) + high, return_index=True)
        rows.sort()
        return self.take(rows[low[rows] != high[rows]])


class AllPairs(PairIndexList):
    """Every photograph with every later one, without a number kept for any pair."""

    def __init__(self, entries: Sequence[ImageEntry]) -> None:
        count = len(entries)
        self.entries = tuple(entries)
        self._starts = np.concatenate(([0], np.cumsum(np.arange(count - 1, 0, -1, dtype=np.int64))))

    @property
    def first(self) -> NDArray[np.int32]:
        """Worked out anew; see `numbers` for a part."""
        counts = np.arange(len(self.entries) - 1, 0, -1)
        return np.repeat(np.arange(len(counts), dtype=np.int32), counts)

    @property
    def second(self) -> NDArray[np.int32]:
        """Worked out anew; see `numbers` for a part."""
        count = len(self.entries)
        found = np.empty(len(self), np.int32)
        for row, start in enumerate(self._starts[:-1].tolist()):
            found[start : start + count - 1 - row] = np.arange(row + 1, count, dtype=np.int32)
        return found

    def __len__(self) -> int:
        return int(self._starts[-1])

    def photographs(self) -> NDArray[np.intp]:
        return np.arange(len(self.entries))

    def numbers(self, rows: NDArray[np.integer] | slice) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        first = np.searchsorted(self._starts, rows, side="right") - 1
        return first.astype(np.int32), (rows - self._starts[first] + first + 1).astype(np.int32)

    def with_a_in(self, low: int, high: int) -> NDArray[np.integer]:
        last = len(self.entries) - 1
        return np.arange(self._starts[min(low, last)], self._starts[min(high, last)])

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> PairIndexList:
        if rows.dtype == np.bool_ and rows.all():
            return self
        chosen = np.flatnonzero(rows) if rows.dtype == np.bool_ else rows.astype(np.intp)
        return PairIndexList(self.entries, *self.numbers(chosen))


def _sides(pairs: Sequence[Pair]) -> tuple[list[ImageEntry], list[ImageEntry]]:
    return [pair.a for pair in pairs], [pair.b for pair in pairs]


_ITERATED = 1 << 14
"""Pairs whose numbers are made Python's own at a time."""


def enumerate_pairs(dataset: DataSet, a: str | None, b: str | None) -> PairIndexList:
    """The pairs that a person asks for. An image is never paired with itself, nor two images twice.

    With both sides given, every image of `a` with every one of `b`; with one, its images with all others of the data
    set, on the side where it was given; with none, all pairs. The order is that of the data set, a's first.

    Args:
        dataset: where names are looked up; may be empty when both sides are paths.
        a, b: what `DataSet.find` takes.

    Raises:
        KeyNotFoundError: an argument fits nothing, or several flights.
        UsageError: `a` and `b` leave no pair.
        DataSetError: the data set has too few photographs for a pair.
    """
    if a is None and b is None:
        if len(dataset) < 2:
            raise DataSetError(f"a pair takes two photographs, but there are {len(dataset)} below {dataset.root}")
        return AllPairs(dataset.entries)
    side_a = dataset.entries if a is None else dataset.find(a)
    side_b = dataset.entries if b is None else dataset.find(b)
    pairs = _cross(*_told_apart(side_a, side_b))
    if not len(pairs):
        if a is not None and b is not None:
            raise UsageError(f"-a {a} and -b {b} are the same photograph, {side_a[0].path}: give two different ones")
        raise DataSetError(f"{(a or b)!r} is the only photograph below {dataset.root}: there is none to pair it with")
    return pairs


def _cross(side_a: Sequence[ImageEntry], side_b: Sequence[ImageEntry]) -> PairIndexList:
    """Every photograph of one side with every one of the other, by a and then by b."""
    entries = {entry.path: entry for entry in (*side_a, *side_b)}
    rows = {path: row for row, path in enumerate(entries)}
    first = np.array([rows[entry.path] for entry in side_a], np.int32)
    second = np.array([rows[entry.path] for entry in side_b], np.int32)
    return PairIndexList(list(entries.values()), np.repeat(first, len(second)), np.tile(second, len(first))).distinct()


def _told_apart(
    side_a: Sequence[ImageEntry], side_b: Sequence[ImageEntry]
) -> tuple[Sequence[ImageEntry], Sequence[ImageEntry]]:
    """Both sides, with longer keys and labels for files given by path that would otherwise share one.

    Cameras number folders and files alike on every card (`100MEDIA/DJI_0001.JPG`), so this is common.
    """
    files = [entry for entry in dict.fromkeys((*side_a, *side_b)) if entry.flight is None]
    if not files:
        return side_a, side_b
    named = [entry for entry in dict.fromkeys((*side_a, *side_b)) if entry.flight is not None]
    longer = distinct_labels(_distinct_keys(files), {entry.label.casefold() for entry in named})
    renamed = {entry.path: entry for entry in longer}
    return tuple(renamed.get(e.path, e) for e in side_a), tuple(renamed.get(e.path, e) for e in side_b)


def file_entries(paths: Sequence[Path]) -> tuple[ImageEntry, ...]:
    """Entries of files given by path, with keys and labels that tell them apart."""
    return distinct_labels(_distinct_keys([file_entry(path) for path in paths])) if paths else ()


def _distinct_keys(files: Sequence[ImageEntry]) -> Sequence[ImageEntry]:
    deepest = max(len(entry.path.parts) for entry in files)
    for keep_suffix in (False, True):
        for folders in range(1, deepest):
            entries = [file_entry(entry.path, folders, keep_suffix) for entry in files]
            if _all_differ(entry.key for entry in entries):
                return entries
    return [file_entry(entry.path, deepest, True) for entry in files]


def _all_differ(keys: Iterable[str]) -> bool:
    seen = [os.path.normcase(key) for key in keys]
    return len(set(seen)) == len(seen)
