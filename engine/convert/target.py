"""Output files of converters: larger than memory, and complete or absent."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import h5py

from engine.errors import Dinov3MatchError, UsageError
from engine.store.atomic import WriteError, write_aside, write_error

_HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError)
_CACHE_BYTES = 1 << 20


def check_target(out: Path, files: tuple[str, ...], overwrite: bool) -> None:
    """Refuses to replace files that are there, unless told to.

    Raises:
        UsageError: a file has one of the names, or `out` is no folder.
        WriteError: the folder is out of reach.
    """
    try:
        blocked = out.exists() and not out.is_dir()
        taken = [name for name in files if (out / name).exists()]
    except OSError as error:
        raise write_error(out, error) from error
    if blocked:
        raise UsageError(f"--out {out} is a file: give a folder")
    if taken and not overwrite:
        raise UsageError(f"{out} already holds {', '.join(taken)}: give another --out, or --overwrite to replace them")


@contextlib.contextmanager
def hdf5_aside(path: Path) -> Iterator[h5py.File]:
    """An HDF5 file to fill; it becomes `path` when the block ends well and it can be opened again.

    Raises:
        WriteError: it cannot be written.
    """
    with write_aside(path) as partial:
        # Through a Python file: a full disk then is an exception where it happens, not a failure inside the library.
        with partial.open("r+b", buffering=_CACHE_BYTES) as stream:
            try:
                with h5py.File(stream, "w") as file:
                    yield file
                stream.flush()
            except Dinov3MatchError:
                raise
            except _HDF5_ERRORS as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise
                raise WriteError(f"cannot write {path}: {error}. Check the disk, then run again") from error
        try:
            h5py.File(partial, "r", locking=False).close()
        except OSError as error:
            raise WriteError(
                f"cannot write {path}: it reads back differently. Check the disk, then run again"
            ) from error


@contextlib.contextmanager
def sqlite_aside(path: Path) -> Iterator[sqlite3.Connection]:
    """A SQLite database to fill; it becomes `path` when the block ends well and its pages pass SQLite's check.

    Raises:
        WriteError: it cannot be written.
    """
    with write_aside(path) as partial:
        # Nobody else knows the file: SQLite's own locks and journal would only cost, or fail on network folders.
        connection = sqlite3.connect(f"{partial.absolute().as_uri()}?nolock=1", uri=True, isolation_level=None)
        try:
            connection.execute("PRAGMA journal_mode = OFF")
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")
            found = connection.execute("PRAGMA quick_check").fetchone()[0]
            if found != "ok":
                raise WriteError(f"cannot write {path}: it reads back differently ({found}). Check the disk")
        except sqlite3.Error as error:
            raise WriteError(f"cannot write {path}: {error}. Check the disk and its space, then run again") from error
        finally:
            connection.close()
