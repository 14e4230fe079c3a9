"""Where each pair of a match store lies: its shard and row, found by the names and files of its two images."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from engine.store.facts import FileFacts
from engine.store.image_versions import ImageVersions
from engine.store.match_index import IndexRows, MatchIndex, ShardStamp
from engine.store.match_shard import NamedImage
from engine.store.pair_index import ROW_BITS, SHARD_ROWS, Ints, PairIndex, place


class PairPlaces:
    """Not safe for several threads by itself.

    Attributes:
        versions: the images' files, as they were when their pairs were matched.
    """

    def __init__(self) -> None:
        """Begins without shards."""
        self.versions = ImageVersions()
        self.clear([])

    def clear(self, numbers: list[int]) -> None:
        """Forgets every pair. `numbers` are those of the shards whose pairs will be added, ascending."""
        self._index = PairIndex()
        self._numbers = numbers

    def add_indexed(self, index: MatchIndex, current: set[ShardStamp]) -> None:
        """Adds what an index file says of shards that are as it knew them."""
        versions = zip(index.versions, index.digests, strict=True)
        known = np.asarray([self.versions.add(*version) for version in versions], np.int64)
        numbers = [stamp.number for stamp in current]
        for rows in index.rows:
            kept = rows.where(np.isin(rows.shard, numbers))
            slot = np.searchsorted(self._numbers, kept.shard)
            self._index.add(known[kept.image_a], known[kept.image_b], place(slot, kept.row))

    def add_shard(self, number: int, images: Sequence[NamedImage], image_a: Ints, image_b: Ints) -> None:
        """Adds the pairs of a shard, in their order there.

        Args:
            number: of the shard; one that is new is the greatest.
            images: photographs.
            image_a, image_b: [P] rows of `images`.
        """
        if number not in self._numbers:
            self._numbers.append(number)
        known = np.asarray([self.versions.add(image.version, image.image.sha256) for image in images], np.int64)
        places = place(self._numbers.index(number), np.arange(len(image_a)))
        self._index.add(known[image_a], known[image_b], places)

    def drop(self, number: int) -> None:
        """Forgets what lies in a shard."""
        self._index.drop(self._numbers.index(number))

    def latest(self, name_a: str, name_b: str) -> tuple[int, int] | None:
        """Number of the shard and the row of a pair's latest result, of whatever files; None where there is none."""
        at = self._latest(name_a, name_b)
        return None if at is None else (self._numbers[at >> ROW_BITS], at & (SHARD_ROWS - 1))

    def has(self, name_a: str, facts_a: FileFacts, name_b: str, facts_b: FileFacts) -> bool:
        """Whether the latest result of a pair is of these very files."""
        here = self._index.find(self.versions.find(name_a, facts_a), self.versions.find(name_b, facts_b))
        return here is not None and here == self._latest(name_a, name_b)

    def has_all(
        self, photographs: Sequence[tuple[str, FileFacts | None]], image_a: Ints, image_b: Ints
    ) -> NDArray[np.bool_]:
        """Like `has`, for many pairs at once.

        Args:
            photographs: names and files; without facts where a file cannot be reached.
            image_a, image_b: [P] rows of `photographs`.

        Returns:
            [P] bool.
        """
        now = np.full(len(photographs), -1, np.int64)
        others: list[list[int]] = []
        for row, (name, facts) in enumerate(photographs):
            if facts is not None:
                now[row] = self.versions.find(name, facts)
            others.append([known for known in self.versions.of(name) if known != now[row]])
        here = self._index.find_all(now[image_a], now[image_b])
        # A later result, of another version of one of the files, outdates what is stored of these.
        versions = np.full((1 + max(map(len, others), default=0), len(photographs)), -1, np.int64)
        versions[0] = now
        for row, known in enumerate(others):
            versions[1 : 1 + len(known), row] = known
        latest = here.copy()
        for of_a, of_b in itertools.product(versions, versions):
            if of_a is not versions[0] or of_b is not versions[0]:
                np.maximum(latest, self._index.find_all(of_a[image_a], of_b[image_b]), out=latest)
        return np.asarray((here >= 0) & (here == latest))

    def in_order(self) -> tuple[list[str], Ints, Ints]:
        """All names, and for each pair in the order they lie on disk the rows of a and of b among them."""
        names = self.versions.names
        row_of = {name: row for row, name in enumerate(names)}
        name_of = np.asarray([row_of[name] for name in self.versions.name_of_each], np.int64)
        latest = PairIndex()
        for image_a, image_b, places in self._index.parts():
            latest.add(np.full(len(image_b), name_of[image_a]), name_of[image_b], places)
        parts = [(np.full(len(b), a, np.int32), b, places) for a, b, places in latest.parts()]
        empty = (np.empty(0, np.int32),) * 3
        first, second, where = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
        order = np.argsort(where)
        return names, first[order], second[order]

    def as_index(self, shards: list[ShardStamp]) -> MatchIndex:
        """What an index file of these shards holds."""
        numbers = np.asarray(self._numbers, np.int32)
        versions, digests, row_of = self.versions.table()

        def rows() -> Iterator[IndexRows]:
            for a, partners, places in self._index.parts():
                image_a = np.full(len(partners), row_of[a], np.int32)
                shard, row = numbers[places >> ROW_BITS], places & (SHARD_ROWS - 1)
                yield IndexRows(image_a, row_of[partners], shard, row.astype(np.int32))

        return MatchIndex(shards, versions, digests, len(self._index), rows())

    def _latest(self, name_a: str, name_b: str) -> int | None:
        candidates = (self._index.find(a, b) for a in self.versions.of(name_a) for b in self.versions.of(name_b))
        return max((at for at in candidates if at is not None), default=None)
