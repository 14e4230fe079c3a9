"""The photographs of result files: where they are now, and their pixels.

A result file remembers where a photograph was. Data sets are moved, and files written in a container name its folders,
so a missing photograph is looked for below the image root: in a folder of the same name, then by its file name, then by
its image key.
"""

import unicodedata
from collections import OrderedDict
from functools import cached_property
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from engine.dataset import DataSet, ImageEntry, scan
from engine.errors import DataSetError, KeyNotFoundError, UsageError
from engine.imaging import read_image
from engine.naming import walk_files

_KEPT = 4
"""Decoded photographs kept: pairs come sorted by a, so that a's is used again and again."""


class Photographs:
    """Finds and reads photographs; the last few stay in memory."""

    def __init__(self, image_root: Path) -> None:
        self.image_root = image_root
        self._kept: OrderedDict[Path, NDArray[np.uint8]] = OrderedDict()

    def find(self, recorded: str, key: str) -> Path:
        """The photograph's file.

        Args:
            recorded: its path when it was matched, in the notation of whichever system that was.
            key: its image key.

        Raises:
            DataSetError: it is in none of the places; the message names them.
        """
        path = Path(recorded)
        if path.is_file():
            return path
        name = _pure(recorded)
        beside = self.image_root / name.parent.name / name.name
        if name.parent.name and beside.is_file():
            return beside
        candidates = self._by_name.get(_composed(name.name), [])
        if len(candidates) > 1:
            listed = ", ".join(str(candidate) for candidate in candidates[:4])
            raise DataSetError(
                f"the photograph {recorded} is gone, and several files below {self.image_root} have its name: "
                f"{listed}. "
                "Move it back, or point IMG_ROOT at the data set it belongs to"
            )
        return candidates[0] if candidates else self._by_key(recorded, key)

    def read(self, path: Path) -> NDArray[np.uint8]:
        """[H, W, 3] uint8 RGB; not to be written to.

        Raises:
            ImageReadError: it cannot be read.
        """
        if path not in self._kept:
            self._kept[path] = read_image(path)
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(path)
        return self._kept[path]

    def locate(self, recorded: str, key: str) -> tuple[Path, tuple[int, int]]:
        """The photograph's file and its size (width, height) in pixels. Errors as `find` and `read`."""
        path = self.find(recorded, key)
        height, width = self.read(path).shape[:2]
        return path, (width, height)

    def _by_key(self, recorded: str, key: str) -> Path:
        where = f"the photograph {recorded} ({key}) is gone, and "
        if not self.image_root.is_dir():
            raise DataSetError(
                f"{where}the image folder {self.image_root} does not exist. "
                "Set IMG_ROOT to the folder that holds the photographs"
            )
        found: tuple[ImageEntry, ...] = ()
        if self._data_set is not None:
            try:
                found = self._data_set.find(key)
            except (KeyNotFoundError, UsageError) as error:
                raise DataSetError(f"{where}{error}. Set IMG_ROOT to the folder that holds it") from error
        if len(found) != 1:
            raise DataSetError(f"{where}nothing below {self.image_root} fits. Set IMG_ROOT to the folder that holds it")
        return found[0].path

    @cached_property
    def _by_name(self) -> dict[str, list[Path]]:
        names: dict[str, list[Path]] = {}
        if self.image_root.is_dir():
            for path in walk_files(self.image_root):
                names.setdefault(_composed(path.name), []).append(path)
        return names

    @cached_property
    def _data_set(self) -> DataSet | None:
        try:
            return scan(self.image_root)
        except DataSetError:
            return None


def _pure(recorded: str) -> PurePath:
    return PureWindowsPath(recorded) if "\\" in recorded else PurePosixPath(recorded)


def _composed(name: str) -> str:
    """A file name with its letters composed: the same name may be stored decomposed on another system."""
    return unicodedata.normalize("NFC", name)
