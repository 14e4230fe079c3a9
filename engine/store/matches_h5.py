"""The match store: the matches and verification of every pair of all runs with the same settings.

`MATCH_ROOT/<weights>_matches/<settings digest>/matches-00000.h5 ...` and `index.h5`. A shard never changes once it has
its name; a pair matched again goes to a later shard, which wins. The index only saves time: what it says of a shard
that has another size or time is read from the shard again.
"""

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
from engine.store.match_index import MatchIndex, ShardStamp, read_match_index, write_match_index
from engine.store.match_shard import NamedImage, PackedPair, match_shard_image
from engine.store.match_shard_reading import MatchShardReader
from engine.store.names import escape, folder_name, image_name
from engine.store.pair_index import SHARD_ROWS, Ints
from engine.store.pair_places import PairPlaces
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
        self._places = PairPlaces()
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
            return self._places.has(names[0], facts_a, names[1], facts_b)

    def needs_digest(self, path: Path, facts: FileFacts) -> bool:
        """Whether a photograph's digest would tell if it is one that is stored, touched or copied since."""
        name = self.name_of(path)
        with self._lock:
            return not facts.sha256 and self._places.versions.may_be_known(name, facts)

    def sha256(self, path: Path, facts: FileFacts) -> str:
        """The digest of a photograph that is known by its file's time; empty where it is not."""
        with self._lock:
            return self._places.versions.sha256(self.name_of(path), facts)

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
            return self._places.has_all([(self.name_of(path), facts) for path, facts in photographs], image_a, image_b)

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
            location = self._places.latest(name_a, name_b)
            if location is None:
                return None
            number, row = location
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
            names, first, second = self._places.in_order()
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
            images = [pair.a for pair in pairs] + [pair.b for pair in pairs]
            self._places.add_shard(shard.number, images, *np.arange(len(images)).reshape(2, -1))
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
                    stamps = [_stamp(shard) for shard in self._shards.values()]
                    write_match_index(self.folder / INDEX, self._places.as_index(stamps))
                    self._index_is_stale = False
                except WriteError as error:
                    self.problems.append(str(error))

    def _required_run(self) -> RunInfo:
        if self._run is None:
            raise ValueError("this match store was opened to read only")
        return self._run

    def _named(self, image: ImageRef) -> NamedImage:
        return NamedImage(self.name_of(image.path), image)

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
        self._places.drop(number)
        self._open.pop(number, None)
        self._shards.pop(number, None)
        self._index_is_stale = True

    def _load(self, index: MatchIndex | None) -> None:
        self._places.clear(sorted(self._shards))
        stamps = {_stamp(shard) for shard in self._shards.values()}
        described = set(index.shards) if index is not None else set()
        self._index_is_stale = stamps != described
        if index is not None:
            self._places.add_indexed(index, described & stamps)
        digest = self._run.settings.digest() if self._run else None
        for number, shard in list(self._shards.items()):
            if _stamp(shard) in described:
                continue
            try:
                tables = MatchShardReader(shard.path, digest, tables_only=True)
            except ResultFileError as error:
                self._forget(number, str(error))
                continue
            self._places.add_shard(number, tables.images, tables.image_a, tables.image_b)


def _stamp(shard: Shard) -> ShardStamp:
    return ShardStamp(shard.number, shard.bytes, shard.modified_ns)
