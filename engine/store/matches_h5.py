"""The match store: the matches and verification of every pair of all runs with the same settings.

`MATCH_ROOT/<weights>_matches/<settings digest>/matches-00000.h5 ...` and `index.h5`. A shard never changes once it has
its name; a pair matched again goes to a later shard, which wins. The index only saves time: what it says of a shard
that has another size or time is read from the shard again.
"""

import itertools
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import ResultFileError
from engine.results import ImageRef, MatchSettings, PairResult, RunInfo
from engine.store.atomic import WriteError
from engine.store.facts import FileFacts
from engine.store.hdf5 import check_hdf5
from engine.store.image_versions import ImageVersion, ImageVersions
from engine.store.match_index import IndexRows, MatchIndex, ShardStamp, read_match_index, write_match_index
from engine.store.match_shard import NamedImage, PackedPair, match_shard_image
from engine.store.match_shard_reading import MatchShardReader
from engine.store.names import escape, folder_name, image_name
from engine.store.pair_index import ROW_BITS, SHARD_ROWS, Ints, PairIndex, place
from engine.store.shards import Shard, add_shard, list_shards

PREFIX, INDEX = "matches", "index.h5"
SHARD_PAIRS = 8192
SHARD_MATCHES = 1 << 20
_OPEN_SHARDS = 2


def match_folder(match_root: Path, settings: MatchSettings) -> Path:
    """The folder of all runs with these settings."""
    return match_root / folder_name(f"{escape(settings.weights)}_matches") / settings.digest()[:12]


