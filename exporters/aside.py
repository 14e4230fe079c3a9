"""A folder aside for files in the making, and their move to the final names in one step.

Files appear under their final names only when whole. What a killed export leaves is a folder `<name>.*.partial`; the
next export of the same graph removes it. A lock that ends with its process tells it from one still in use.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from models.errors import WorkError

try:
    import fcntl
except ImportError:  # Windows, which refuses to remove open files: the lock file's being open is the lock
    fcntl = None  # type: ignore[assignment]

_LOCK = "lock"


@contextlib.contextmanager
def folder_aside(final: Path) -> Iterator[Path]:
    """A fresh folder beside `final` for the time of the block. Abandoned ones of the same name are removed first.

    Raises:
        WorkError: the folder of `final` cannot be made or written to.
    """
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        folder, lock = _locked_folder(final)
    except OSError as error:
        raise WorkError(
            f"the graph folder {final.parent} cannot be written to: {error.strerror or error}; set GRAPH_ROOT to "
            "a folder of your own"
        ) from error
    try:
        _remove_abandoned(final, but=folder)
        yield folder
    finally:
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def publish(made: Path, final: Path) -> None:
    """Moves a finished file to its final name and makes the move last."""
    os.replace(made, final)
    if hasattr(os, "O_DIRECTORY"):
        descriptor = os.open(final.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _locked_folder(final: Path) -> tuple[Path, BinaryIO]:
    """A new folder and its open, locked lock file. Another export may take it for abandoned before it is locked."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f"{final.name}.", suffix=".partial", dir=final.parent))
        try:
            lock = (folder / _LOCK).open("wb")
        except FileNotFoundError:
            continue
        try:
            if _lock(lock):
                return folder, lock
        except OSError:  # a file system without locks, on which no folder is ever taken for abandoned
            return folder, lock
        lock.close()


def _remove_abandoned(final: Path, but: Path) -> None:
    for leftover in final.parent.glob("*.partial"):
        if leftover != but and leftover.name.startswith(f"{final.name}.") and _abandoned(leftover):
            shutil.rmtree(leftover, ignore_errors=True)


def _abandoned(folder: Path) -> bool:
    try:
        if fcntl is None:
            (folder / _LOCK).unlink()
            return True
        with (folder / _LOCK).open("r+b") as lock:
            return _lock(lock)
    except FileNotFoundError:
        return True
    except OSError:
        return False


def _lock(lock: BinaryIO) -> bool:
    """Whether the lock was free; it is taken then, until the file is closed or the process ends."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
