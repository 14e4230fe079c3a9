"""Where each pair's result lies: 16 bytes a pair in sorted arrays, so that millions of pairs fit in memory."""

import numpy as np
from numpy.typing import NDArray

Int64s = NDArray[np.int64]

LOW_32 = (1 << 32) - 1
"""The lower half of a packed number."""


def pack(high: int | NDArray[np.integer], low: NDArray[np.integer]) -> Int64s:
    """Two numbers below 2^31 (image and image, or shard and row) in one int64."""
    return np.asarray((np.asarray(high, np.int64) << 32) | np.asarray(low, np.int64))


def unpack(packed: Int64s) -> tuple[Int64s, Int64s]:
    """The two numbers of `pack`."""
    return packed >> 32, packed & LOW_32


class PairIndex:
    """Maps a pair code to the location of its latest result; both are packed int64.

    New pairs are kept in segments of their own, merged when they have grown to half of the one before: adding n pairs
    in any portions takes O(n log n) in all, a look-up O(log^2 n).
    """

    def __init__(self) -> None:
        self._segments: list[tuple[Int64s, Int64s]] = []

    def __len__(self) -> int:
        self._merge(everything=True)
        return len(self._segments[0][0]) if self._segments else 0

    def add(self, codes: Int64s, locations: Int64s) -> None:
        """Adds pairs; of equal codes the last counts."""
        if len(codes):
            self._segments.append(_latest(codes, locations))
            self._merge()

    def find(self, code: int) -> int | None:
        """Location of a pair's latest result."""
        for codes, locations in reversed(self._segments):
            at = int(np.searchsorted(codes, code))
            if at < len(codes) and int(codes[at]) == code:
                return int(locations[at])
        return None

    def items(self) -> tuple[Int64s, Int64s]:
        """Codes and locations of all pairs, by location."""
        self._merge(everything=True)
        if not self._segments:
            return np.empty(0, np.int64), np.empty(0, np.int64)
        codes, locations = self._segments[0]
        order = np.argsort(locations)
        return codes[order], locations[order]

    def drop_shard(self, number: int) -> None:
        """Forgets every pair that lies in a shard."""
        kept = [
            (codes[locations >> 32 != number], locations[locations >> 32 != number])
            for codes, locations in self._segments
        ]
        self._segments = [segment for segment in kept if len(segment[0])]

    def _merge(self, *, everything: bool = False) -> None:
        while len(self._segments) > 1 and (everything or 2 * len(self._segments[-1][0]) >= len(self._segments[-2][0])):
            newer, older = self._segments.pop(), self._segments.pop()
            merged = (np.concatenate([first, second]) for first, second in zip(older, newer, strict=True))
            self._segments.append(_latest(*merged))


def _latest(codes: Int64s, locations: Int64s) -> tuple[Int64s, Int64s]:
    order = np.argsort(codes, kind="stable")
    codes, locations = codes[order], locations[order]
    last = np.append(codes[1:] != codes[:-1], True)
    return codes[last], locations[last]
