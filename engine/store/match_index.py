"""The index file of a match store: which shard and row holds each pair's latest result. It can always be made anew."""

import itertools
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from engine.errors import ResultFileError
from engine.store.hdf5 import READ_ERRORS, build_hdf5, open_hdf5, write_hdf5
from engine.store.pair_index import SHARD_ROWS

FORMAT = "dinov3-match match index 1"
_CHUNK = 1 << 14
_COLUMNS = ("image_a", "image_b", "shard", "row")


@dataclass(frozen=True)
class ShardStamp:
    """A shard as the index knew it: number, size in bytes, modification time."""

    number: int
    bytes: int
    modified_ns: int


@dataclass(frozen=True, eq=False)
class IndexRows:
    """Some pairs of an index.

    Attributes:
        image_a, image_b: [P] int32; rows of the index's `versions`.
        shard, row: [P] int32; number of the shard, and the pair's row in it.
    """

    image_a: NDArray[np.int32]
    image_b: NDArray[np.int32]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]

    def where(self, rows: NDArray[np.bool_] | slice) -> "IndexRows":
        """Some of the pairs, or those where a mask is true."""
        return IndexRows(*(getattr(self, name)[rows] for name in _COLUMNS))


@dataclass(frozen=True, eq=False)
class MatchIndex:
    """What an index file holds.

    Attributes:
        shards: the shards it describes.
        versions: (name, bytes, modified_ns) of each image.
        digests: SHA-256 (hex) of each image's file, or empty.
        pairs: how many there are.
        rows: the pairs, some at a time, so that they are never in memory twice.
    """

    shards: list[ShardStamp]
    versions: list[tuple[str, int, int]]
    digests: list[str]
    pairs: int
    rows: Iterable[IndexRows]


def write_match_index(path: Path, index: MatchIndex) -> None:
    """Writes an index file.

    Raises:
        WriteError: it cannot be written.
    """

    def fill(file: h5py.File) -> None:
        file.attrs["format"] = FORMAT
        shards = [(entry.number, entry.bytes, entry.modified_ns) for entry in index.shards]
        file["shards"] = np.asarray(shards, np.int64).reshape(-1, 3)
        names = np.array([name.encode() for name, _, _ in index.versions], object)
        file.create_dataset("image_names", data=names, shape=(len(names),), dtype=h5py.string_dtype("utf-8"))
        file["image_sha256"] = np.array([digest.encode("ascii") for digest in index.digests], "S64")
        file["image_facts"] = np.asarray([facts for _, *facts in index.versions], np.int64).reshape(-1, 2)
        packed = {"chunks": (_CHUNK,), "maxshape": (None,), "compression": "gzip", "shuffle": True}
        columns = {name: file.create_dataset(name, (index.pairs,), np.int32, **packed) for name in _COLUMNS}
        for start, rows in zip(itertools.count(0, _CHUNK), _chunks(index.rows)):
            for name, column in columns.items():
                column.id.write_direct_chunk((start,), _packed(getattr(rows, name)))

    write_hdf5(path, build_hdf5(fill))


def read_match_index(path: Path) -> MatchIndex | None:
    """Reads an index file; None where it is missing, damaged or of another version."""
    try:
        with open_hdf5(path) as file:
            if file.attrs.get("format") != FORMAT:
                return None
            names = file["image_names"].asstr()[()].tolist()
            facts = file["image_facts"][()].tolist()
            count = len(file["row"])
            parts = [
                IndexRows(*(file[name][start : start + _CHUNK] for name in _COLUMNS))
                for start in range(0, count, _CHUNK)
            ]
            index = MatchIndex(
                shards=[ShardStamp(*(int(value) for value in entry)) for entry in file["shards"][()]],
                versions=[(str(name), size, modified) for name, (size, modified) in zip(names, facts, strict=True)],
                digests=[digest.decode("ascii") for digest in file["image_sha256"][()].tolist()],
                pairs=count,
                rows=parts,
            )
            if not all(_is_possible(rows, len(names)) for rows in parts):
                return None
    except (ResultFileError, *READ_ERRORS):
        return None
    return index


def _chunks(parts: Iterable[IndexRows]) -> Iterator[IndexRows]:
    """The pairs, a chunk at a time; the last may be shorter."""
    waiting: list[IndexRows] = []
    count = 0
    for part in parts:
        waiting.append(part)
        count += len(part.row)
        while count >= _CHUNK:
            joined = _joined(waiting)
            yield joined.where(slice(_CHUNK))
            waiting = [joined.where(slice(_CHUNK, None))]
            count -= _CHUNK
    if count:
        yield _joined(waiting)


def _joined(parts: list[IndexRows]) -> IndexRows:
    return IndexRows(*(np.concatenate([getattr(rows, name) for rows in parts]) for name in _COLUMNS))


def _packed(column: NDArray[np.int32]) -> bytes:
    """A chunk as HDF5's filters `shuffle` and `gzip` make it: those of the library keep dozens of MB for reuse."""
    padded = np.pad(column.astype("<i4"), (0, _CHUNK - len(column)))
    return zlib.compress(padded.view(np.uint8).reshape(-1, 4).T.tobytes(), 1)


def _is_possible(rows: IndexRows, images: int) -> bool:
    within = ((rows.image_a, images), (rows.image_b, images), (rows.row, SHARD_ROWS), (rows.shard, 1 << 31))
    return all(((column >= 0) & (column < limit)).all() for column, limit in within)
