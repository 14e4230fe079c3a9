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
        side_a, side_b: photographs, as numbers in the list of all.
    """

    numbers: NDArray[np.intp]
    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    side_a: NDArray[np.intp]
    side_b: NDArray[np.intp]


def photographs_of(pairs: Sequence[Pair]) -> tuple[list[ImageEntry], NDArray[np.intp], NDArray[np.intp]]:
    """The photographs of a pair list in the order of the data set, and of each pair the numbers of a and b in them."""
    if isinstance(pairs, PairIndexList):
        used, numbers = np.unique(np.concatenate((pairs.first, pairs.second)), return_inverse=True)
        first, second = numbers[: len(pairs)], numbers[len(pairs) :]
        return [pairs.entries[number] for number in used.tolist()], first, second
    number_of: dict[str, int] = {}
    entries: list[ImageEntry] = []
    sides = np.empty((2, len(pairs)), np.intp)
    for row, pair in enumerate(pairs):
        for side, entry in enumerate((pair.a, pair.b)):
            sides[side, row] = number_of.setdefault(entry.key, len(entries))
            if len(number_of) > len(entries):
                entries.append(entry)
    return entries, sides[0], sides[1]


def tiles(image_a: NDArray[np.intp], image_b: NDArray[np.intp], side: int) -> Iterator[Tile]:
    """Groups pairs, given as numbers of their photographs, into tiles of at most `side` photographs each way.

    Every pair is in exactly one tile; within one, pairs are sorted by a, then b.
    """
    order = np.lexsort((image_b, image_a, image_b // side, image_a // side))
    tile = np.stack((image_a[order] // side, image_b[order] // side))
    starts = np.flatnonzero(np.concatenate(([True], (tile[:, 1:] != tile[:, :-1]).any(axis=0))))
    for start, end in zip(starts, [*starts[1:], len(order)], strict=True):
        numbers = order[start:end]
        if not len(numbers):
            return
        side_a, rows = np.unique(image_a[numbers], return_inverse=True)
        side_b, columns = np.unique(image_b[numbers], return_inverse=True)
        yield Tile(numbers, rows, columns, side_a, side_b)
