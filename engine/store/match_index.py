"""The index file of a match store: which shard and row holds each pair's latest result. It can always be made anew."""

from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from engine.errors import ResultFileError
from engine.store.hdf5 import READ_ERRORS, build_hdf5, open_hdf5, write_hdf5

FORMAT = "dinov3-match match index 1"


@dataclass(frozen=True)
class ShardStamp:
    """A shard as the index knew it: number, size in bytes, modification time."""

    number: int
    bytes: int
    modified_ns: int


@dataclass(frozen=True, eq=False)
class MatchIndex:
    """What an index file holds.

    Attributes:
        shards: the shards it describes.
        versions: (name, bytes, modified_ns) of each image.
        image_a, image_b: [P] int32; rows of `versions`.
        shard, row: [P] int32; number of the shard, and the pair's row in it.
    """

    shards: list[ShardStamp]
    versions: list[tuple[str, int, int]]
    image_a: NDArray[np.int32]
    image_b: NDArray[np.int32]
    shard: NDArray[np.int32]
    row: NDArray[np.int32]


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
        file["image_facts"] = np.asarray([facts for _, *facts in index.versions], np.int64).reshape(-1, 2)
        for name in ("image_a", "image_b", "shard", "row"):
            file[name] = getattr(index, name)

    write_hdf5(path, build_hdf5(fill))


def read_match_index(path: Path) -> MatchIndex | None:
    """Reads an index file; None where it is missing, damaged or of another version."""
    try:
        with open_hdf5(path) as file:
            if file.attrs.get("format") != FORMAT:
                return None
            names = file["image_names"].asstr()[()].tolist()
            facts = file["image_facts"][()].tolist()
            index = MatchIndex(
                shards=[ShardStamp(*(int(value) for value in entry)) for entry in file["shards"][()]],
                versions=[(str(name), size, modified) for name, (size, modified) in zip(names, facts, strict=True)],
                image_a=file["image_a"][()],
                image_b=file["image_b"][()],
                shard=file["shard"][()],
                row=file["row"][()],
            )
    except (ResultFileError, *READ_ERRORS):
        return None
    return index
