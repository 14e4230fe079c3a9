"""The match store: the matches and verification of every pair of all runs with the same settings.

`MATCH_ROOT/<weights>_matches/<settings digest>/matches-00000.h5 ...` and `index.h5`. A shard never changes once it has
its name; a pair matched again goes to a later shard, which wins. The index only saves time: what it says of a shard
that has another size or time is read from the shard again.
"""

import threading
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from engine.errors import ResultFileError
from engine.results import ImageRef, MatchSettings, PairResult, RunInfo
from engine.store.atomic import WriteError
from engine.store.facts import FileFacts
from engine.store.hdf5 import check_hdf5
from engine.store.match_index import MatchIndex, ShardStamp, read_match_index, write_match_index
from engine.store.match_shard import NamedImage, PackedPair, match_shard_image
from engine.store.match_shard_reading import MatchShardReader
from engine.store.names import escape, folder_name, image_name
from engine.store.pair_index import LOW_32, Int64s, PairIndex, pack, unpack
from engine.store.shards import Shard, add_shard, list_shards

PREFIX, INDEX = "matches", "index.h5"
SHARD_PAIRS = 8192
SHARD_MATCHES = 1 << 20
_OPEN_SHARDS = 2

ImageVersion = tuple[str, int, int]
"""An image's name, and its file's size and modification time: what a stored pair is known by."""


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
            shard_pairs: a shard is written when so many pairs, or `shard_matches` matches, wait in memory.
        """
        self.folder = folder
        self.problems: list[str] = []
        self._run = run
        self._limits = (shard_pairs, shard_matches)
        self._lock = threading.RLock()
        self._waiting: dict[tuple[str, str], PackedPair] = {}
        self._waiting_matches = 0
        self._open: OrderedDict[int, MatchShardReader] = OrderedDict()
        self._names: dict[Path, str] = {}
        self._index = PairIndex()
        self._versions: dict[ImageVersion, int] = {}
        self._versions_of: dict[str, list[int]] = {}
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
        version_a = (self.name_of(path_a), facts_a.bytes, facts_a.modified_ns)
        version_b = (self.name_of(path_b), facts_b.bytes, facts_b.modified_ns)
        with self._lock:
            waiting = self._waiting.get((version_a[0], version_b[0]))
            if waiting is not None:
                return (_version(waiting.a), _version(waiting.b)) == (version_a, version_b)
            known_a, known_b = self._versions.get(version_a), self._versions.get(version_b)
            if known_a is None or known_b is None:
                return False
            here = self._index.find(_code(known_a, known_b))
            return here is not None and here == self._latest(version_a[0], version_b[0])

    def name_of(self, path: Path) -> str:
        """What a photograph is called in this store."""
        name = self._names.get(path)
        if name is None:
            name = self._names[path] = image_name(path, Path(self._required_run().paths["img_root"]))
        return name

    def check(self) -> None:
        """Reads every shard through; what a damaged one held counts as not stored from now on (see `problems`)."""
        with self._lock:
            for number, shard in list(self._shards.items()):
                try:
                    check_hdf5(shard.path)
                except ResultFileError as error:
                    self._forget(number, str(error))

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
            number, row = location >> 32, location & LOW_32
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
            names = list(self._versions_of)
            row_of = {name: row for row, name in enumerate(names)}
            name_of = np.asarray([row_of[name] for name, _, _ in self._versions], np.int64)
            codes, locations = self._index.items()
            image_a, image_b = unpack(codes)
            latest = PairIndex()
            latest.add(pack(name_of[image_a], name_of[image_b]), locations)
            first, second = (part.astype(np.int32) for part in unpack(latest.items()[0]))
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
            image_a = np.asarray([self._known(_version(pair.a)) for pair in pairs])
            image_b = np.asarray([self._known(_version(pair.b)) for pair in pairs])
            self._index.add(pack(image_a, image_b), pack(shard.number, np.arange(len(pairs))))
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

    def _known(self, version: ImageVersion) -> int:
        at = self._versions.get(version)
        if at is None:
            at = self._versions[version] = len(self._versions)
            self._versions_of.setdefault(version[0], []).append(at)
        return at

    def _latest(self, name_a: str, name_b: str) -> int | None:
        candidates = (
            self._index.find(_code(a, b))
            for a in self._versions_of.get(name_a, ())
            for b in self._versions_of.get(name_b, ())
        )
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
        self._index.drop_shard(number)
        self._open.pop(number, None)
        self._shards.pop(number, None)
        self._index_is_stale = True

    def _load(self, index: MatchIndex | None) -> None:
        self._index = PairIndex()
        stamps = {_stamp(shard) for shard in self._shards.values()}
        described = set(index.shards) if index is not None else set()
        self._index_is_stale = stamps != described
        codes: list[Int64s] = []
        locations: list[Int64s] = []
        if index is not None:
            known = np.asarray([self._known(version) for version in index.versions], np.int64)
            current = np.isin(index.shard, [stamp.number for stamp in described & stamps])
            codes.append(pack(known[index.image_a[current]], known[index.image_b[current]]))
            locations.append(pack(index.shard[current], index.row[current]))
        digest = self._run.settings.digest() if self._run else None
        for number, shard in list(self._shards.items()):
            if _stamp(shard) in described:
                continue
            try:
                tables = MatchShardReader(shard.path, digest, tables_only=True)
            except ResultFileError as error:
                self._forget(number, str(error))
                continue
            known = np.asarray([self._known(_version(image)) for image in tables.images], np.int64)
            codes.append(pack(known[tables.image_a], known[tables.image_b]))
            locations.append(pack(number, np.arange(len(tables))))
        if codes:
            all_codes, all_locations = np.concatenate(codes), np.concatenate(locations)
            order = np.argsort(all_locations)
            self._index.add(all_codes[order], all_locations[order])

    def _write_index(self) -> None:
        codes, locations = self._index.items()
        (image_a, image_b), (shard, row) = unpack(codes), unpack(locations)
        index = MatchIndex(
            shards=[_stamp(entry) for entry in self._shards.values()],
            versions=list(self._versions),
            image_a=image_a.astype(np.int32),
            image_b=image_b.astype(np.int32),
            shard=shard.astype(np.int32),
            row=row.astype(np.int32),
        )
        write_match_index(self.folder / INDEX, index)


def _version(entry: NamedImage) -> ImageVersion:
    return entry.name, entry.image.bytes, entry.image.modified_ns


def _code(image_a: int, image_b: int) -> int:
    return image_a << 32 | image_b


def _stamp(shard: Shard) -> ShardStamp:
    return ShardStamp(shard.number, shard.bytes, shard.modified_ns)
