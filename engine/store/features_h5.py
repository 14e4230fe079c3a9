"""The feature store: each photograph's feature map, kept until its file, the graph or the preprocessing changes.

`EMBED_ROOT/<weights>/<graph>_<size>px_<preprocessing>_<view>/features-00000.h5 ...` and `index.json`. A shard never
changes once it has its name, and a later shard wins over an earlier one. The index only saves time: a part of it whose
shard has another size or time is read from the shard again.
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from engine.errors import ResultFileError
from engine.features import FeatureMap
from engine.store.atomic import WriteError, write_text
from engine.store.facts import FileFacts
from engine.store.feature_shard import FORMAT, FeatureShardReader, StoredFeatures, feature_shard_image
from engine.store.names import escape, folder_name
from engine.store.shards import Shard, add_shard, list_shards

PREFIX, INDEX = "features", "index.json"
SHARD_BYTES = 32 << 20
SHARD_IMAGES = 256
SHARD_SECONDS = 60.0
"""A map waits no longer for its shard while others come: about what a power cut or `kill -9` can cost."""
_OPEN_SHARDS = 4

_Index = dict[str, tuple[int, int, list[tuple[str, FileFacts]]]]
"""Name of a shard to its size, time and images."""


@dataclass(frozen=True)
class FeatureIdentity:
    """All that features depend on besides the image itself.

    Attributes:
        graph_sha256: digest of the graph (hex).
        image_size: shorter side of the encoded image in pixels.
        preprocessing: how images are decoded and resized, in a word.
        view: which view of the image, in a word.
    """

    graph_sha256: str
    image_size: int
    preprocessing: str = "bilinear"
    view: str = "upright"

    @property
    def folder(self) -> str:
        """Name of the folder; the shards hold the whole identity."""
        words = "_".join(escape(word) for word in (self.preprocessing, self.view))
        return folder_name(f"{self.graph_sha256[:16]}_{self.image_size}px_{words}")

    def text(self) -> str:
        """The identity as shards record it."""
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True)
class _Place:
    shard: Shard
    facts: FileFacts


class FeatureStore:
    """Feature maps of one backbone under one identity. May be used from several threads.

    Attributes:
        folder: where the shards lie; made when the first is written.
        problems: one line per damaged or foreign file met; what it held counts as not stored.
    """

    def __init__(
        self,
        root: Path,
        weights: str,
        identity: FeatureIdentity,
        *,
        shard_bytes: int = SHARD_BYTES,
        shard_images: int = SHARD_IMAGES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Opens the store.

        Args:
            root: `EMBED_ROOT`.
            weights: alias of the backbone.
            identity: what the features depend on.
            shard_bytes: a shard is written when the maps waiting reach this size, or `shard_images` in number, or
                the first has waited for `SHARD_SECONDS`.
            clock: gives seconds.
        """
        self.folder = root / folder_name(escape(weights)) / identity.folder
        self.problems: list[str] = []
        self._identity = identity.text()
        self._limits = (shard_bytes, shard_images)
        self._lock = threading.RLock()
        self._waiting: dict[str, StoredFeatures] = {}
        self._waiting_bytes = 0
        self._clock = clock
        self._waiting_since = 0.0
        self._open: OrderedDict[Path, FeatureShardReader] = OrderedDict()
        self._places: dict[str, _Place] = {}
        self._shards: list[Shard] = list_shards(self.folder, PREFIX)
        self._last_number = self._shards[-1].number if self._shards else -1
        self._index_is_stale = False
        self._load(_read_index(self.folder / INDEX, self._identity))

    def __enter__(self) -> "FeatureStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add(self, name: str, facts: FileFacts, features: FeatureMap) -> None:
        """Stores a full feature map; it is on disk after the next `flush` or `close`, at the latest.

        Args:
            name: the image's name, see `engine.store.names.image_name`.
            facts: what the image file was when it was read.
            features: the map, with all tokens of its grid.

        Raises:
            WriteError: the shard that became full cannot be written; the maps stay in memory.
            ValueError: a map of some tokens only, or a name that HDF5 cannot hold.
        """
        if len(features) != features.grid[0] * features.grid[1]:
            raise ValueError(f"{name}: only full feature maps are stored; selection happens when matching")
        if not name or name.startswith("/") or "\0" in name or PurePosixPath(name).as_posix() != name:
            raise ValueError(f"not an image name: {name!r}")
        with self._lock:
            entry = StoredFeatures(name, facts, features)
            if not self._waiting:
                self._waiting_since = self._clock()
            replaced = self._waiting.pop(name, None)
            self._waiting[name] = entry
            self._waiting_bytes += entry.bytes - (replaced.bytes if replaced else 0)
            full = self._waiting_bytes >= self._limits[0] or len(self._waiting) >= self._limits[1]
            if full or self._clock() - self._waiting_since >= SHARD_SECONDS:
                self.flush()

    def has(self, name: str, facts: FileFacts) -> bool:
        """Whether the map of this image, with its file unchanged, is stored; without reading it."""
        with self._lock:
            known = self._facts(name)
            return known is not None and known.same_content(facts)

    def sha256(self, name: str) -> str:
        """SHA-256 (hex) of the file of a stored image, or empty where it was not taken."""
        with self._lock:
            known = self._facts(name)
            return known.sha256 if known else ""

    def get(self, name: str, facts: FileFacts | None = None) -> FeatureMap | None:
        """The map of an image, to the bit as it was stored.

        Args:
            name: the image's name.
            facts: what the file is now; with None, whatever is stored counts.

        Returns:
            None where it is not stored, the file has changed, or the shard turns out to be damaged (see `problems`).
        """
        with self._lock:
            known = self._facts(name)
            if known is None or (facts is not None and not known.same_content(facts)):
                return None
            if name in self._waiting:
                return self._waiting[name].features
            shard = self._places[name].shard
            try:
                reader = self._reader(shard)
                if not reader.has(name) or reader.facts(name) != known:
                    # The index was wrong: what the shards themselves say counts.
                    self._load({})
                    return self.get(name, facts)
                return reader.read(name)
            except ResultFileError as error:
                self._forget(shard, str(error))
                return None

    def names(self) -> list[str]:
        """Names of the stored images, in the order they lie on disk: reading them so is fastest."""
        with self._lock:
            stored = [name for name in self._places if name not in self._waiting]
            return [*sorted(stored, key=lambda name: self._places[name].shard.number), *self._waiting]

    def flush(self) -> None:
        """Writes the maps waiting in memory as a shard.

        Raises:
            WriteError: it cannot be written; the maps stay in memory.
        """
        with self._lock:
            if not self._waiting:
                return
            image = feature_shard_image(self._waiting.values(), self._identity)
            shard = add_shard(self.folder, PREFIX, image, self._last_number)
            self._last_number = shard.number
            self._shards.append(shard)
            self._places.update((name, _Place(shard, entry.facts)) for name, entry in self._waiting.items())
            self._waiting, self._waiting_bytes = {}, 0
            self._index_is_stale = True

    def close(self) -> None:
        """Flushes and writes the index. A failing index is noted in `problems`: nothing is lost with it.

        Raises:
            WriteError: the last shard cannot be written.
        """
        with self._lock:
            try:
                self.flush()
            finally:
                for reader in self._open.values():
                    reader.close()
                self._open.clear()
            if self._index_is_stale:
                try:
                    self._write_index()
                    self._index_is_stale = False
                except WriteError as error:
                    self.problems.append(str(error))

    def _facts(self, name: str) -> FileFacts | None:
        if name in self._waiting:
            return self._waiting[name].facts
        return self._places[name].facts if name in self._places else None

    def _reader(self, shard: Shard) -> FeatureShardReader:
        reader = self._open.pop(shard.path, None) or FeatureShardReader(shard.path, self._identity)
        self._open[shard.path] = reader
        while len(self._open) > _OPEN_SHARDS:
            self._open.popitem(last=False)[1].close()
        return reader

    def _forget(self, shard: Shard, problem: str) -> None:
        self.problems.append(problem)
        self._places = {name: place for name, place in self._places.items() if place.shard != shard}
        self._shards.remove(shard)
        self._index_is_stale = True
        reader = self._open.pop(shard.path, None)
        if reader is not None:
            reader.close()

    def _load(self, indexed: _Index) -> None:
        self._places = {}
        stale = indexed.keys() != {shard.path.name for shard in self._shards}
        for shard in list(self._shards):
            size, modified_ns, images = indexed.get(shard.path.name, (-1, -1, []))
            if (size, modified_ns) != (shard.bytes, shard.modified_ns):
                stale = True
                try:
                    images = list(self._reader(shard).images())
                except ResultFileError as error:
                    self._forget(shard, str(error))
                    continue
            self._places.update((name, _Place(shard, facts)) for name, facts in images)
        self._index_is_stale = stale

    def _write_index(self) -> None:
        held: dict[Shard, list[list[Any]]] = {shard: [] for shard in self._shards}
        for name, place in self._places.items():
            facts = place.facts
            held[place.shard].append([name, facts.bytes, facts.modified_ns, facts.sha256])
        document = {
            "format": FORMAT,
            "identity": self._identity,
            "shards": {
                shard.path.name: {"bytes": shard.bytes, "modified_ns": shard.modified_ns, "images": images}
                for shard, images in held.items()
            },
        }
        write_text(self.folder / INDEX, json.dumps(document))


def _read_index(path: Path, identity: str) -> _Index:
    """What the index says; nothing where it is missing, damaged or of another identity."""
    try:
        document = json.loads(path.read_bytes())
        if document["format"] != FORMAT or document["identity"] != identity:
            return {}
        return {
            shard: (int(entry["bytes"]), int(entry["modified_ns"]), list(_indexed_images(entry["images"])))
            for shard, entry in document["shards"].items()
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return {}


def _indexed_images(entries: list[Any]) -> Iterator[tuple[str, FileFacts]]:
    for name, size, modified_ns, sha256 in entries:
        if not (isinstance(name, str) and isinstance(sha256, str)):
            raise TypeError("not an index entry")
        yield name, FileFacts(int(size), int(modified_ns), sha256)
