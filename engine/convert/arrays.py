"""NumPy arrays (`np.load`): all pairs packed, and the feature maps where they are stored.

| file | shape and type | holds |
| --- | --- | --- |
| `images.txt` | I lines | names of the images |
| `image_sizes.npy`, `grids.npy` | (I, 2) int32 | width, height in pixels; rows, cols of tokens upright |
| `pairs.npy` | (P, 2) int32 | rows of `images.txt` |
| `offsets.npy` | (P + 1,) int64 | matches of pair p are rows offsets[p] to offsets[p + 1] |
| `cosines.npy` | (P,) float64 | cosine of the global descriptors |
| `matrices.npy` | (P, 3, 3) float64 | the verified model from original pixels of a to b; NaN where there is none |
| `tokens.npy` | (M, 2) int32 | token index in a and in b, best match first within a pair |
| `points_a_px.npy`, `points_b_px.npy` | (M, 2) float64 | (x, y), the first pixel's centre at (0, 0) |
| `similarities.npy` | (M,) float32 | cosine similarity |
| `inliers.npy` | (M,) bool | whether the filter kept the match |
| `global_descriptors.npy` | (I, D) float32 | only with stored feature maps |
| `descriptors/<row of images.txt>.npy` | (N, D) float16 | likewise |
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from engine.convert.source import Source, StoredPair
from engine.store.atomic import WriteError, write_aside, write_error, write_text

IMAGES = "images.txt"


@dataclass(frozen=True)
class _Column:
    """An array with a row per match: type, shape of a row, and its rows for a pair."""

    dtype: type[np.generic]
    row: tuple[int, ...]
    take: Callable[[StoredPair], NDArray[Any]]


_OF_MATCHES = {
    "tokens": _Column(np.int32, (2,), lambda pair: np.stack([pair.result.token_a, pair.result.token_b], axis=1)),
    "points_a_px": _Column(np.float64, (2,), lambda pair: pair.result.points_a_px),
    "points_b_px": _Column(np.float64, (2,), lambda pair: pair.result.points_b_px),
    "similarities": _Column(np.float32, (), lambda pair: pair.result.similarity),
    "inliers": _Column(np.bool_, (), lambda pair: pair.result.verification.inliers),
}
_OTHERS = ("image_sizes", "grids", "pairs", "offsets", "cosines", "matrices", "global_descriptors")
FILES = (IMAGES, *(f"{name}.npy" for name in (*_OF_MATCHES, *_OTHERS)), "descriptors")


def convert_to_npy(source: Source, out: Path) -> list[str]:
    """Writes the arrays; `images.txt` last, so that it stands for a finished conversion.

    Returns:
        A line where feature maps were left out.

    Raises:
        WorkError: a shard is damaged, or a file cannot be written.
    """
    rows = {name: row for row, name in enumerate(source.images)}
    pairs, counts, cosines, matrices = [], [], [], []
    with contextlib.ExitStack() as stack:
        add = [stack.enter_context(_growing(out / f"{name}.npy", column)) for name, column in _OF_MATCHES.items()]
        for pair in source.pairs():
            for add_rows in add:
                add_rows(pair)
            found = pair.result.verification
            pairs.append((rows[pair.name_a], rows[pair.name_b]))
            counts.append(len(pair.keypoint_a))
            cosines.append(pair.result.cosine)
            matrices.append(np.full((3, 3), np.nan) if found.matrix is None else found.matrix)
    images = source.images.values()
    _save(out / "image_sizes.npy", np.asarray([image.size for image in images], np.int32).reshape(-1, 2))
    _save(out / "grids.npy", np.asarray([source.grid(name) for name in source.images], np.int32).reshape(-1, 2))
    _save(out / "pairs.npy", np.asarray(pairs, np.int32).reshape(-1, 2))
    _save(out / "offsets.npy", np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))
    _save(out / "cosines.npy", np.asarray(cosines, np.float64))
    _save(out / "matrices.npy", np.asarray(matrices, np.float64).reshape(-1, 3, 3))
    with_features = source.has_features()
    if with_features:
        _save_features(source, out)
    _remove_older(out, len(source.images) if with_features else 0)
    write_text(out / IMAGES, "".join(f"{name}\n" for name in source.images))
    return [] if with_features else [f"no descriptors: not every feature map is stored in {source.feature_folder}"]


@contextlib.contextmanager
def _growing(path: Path, column: _Column) -> Iterator[Callable[[StoredPair], None]]:
    """An array that is written while its length is unknown; NumPy leaves room for the length in its header."""

    def write_header(stream: IO[bytes], count: int) -> int:
        stream.seek(0)
        described = {"descr": np.dtype(column.dtype).str, "fortran_order": False, "shape": (count, *column.row)}
        np.lib.format.write_array_header_1_0(stream, described)
        return stream.tell()

    with write_aside(path) as partial, partial.open("r+b") as stream:
        header_bytes, count = write_header(stream, 0), 0

        def add(pair: StoredPair) -> None:
            nonlocal count
            rows = np.ascontiguousarray(column.take(pair), column.dtype)
            stream.write(rows.tobytes())
            count += len(rows)

        yield add
        if write_header(stream, count) != header_bytes:
            raise WriteError(f"cannot write {path}: this NumPy leaves no room for the length in a header. Update NumPy")


def _save_features(source: Source, out: Path) -> None:
    global_descriptors = []
    for row, name in enumerate(source.images):
        features = source.features(name)
        _save(out / "descriptors" / f"{row:05d}.npy", features.descriptors)
        global_descriptors.append(features.global_descriptor)
    _save(out / "global_descriptors.npy", np.stack(global_descriptors))


def _save(path: Path, array: NDArray[Any]) -> None:
    with write_aside(path) as partial, partial.open("r+b") as stream:
        np.save(stream, array, allow_pickle=False)


def _remove_older(out: Path, count: int) -> None:
    """Removes descriptors of an earlier conversion into this folder that has `count` images now."""
    older = [path for path in (out / "descriptors").glob("*.npy") if path.stem.isdigit() and int(path.stem) >= count]
    try:
        for path in older if count else [*older, out / "global_descriptors.npy"]:
            path.unlink(missing_ok=True)
    except OSError as error:
        raise write_error(out, error) from error
