"""HDF5 files that are whole or refused.

A file is built in memory, written with a checksum behind its last byte (HDF5 readers ignore what follows their data),
read back, and renamed. Reading checks the checksum first, so that a cut or altered file is an error of ours and never
reaches the HDF5 library, which may crash on one.
"""

import re
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py

from engine.errors import ResultFileError
from engine.store.atomic import WriteError, write_aside

_TRAILER = "\ndinov3-match crc32={:08x} bytes={:016d}\n"
_TRAILER_PATTERN = re.compile(rb"\ndinov3-match crc32=([0-9a-f]{8}) bytes=(\d{16})\n")
_TRAILER_BYTES = len(_TRAILER.format(0, 0))
_CHUNK_BYTES = 1 << 20
_METADATA_BYTES = 1 << 19
"""Metadata that the library keeps of an open file: by default up to 32 MB, which a few shards of feature maps fill."""

READ_ERRORS = (OSError, KeyError, ValueError, TypeError, RuntimeError, IndexError, OverflowError)
"""What h5py raises on content that is not as expected."""


def build_hdf5(fill: Callable[[h5py.File], None]) -> bytes:
    """The bytes of an HDF5 file that `fill` writes into; the same content gives the same bytes."""
    with h5py.File("image", "w", driver="core", backing_store=False, block_size=_CHUNK_BYTES) as file:
        fill(file)
        file.flush()
        return bytes(file.id.get_file_image())


def write_hdf5(path: Path, image: bytes, *, replace: bool = True) -> None:
    """Writes the bytes of an HDF5 file and its checksum, and checks the file by reading it before it gets its name.

    Raises:
        WriteError: it cannot be written, or reads back differently.
        FileExistsError: `replace` is false and the name is taken.
    """
    with write_aside(path, replace=replace) as partial:
        with partial.open("wb") as file:
            file.write(image)
            file.write(_TRAILER.format(zlib.crc32(image), len(image)).encode())
        try:
            open_hdf5(partial).close()
        except ResultFileError as error:
            raise WriteError(
                f"cannot write {path}: it reads back differently. Check the disk, then run again"
            ) from error


def open_hdf5(path: Path) -> Any:
    """Opens a file written by `write_hdf5` for reading, as an `h5py.File`, after checking every byte of it.

    Raises:
        ResultFileError: missing, cut, altered, or not written by this program.
    """
    check_hdf5(path)
    try:
        file = h5py.File(path, "r", locking=False)
        limits = file.id.get_mdc_config()
        limits.set_initial_size = True
        limits.initial_size = limits.min_size = _METADATA_BYTES // 2
        limits.max_size = _METADATA_BYTES
        file.id.set_mdc_config(limits)
    except READ_ERRORS as error:
        raise damaged(path, str(error)) from error
    return file


def check_hdf5(path: Path) -> None:
    """Raises ResultFileError unless the file is, to the byte, what `write_hdf5` wrote."""
    try:
        with path.open("rb") as file:
            length = path.stat().st_size - _TRAILER_BYTES
            checksum, left = 0, max(length, 0)
            while left > 0:
                chunk = file.read(min(left, _CHUNK_BYTES))
                if not chunk:
                    break
                checksum, left = zlib.crc32(chunk, checksum), left - len(chunk)
            found = _TRAILER_PATTERN.fullmatch(file.read(_TRAILER_BYTES + 1))
    except OSError as error:
        raise ResultFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    if found is None or int(found[2]) != length:
        raise damaged(path, "it is cut off or not of this program")
    if int(found[1], 16) != checksum:
        raise damaged(path, "its checksum does not fit its content")


def damaged(path: Path, reason: str) -> ResultFileError:
    """The error for a file whose content cannot be used."""
    return ResultFileError(f"{path}: damaged: {reason}. Delete it; what it held is computed again when needed")
