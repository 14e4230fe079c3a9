"""Pairs of photographs grouped into tiles: a block of photographs a against a block of b."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.dataset import ImageEntry
from engine.pairs import Pair, PairIndexList


@dataclass(frozen=True, eq=False)
class Tile:
    """Some pairs that share few photographs.

    Attributes:
        numbers: [P] rows of the pair list.
        rows, columns: [P] for each pair, where its a stands in `side_a` and its b in `side_b`.
        side_a, side_b: photographs, as rows of the list's entries.
    """

    numbers: NDArray[np.integer]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    side_a: NDArray[np.integer]
    side_b: NDArray[np.integer]


def photographs_of(pairs: Sequence[Pair]) -> list[ImageEntry]:
    """The photographs of a pair list, in the order of the data set."""
    listed = PairIndexList.of(pairs)
    return [listed.entries[row] for row in listed.photographs().tolist()]


def tiles(pairs: PairIndexList, side: int) -> Iterator[Tile]:
    """Groups pairs into tiles of at most `side` photographs each way.

    Every pair is in exactly one tile; within one, pairs are sorted by a, then b. What this takes in memory is of the
    pairs of one block of photographs, however many there are in all.
    """
    used = pairs.photographs()
    place = np.full(len(pairs.entries), -1, np.int32)
    place[used] = np.arange(len(used), dtype=np.int32)
    for start in range(0, len(used), side):
        numbers = pairs.with_a_in(int(used[start]), int(used[min(start + side, len(used)) - 1]) + 1)
        if not len(numbers):
            continue
        image_a, image_b = pairs.numbers(numbers)
        block = place[image_b] // side
        order = np.lexsort((image_b, image_a, block))
        ends = np.flatnonzero(np.diff(block[order])) + 1
        for rows in np.split(order, ends):
            side_a, row = np.unique(image_a[rows], return_inverse=True)
            side_b, column = np.unique(image_b[rows], return_inverse=True)
            yield Tile(numbers[rows], row, column, side_a, side_b)
