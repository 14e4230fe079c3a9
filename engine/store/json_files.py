"""What the JSON files of a match store's pairs were when they were written, so that a later run need not read them.

`json.h5` beside the store's shards holds size, time and inode of each file and what it was made from. A file that has
another of the three was replaced, cut or edited since, and is read. Like the store's index, this only saves time.
"""

import os
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from engine.errors import ResultFileError
from engine.store.facts import FileFacts
from engine.store.hdf5 import READ_ERRORS, build_hdf5, open_hdf5, write_hdf5
from engine.store.result_json import ExistingResult, existing_digest

NAME = "json.h5"
FORMAT = "dinov3-match json files 1"
AT_MOST = 20_000
"""Files remembered: twice what a run writes by default. Any beyond are read."""


class FileStamp(NamedTuple):
    """By what a file is known to be the one that was written: writing anew gives another inode, editing another time.

    Attributes:
        bytes: its size.
        modified_ns: its modification time in nanoseconds since the epoch.
        inode: its number in the file system.
    """

    bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, facts: os.stat_result) -> "FileStamp":
        """The stamp in a file's facts."""
        return cls(facts.st_size, facts.st_mtime_ns, facts.st_ino)


class JsonFiles:
    """The JSON files of pairs that were matched with the same settings."""

    def __init__(self, folder: Path, settings_digest: str) -> None:
        """Reads what is known.

        Args:
            folder: of the match store.
            settings_digest: of its pairs.
        """
        self._path = folder / NAME
        self._digest = settings_digest
        self._known = _read(self._path, settings_digest)
        self._changed = False

    def existing(self, path: Path) -> ExistingResult | None:
        """What a JSON file was made from, as `existing_digest` gives it; read only where it is not known."""
        try:
            stamp = FileStamp.of(path.stat())
        except OSError:
            return None
        known = self._known.get(_key(path))
        if known is not None and known[0] == stamp:
            return known[1]
        existing = existing_digest(path)
        if existing is not None:
            self.add(path, stamp, existing)
        return existing

    def add(self, path: Path, stamp: FileStamp, existing: ExistingResult) -> None:
        """Remembers a file; one of other settings is not looked for again, and not kept."""
        key = _key(path)
        if existing.settings_digest == self._digest and (key in self._known or len(self._known) < AT_MOST):
            self._known[key] = (stamp, existing)
            self._changed = True

    def save(self) -> None:
        """Writes what is known, where that has changed.

        Raises:
            WriteError: it cannot be written.
        """
        if self._changed:
            write_hdf5(self._path, build_hdf5(self._fill))
            self._changed = False

    def _fill(self, file: h5py.File) -> None:
        file.attrs["format"] = FORMAT
        file.attrs["settings_digest"] = self._digest
        rows: dict[FileFacts, int] = {}
        sides = [
            [rows.setdefault(facts, len(rows)) for facts in (existing.image_a, existing.image_b)]
            for _, existing in self._known.values()
        ]
        file["image_facts"] = np.asarray([(facts.bytes, facts.modified_ns) for facts in rows], np.int64).reshape(-1, 2)
        file["image_sha256"] = np.array([facts.sha256.encode("ascii") for facts in rows], "S64")
        file["images"] = np.asarray(sides, np.int32).reshape(-1, 2)
        names = np.array([key.encode("utf-8") for key in self._known], object)
        file.create_dataset("names", data=names, shape=(len(names),), dtype=h5py.string_dtype("utf-8"))
        file["size_and_time"] = np.asarray([stamp[:2] for stamp, _ in self._known.values()], np.int64).reshape(-1, 2)
        file["inode"] = np.asarray([stamp.inode for stamp, _ in self._known.values()], np.uint64)
        probabilities = [existing.probability for _, existing in self._known.values()]
        file["probability"] = np.asarray([np.nan if value is None else value for value in probabilities], np.float64)


def _key(path: Path) -> str:
    """A file's folder and name, which tell it from all others of its root."""
    return f"{path.parent.name}/{path.name}"


def _read(path: Path, settings_digest: str) -> dict[str, tuple[FileStamp, ExistingResult]]:
    """What a file says; nothing where it is missing, damaged, of other settings or of another version."""
    try:
        with open_hdf5(path) as file:
            if file.attrs["format"] != FORMAT or file.attrs["settings_digest"] != settings_digest:
                return {}
            images = [
                FileFacts(size, modified, digest.decode("ascii"))
                for (size, modified), digest in zip(
                    file["image_facts"][()].tolist(), file["image_sha256"][()].tolist(), strict=True
                )
            ]
            columns = (file[name][()].tolist() for name in ("size_and_time", "inode", "images", "probability"))
            return {
                name: (
                    FileStamp(size, modified, inode),
                    ExistingResult(settings_digest, images[a], images[b], None if value != value else value),
                )
                for name, (size, modified), inode, (a, b), value in zip(
                    file["names"].asstr()[()].tolist(), *columns, strict=True
                )
            }
    except (ResultFileError, *READ_ERRORS):
        return {}
