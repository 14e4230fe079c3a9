"""Where each pair's result lies: 8 bytes a pair in small sorted arrays, so that millions of pairs fit in memory."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.integer]

ROW_BITS = 13
"""Bits of a place that are the row in a shard; the others are the number of the shard among all."""
SHARD_ROWS = 1 << ROW_BITS


def place(slot: int | Ints, row: Ints) -> Ints:
    """Rows of shards as one number each, greater in later shards.

    Args:
        slot: which shard, counted from 0.
        row: below `SHARD_ROWS`.
    """
    packed = np.asarray((np.asarray(slot, np.int64) << ROW_BITS) | np.asarray(row, np.int64))
    return packed.astype(np.uint32) if not len(packed) or packed.max() < 1 << 32 else packed


class PairIndex:
    """Maps a pair of numbers (a, b) to the greatest place it was added with.

    Each a has its partners in a sorted array of its own, so that what is added a few hundred at a time is merged
    without a copy of all.
    """

    def __init__(self) -> None:
        self._rows: dict[int, tuple[Ints, Ints]] = {}

    def __len__(self) -> int:
        return sum(len(partners) for partners, _ in self._rows.values())

    def add(self, image_a: Ints, image_b: Ints, places: Ints) -> None:
        """Adds pairs; of equal ones the greatest place counts."""
        order = np.argsort(image_a, kind="stable")
        for part in _runs(image_a[order]):
            rows = order[part]
            a = int(image_a[rows[0]])
            known = self._rows.get(a)
            added = (image_b[rows].astype(np.uint32), places[rows])
            self._rows[a] = _greatest(
                *(added if known is None else (np.concatenate(both) for both in zip(known, added, strict=True)))
            )

    def find(self, a: int, b: int) -> int | None:
        """The place of a pair."""
        if a not in self._rows:
            return None
        partners, places = self._rows[a]
        at = int(np.searchsorted(partners, b))
        return int(places[at]) if at < len(partners) and partners[at] == b else None

    def find_all(self, image_a: Ints, image_b: Ints) -> NDArray[np.int64]:
        """The place of each pair, -1 where there is none. Numbers may be -1: those are never found."""
        found = np.full(len(image_a), -1, np.int64)
        order = np.argsort(image_a, kind="stable")
        for part in _runs(image_a[order]):
            rows = order[part]
            known = self._rows.get(int(image_a[rows[0]]))
            if known is not None:
                partners, places = known
                at = np.minimum(np.searchsorted(partners, image_b[rows]), len(partners) - 1)
                found[rows] = np.where(partners[at] == image_b[rows], places[at].astype(np.int64), -1)
        return found

    def parts(self) -> Iterator[tuple[int, Ints, Ints]]:
        """Every a with its partners, ascending, and their places."""
        for a, (partners, places) in sorted(self._rows.items()):
            yield a, partners, places

    def drop(self, slot: int) -> None:
        """Forgets every pair that lies in a shard."""
        for a, (partners, places) in list(self._rows.items()):
            kept = places >> ROW_BITS != slot
            if not kept.any():
                del self._rows[a]
            elif not kept.all():
                self._rows[a] = partners[kept], places[kept]


def _runs(values: Ints) -> Iterator[slice]:
    """Where equal values stand in a sorted array."""
    ends = [*(np.flatnonzero(np.diff(values)) + 1).tolist(), len(values)]
    start = 0
    for end in ends:
        if end > start:
            yield slice(start, end)
        start = end


def _greatest(partners: Ints, places: Ints) -> tuple[Ints, Ints]:
    order = np.lexsort((places, partners))
    partners, places = partners[order], places[order]
    last = np.append(partners[1:] != partners[:-1], True)
    return partners[last], places[last]
