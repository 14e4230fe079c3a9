"""One shard of feature maps: an HDF5 file that hloc reads as it is.

A group per image, named by the image, with nothing nested in it and no texts among its data sets:

| data set | shape and type | holds |
| --- | --- | --- |
| `keypoints` | (N, 2) float32 | centre (x, y) of each token in original pixels, first pixel at (0, 0) |
| `descriptors` | (D, N) float16 | tokens, L2-normalised |
| `scores` | (N,) float32 | L2 norm of each token before normalisation |
| `image_size` | (2,) int64 | width, height of the stored file |
| `global_descriptor` | (D,) float32 | class token, L2-normalised |

Attributes of a group: `key`, `grid` (rows, cols), `encoded_size` (width, height), `file_bytes`, `file_modified_ns`,
`file_sha256` (empty where it was not computed).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from engine.features import FeatureMap
from engine.store.facts import FileFacts
from engine.store.hdf5 import READ_ERRORS, build_hdf5, damaged, open_hdf5

FORMAT = "dinov3-match features 1"


@dataclass(frozen=True, eq=False)
class StoredFeatures:
    """A feature map to be stored: the image's name in the store, what its file was, and the map."""

    name: str
    facts: FileFacts
    features: FeatureMap

    @property
    def bytes(self) -> int:
        """About what it takes on disk."""
        features = self.features
        return features.descriptors.nbytes + features.norms.nbytes * 3 + features.global_descriptor.nbytes + 4096


def feature_shard_image(maps: Iterable[StoredFeatures], identity: str) -> bytes:
    """The bytes of a shard of these maps. `identity` says how they were made."""

    def fill(file: h5py.File) -> None:
        file.attrs["format"] = FORMAT
        file.attrs["identity"] = identity
        for entry in maps:
            _fill_group(file.create_group(entry.name), entry)

    return build_hdf5(fill)


def _fill_group(group: Any, entry: StoredFeatures) -> None:
    features, facts = entry.features, entry.facts
    group["keypoints"] = features.points_px.astype(np.float32)
    group["descriptors"] = np.ascontiguousarray(features.descriptors.T)
    group["scores"] = features.norms
    group["image_size"] = np.asarray(features.image_size, np.int64)
    group["global_descriptor"] = features.global_descriptor
    group.attrs.create("key", features.key.encode("utf-8", "surrogateescape"), dtype=h5py.string_dtype("utf-8"))
    group.attrs["grid"] = np.asarray(features.grid, np.int64)
    group.attrs["encoded_size"] = np.asarray(features.encoded_size, np.int64)
    group.attrs["file_bytes"] = np.int64(facts.bytes)
    group.attrs["file_modified_ns"] = np.int64(facts.modified_ns)
    group.attrs["file_sha256"] = facts.sha256


class FeatureShardReader:
    """An open shard, checked as a whole when opened."""

    def __init__(self, path: Path, identity: str) -> None:
        """Opens a shard.

        Raises:
            ResultFileError: cut, altered, of another format, or made under another identity.
        """
        self._path = path
        self._file = open_hdf5(path)
        try:
            if self._file.attrs.get("format") != FORMAT:
                raise damaged(path, "its format is not that of feature maps of this program version")
            if self._file.attrs.get("identity") != identity:
                raise damaged(path, "its maps were made by another graph, preprocessing or view than its folder's")
        except BaseException:
            self._file.close()
            raise

    def close(self) -> None:
        self._file.close()

    def images(self) -> Iterator[tuple[str, FileFacts]]:
        """Names and file facts of the images in it.

        Raises:
            ResultFileError: an image's attributes are missing.
        """
        names: list[str] = []

        def visit(name: str, found: object) -> None:
            if isinstance(found, h5py.Group) and "keypoints" in found:
                names.append(name)

        self._file.visititems(visit)
        for name in names:
            yield name, self.facts(name)

    def has(self, name: str) -> bool:
        """Whether an image of this name is in it."""
        return name in self._file and isinstance(self._file[name], h5py.Group)

    def facts(self, name: str) -> FileFacts:
        """What an image's file was.

        Raises:
            ResultFileError: there is no such image, or its attributes are wrong.
        """
        try:
            attributes = self._file[name].attrs
            size, modified = int(attributes["file_bytes"]), int(attributes["file_modified_ns"])
            return FileFacts(size, modified, str(attributes["file_sha256"]))
        except READ_ERRORS as error:
            raise damaged(self._path, f"image '{name}': {error}") from error

    def read(self, name: str) -> FeatureMap:
        """The feature map of an image, to the bit as it was stored.

        Raises:
            ResultFileError: there is no such image, or its arrays do not fit each other.
        """
        try:
            group = self._file[name]
            attributes = group.attrs
            rows, cols = (int(value) for value in attributes["grid"])
            width, height = (int(value) for value in group["image_size"][()])
            encoded_width, encoded_height = (int(value) for value in attributes["encoded_size"])
            return FeatureMap(
                key=str(attributes["key"]),
                descriptors=np.ascontiguousarray(group["descriptors"][()].T),
                norms=group["scores"][()],
                token_index=np.arange(rows * cols, dtype=np.int32),
                global_descriptor=group["global_descriptor"][()],
                grid=(rows, cols),
                image_size=(width, height),
                encoded_size=(encoded_width, encoded_height),
            )
        except READ_ERRORS as error:
            raise damaged(self._path, f"image '{name}': {error}") from error
