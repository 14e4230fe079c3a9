"""Numbered immutable files of a store: `<prefix>-00000.h5` and so on, each complete under its name.

Several processes may add shards to one folder: a number that another has taken is skipped.
"""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from engine.errors import ResultFileError
from engine.store.atomic import remove_stale_partials, write_error
from engine.store.hdf5 import write_hdf5


@dataclass(frozen=True, order=True)
class Shard:
    """A shard as it lies on disk. Size and time tell whether an index still describes it."""

    number: int
    path: Path
    bytes: int
    modified_ns: int


def list_shards(folder: Path, prefix: str) -> list[Shard]:
    """The shards of a folder by number; none where the folder is missing.

    Raises:
        ResultFileError: the folder cannot be read.
    """
    pattern = re.compile(rf"{re.escape(prefix)}-(\d{{5,9}})\.h5")
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                match = pattern.fullmatch(entry.name)
                if match is None:
                    continue
                with contextlib.suppress(FileNotFoundError):  # deleted since the folder was read
                    facts = Path(entry.path).stat()
                    found.append(Shard(int(match[1]), folder / entry.name, facts.st_size, facts.st_mtime_ns))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ResultFileError(f"{folder}: cannot be read: {error.strerror or error}. Check the folder") from error
    return sorted(found)


def add_shard(folder: Path, prefix: str, image: bytes, above: int) -> Shard:
    """Writes an HDF5 image under the first free number greater than `above`.

    Raises:
        WriteError: it cannot be written.
    """
    remove_stale_partials(folder)
    number = above
    while True:
        number += 1
        path = folder / f"{prefix}-{number:05d}.h5"
        try:
            write_hdf5(path, image, replace=False)
        except FileExistsError:
            continue
        try:
            facts = path.stat()
        except OSError as error:
            raise write_error(path, error) from error
        return Shard(number, path, facts.st_size, facts.st_mtime_ns)