class MatchStore:
    """Results of pairs, found by the names of their images (see `image_name`). May be used from several threads.

    Attributes:
        folder: where the shards lie; made when the first is written.
        problems: one line per damaged or foreign file met; what it held counts as not stored.
    """

    def __init__(
        self,
        folder: Path,
        run: RunInfo | None = None,
        *,
        shard_pairs: int = SHARD_PAIRS,
        shard_matches: int = SHARD_MATCHES,
    ) -> None:
        """Opens the store.

        Args:
            folder: see `match_folder`.
            run: what new results are made with; None to read only.
            shard_pairs: a shard is written when so many pairs, or `shard_matches` matches, wait in memory; at most
                `SHARD_ROWS`.
        """
        self.folder = folder
        self.problems: list[str] = []
        self._run = run
        self._limits = (min(shard_pairs, SHARD_ROWS), shard_matches)
        self._lock = threading.RLock()
        self._waiting: dict[tuple[str, str], PackedPair] = {}
        self._waiting_matches = 0
        self._open: OrderedDict[int, MatchShardReader] = OrderedDict()
        self._names: dict[Path, str] = {}
        self._index = PairIndex()
        self._numbers: list[int] = []
        self._versions = ImageVersions()
        self._shards = {shard.number: shard for shard in list_shards(folder, PREFIX)}
        self._last_number = max(self._shards, default=-1)
        self._index_is_stale = False
        self._load(read_match_index(folder / INDEX))

    def __enter__(self) -> "MatchStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, result: PairResult) -> None:
        """Stores the result of a pair, in place of an earlier one of the same two images in this order.

        It is on disk after the next `flush` or `close`, at the latest.

        Raises:
            WriteError: the shard that became full cannot be written; the results stay in memory.
            ValueError: the store was opened to read only, or the result's arrays differ in length.
        """
        pair = PackedPair.of(self._named(result.image_a), self._named(result.image_b), result)
        with self._lock:
            if self._waiting and next(iter(self._waiting.values())).shares != pair.shares:
                self.flush()
            replaced = self._waiting.pop((pair.a.name, pair.b.name), None)
            self._waiting[pair.a.name, pair.b.name] = pair
            self._waiting_matches += len(pair) - (len(replaced) if replaced else 0)
            if len(self._waiting) >= self._limits[0] or self._waiting_matches >= self._limits[1]:
                self.flush()

    def has(self, image_a: ImageRef, image_b: ImageRef) -> bool:
        """Whether the result of this pair, with both files unchanged, is stored; without reading it."""
        return self.has_files(image_a.path, FileFacts.of(image_a), image_b.path, FileFacts.of(image_b))

    def has_files(self, path_a: Path, facts_a: FileFacts, path_b: Path, facts_b: FileFacts) -> bool:
        """Like `has`, for photographs known by their files only."""
        names = self.name_of(path_a), self.name_of(path_b)
        with self._lock:
            waiting = self._waiting.get(names)
            if waiting is not None:
                return all(
                    FileFacts.of(entry.image).same_content(facts)
                    for entry, facts in ((waiting.a, facts_a), (waiting.b, facts_b))
                )
            here = self._index.find(self._versions.find(names[0], facts_a), self._versions.find(names[1], facts_b))
            return here is not None and here == self._latest(*names)

    def needs_digest(self, path: Path, facts: FileFacts) -> bool:
        """Whether a photograph's digest would tell if it is one that is stored, touched or copied since."""
        name = self.name_of(path)
        with self._lock:
            return not facts.sha256 and self._versions.may_be_known(name, facts)

    def sha256(self, path: Path, facts: FileFacts) -> str:
        """The digest of a photograph that is known by its file's time; empty where it is not."""
        with self._lock:
            return self._versions.sha256(self.name_of(path), facts)

    def has_all(
        self, photographs: Sequence[tuple[Path, FileFacts | None]], image_a: Ints, image_b: Ints
    ) -> NDArray[np.bool_]:
        """Like `has_files`, for many pairs at once, those that wait in memory left out.

        Args:
            photographs: files; without facts where one cannot be reached, whose pairs then count as not stored.
            image_a, image_b: [P] rows of `photographs`.

        Returns:
            [P] bool.
        """
        with self._lock:
            now = np.full(len(photographs), -1, np.int64)
            others: list[list[int]] = []
            for row, (path, facts) in enumerate(photographs):
                name = self.name_of(path)
                if facts is not None:
                    now[row] = self._versions.find(name, facts)
                others.append([known for known in self._versions.of(name) if known != now[row]])
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

    def name_of(self, path: Path) -> str:
        """What a photograph is called in this store."""
        name = self._names.get(path)
        if name is None:
            name = self._names[path] = image_name(path, Path(self._required_run().paths["img_root"]))
        return name

    def check(self, shown: Callable[[list[Shard]], Iterable[Shard]] = iter) -> None:
        """Reads every shard through; what a damaged one held counts as not stored from now on (see `problems`).

        Args:
            shown: passes the shards on, and may tell how far it is.
        """
        with self._lock:
            for shard in shown(list(self._shards.values())):
                try:
                    check_hdf5(shard.path)
                except ResultFileError as error:
                    self._forget(shard.number, str(error))

    def get(self, name_a: str, name_b: str) -> PairResult | None:
        """The latest result of a pair, to the bit as it was stored.

        Returns:
            None where it is not stored, or its shard turns out to be damaged (see `problems`).
        """
        found = self.find(name_a, name_b)
        return found[0] if found else None

    def find(self, name_a: str, name_b: str) -> tuple[PairResult, RunInfo] | None:
        """Like `get`, with what the result was made with."""
        with self._lock:
            waiting = self._waiting.get((name_a, name_b))
            if waiting is not None:
                return waiting.whole(), self._required_run()
            location = self._latest(name_a, name_b)
            if location is None:
                return None
            number, row = self._numbers[location >> ROW_BITS], location & (SHARD_ROWS - 1)
            try:
                reader = self._reader(number)
                if reader.names(row) != (name_a, name_b):
                    # The index was wrong: what the shards themselves say counts.
                    self._load(None)
                    return self.find(name_a, name_b)
                return reader.read(row), reader.run
            except ResultFileError as error:
                self._forget(number, str(error))
                return None

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Names (a, b) of the stored pairs, in the order they lie on disk: reading them so is fastest."""
        with self._lock:
            names = self._versions.names
            row_of = {name: row for row, name in enumerate(names)}
            name_of = np.asarray([row_of[name] for name in self._versions.name_of_each], np.int64)
            latest = PairIndex()
            for image_a, image_b, places in self._index.parts():
                latest.add(np.full(len(image_b), name_of[image_a]), name_of[image_b], places)
            parts = [(np.full(len(b), a, np.int32), b, places) for a, b, places in latest.parts()]
            empty = (np.empty(0, np.int32),) * 3
            first, second, where = (np.concatenate(column) for column in zip(empty, *parts, strict=True))
            order = np.argsort(where)
            first, second = first[order], second[order]
            waiting = list(self._waiting)
        skipped = set(waiting)
        for a, b in zip(first, second, strict=True):
            if (names[a], names[b]) not in skipped:
                yield names[a], names[b]
        yield from waiting

    def results(self) -> Iterator[PairResult]:
        """The latest results of all pairs, in the order they lie on disk; those of damaged shards are left out."""
        for name_a, name_b in self.pairs():
            found = self.get(name_a, name_b)
            if found is not None:
                yield found

    def flush(self) -> None:
        """Writes the results waiting in memory as a shard.

        Raises:
            WriteError: it cannot be written; the results stay in memory.
        """
        with self._lock:
            if not self._waiting:
                return
            pairs = list(self._waiting.values())
            shard = add_shard(self.folder, PREFIX, match_shard_image(pairs, self._required_run()), self._last_number)
            self._last_number = shard.number
            self._shards[shard.number] = shard
            image_a, image_b = (
                np.asarray([self._versions.add(_version(image), image.image.sha256) for image in side])
                for side in ([pair.a for pair in pairs], [pair.b for pair in pairs])
            )
            self._numbers.append(shard.number)
            self._index.add(image_a, image_b, place(len(self._numbers) - 1, np.arange(len(pairs))))
            self._waiting, self._waiting_matches = {}, 0
            self._index_is_stale = True

    def close(self) -> None:
        """Flushes and writes the index. A failing index is noted in `problems`: nothing is lost with it.

        Raises:
            WriteError: the last shard cannot be written.
        """
        with self._lock:
            self.flush()
            if self._index_is_stale and self._run is not None:
                try:
                    self._write_index()
                    self._index_is_stale = False
                except WriteError as error:
                    self.problems.append(str(error))

    def _required_run(self) -> RunInfo:
        if self._run is None:
            raise ValueError("this match store was opened to read only")
        return self._run

    def _named(self, image: ImageRef) -> NamedImage:
        return NamedImage(self.name_of(image.path), image)

    def _latest(self, name_a: str, name_b: str) -> int | None:
        candidates = (self._index.find(a, b) for a in self._versions.of(name_a) for b in self._versions.of(name_b))
        return max((location for location in candidates if location is not None), default=None)

    def _reader(self, number: int) -> MatchShardReader:
        reader = self._open.pop(number, None)
        if reader is None:
            digest = self._run.settings.digest() if self._run else None
            reader = MatchShardReader(self._shards[number].path, digest)
        self._open[number] = reader
        while len(self._open) > _OPEN_SHARDS:
            self._open.popitem(last=False)
        return reader

    def _forget(self, number: int, problem: str) -> None:
        self.problems.append(problem)
        self._index.drop(self._numbers.index(number))
        self._open.pop(number, None)
        self._shards.pop(number, None)
        self._index_is_stale = True

    def _load(self, index: MatchIndex | None) -> None:
        self._index = PairIndex()
        self._numbers = sorted(self._shards)
        slots = {number: slot for slot, number in enumerate(self._numbers)}
        stamps = {_stamp(shard) for shard in self._shards.values()}
        described = set(index.shards) if index is not None else set()
        self._index_is_stale = stamps != described
        if index is not None:
            versions = zip(index.versions, index.digests, strict=True)
            known = np.asarray([self._versions.add(*version) for version in versions], np.int64)
            current = [stamp.number for stamp in described & stamps]
            for rows in index.rows:
                kept = rows.where(np.isin(rows.shard, current))
                slot = np.searchsorted(self._numbers, kept.shard)
                self._index.add(known[kept.image_a], known[kept.image_b], place(slot, kept.row))
        digest = self._run.settings.digest() if self._run else None
        for number, shard in list(self._shards.items()):
            if _stamp(shard) in described:
                continue
            try:
                tables = MatchShardReader(shard.path, digest, tables_only=True)
            except ResultFileError as error:
                self._forget(number, str(error))
                continue
            known = np.asarray(
                [self._versions.add(_version(image), image.image.sha256) for image in tables.images], np.int64
            )
            self._index.add(known[tables.image_a], known[tables.image_b], place(slots[number], np.arange(len(tables))))

    def _write_index(self) -> None:
        numbers = np.asarray(self._numbers, np.int32)
        versions, digests, row_of = self._versions.table()

        def rows() -> Iterator[IndexRows]:
            for a, partners, places in self._index.parts():
                image_a = np.full(len(partners), row_of[a], np.int32)
                shard, row = numbers[places >> ROW_BITS], places & (SHARD_ROWS - 1)
                yield IndexRows(image_a, row_of[partners], shard, row.astype(np.int32))

        shards = [_stamp(entry) for entry in self._shards.values()]
        index = MatchIndex(shards, versions, digests, len(self._index), rows())
        write_match_index(self.folder / INDEX, index)


def _version(entry: NamedImage) -> ImageVersion:
    return entry.name, entry.image.bytes, entry.image.modified_ns


def _stamp(shard: Shard) -> ShardStamp:
    return ShardStamp(shard.number, shard.bytes, shard.modified_ns)
