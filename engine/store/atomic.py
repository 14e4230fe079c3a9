"""Files that are complete or absent: written aside in the same folder, flushed, synced, then renamed.

A file being written is called `.<name>.partial-<pid>-<random>`. Its writer holds a lock on it (`flock`), so that what a
killed process left behind can be told from what another one is writing now, in another container too, where process
numbers say nothing. Leftovers are removed when a folder is first written to.
"""

import contextlib
import errno
import os
import re
import secrets
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from engine.errors import Dinov3MatchError, WorkError
from engine.events import emit

if sys.platform != "win32":
    import fcntl

_PARTIAL = re.compile(r"^\..*\.partial-(\d+)-[0-9a-f]{8}$", re.DOTALL)
_LONGEST_NAME_BYTES = 255
_LOCKLESS_STALE_S = 3600.0
_DISK_FULL = {errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC)}
_NO_HARD_LINKS = {errno.EPERM, errno.ENOSYS, errno.EMLINK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}

_cleaned: set[Path] = set()


class WriteError(WorkError):
    """A file or folder cannot be written. `errno` is the system's error number, or None."""

    def __init__(self, message: str, number: int | None = None) -> None:
        super().__init__(message)
        self.errno = number


@contextlib.contextmanager
def write_aside(path: Path, *, replace: bool = True, sync: bool = True) -> Iterator[Path]:
    """Yields the path of an empty file beside `path`; what is written to it becomes `path` when the block ends well.

    When the block raises, the file aside is removed and an existing `path` stays as it was. The parent folder is made.

    Args:
        path: the final name.
        replace: whether an existing file is replaced; otherwise it makes this raise FileExistsError.
        sync: whether the file is on the disk when this returns, and not only in the system's memory.

    Raises:
        WriteError: any OSError on the way, with the path, the reason and what to do.
        FileExistsError: `replace` is false and the name is taken.
    """
    make_folder(path.parent)
    if path.parent not in _cleaned:
        remove_stale_partials(path.parent)
        _cleaned.add(path.parent)
    partial: Path | None = None
    descriptor = -1
    try:
        partial, descriptor = _create_partial(path)
        yield partial
        if sync:
            _sync_file(partial)
        if sys.platform == "win32":
            os.close(descriptor)
            descriptor = -1
        _publish(partial, path, replace)
        if sync:
            _sync_folder(path.parent)
        emit("file_written", path=path)
    except Dinov3MatchError:
        raise
    except OSError as error:
        if isinstance(error, FileExistsError) and not replace:
            raise
        raise write_error(path, error) from error
    finally:
        if descriptor >= 0:
            os.close(descriptor)
        if partial is not None:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes, *, replace: bool = True, sync: bool = True) -> os.stat_result:
    """Writes a whole file, as `write_aside` does; returns what the file is, whoever replaces it the moment after."""
    with write_aside(path, replace=replace, sync=sync) as partial:
        partial.write_bytes(data)
        return partial.stat()


def write_text(path: Path, text: str, *, sync: bool = True) -> os.stat_result:
    """Writes a whole UTF-8 file with line feeds as they are, as `write_bytes` does."""
    return write_bytes(path, text.encode("utf-8"), sync=sync)


def make_folder(folder: Path) -> None:
    """Makes a folder and those above it, and syncs the ones that gained an entry.

    Raises:
        WriteError: it cannot be made, for example because a file has its name.
    """
    missing = []
    try:
        at = folder
        while not at.is_dir():
            missing.append(at)
            if at.parent == at:
                break
            at = at.parent
        for made in reversed(missing):
            made.mkdir(exist_ok=True)
            _sync_folder(made.parent)
    except OSError as error:
        raise write_error(folder, error) from error


def write_error(path: Path, error: OSError) -> WriteError:
    """The error to show for a failed write: what happened, to which file, and what to do next."""
    number = error.errno
    blocking = _file_in_place_of_folder(path) if number in (errno.ENOTDIR, errno.EEXIST) else None
    if number in _DISK_FULL:
        reason = "the disk is full. Free some space and run again; files already written are complete"
    elif number == errno.EROFS:
        reason = "its file system is read-only. Mount it writable, or choose another output folder"
    elif number in (errno.EACCES, errno.EPERM):
        reason = "permission denied. Change the folder's permissions, or choose another output folder"
    elif blocking is not None:
        reason = f"{blocking} is a file where a folder is needed. Move it away, or choose another output folder"
    elif number == errno.EISDIR:
        reason = "a folder has this name. Move it away, or choose another output folder"
    elif number == errno.ENAMETOOLONG:
        reason = "the name is too long for this file system. Use shorter folder or file names"
    else:
        reason = f"{error.strerror or error}. Check the disk and the folder, then run again"
    return WriteError(f"cannot write {path}: {reason}.", number)


def remove_stale_partials(folder: Path) -> int:
    """Removes files aside whose writers are gone; says how many. Trouble in doing so is no error."""
    removed = 0
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            found = _PARTIAL.match(entry.name)
            if found and _remove_if_stale(Path(entry.path), int(found[1])):
                removed += 1
    return removed


def _create_partial(path: Path) -> tuple[Path, int]:
    while True:
        ending = f".partial-{os.getpid()}-{secrets.token_hex(4)}"
        room = _LONGEST_NAME_BYTES - len(ending) - 1
        name = os.fsencode(path.name)[:room].decode("utf-8", "ignore")
        partial = path.with_name(f".{name}{ending}")
        try:
            descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR | getattr(os, "O_BINARY", 0), 0o666)
        except FileExistsError:
            continue
        locked = _lock(descriptor)
        if locked is None or (locked and os.fstat(descriptor).st_nlink > 0):
            return partial, descriptor
        # Someone cleaning the folder took the file between its creation and its lock.
        os.close(descriptor)


def _lock(descriptor: int) -> bool | None:
    """True: locked; False: another holds it; None: no such locks on this system."""
    if sys.platform == "win32":
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_if_stale(partial: Path, pid: int) -> bool:
    try:
        if sys.platform != "win32":
            descriptor = os.open(partial, os.O_RDONLY)
            try:
                locked = _lock(descriptor)
                if locked is False or (locked is None and not _surely_abandoned(partial, pid)):
                    return False
                partial.unlink()
            finally:
                os.close(descriptor)
        else:
            partial.unlink()  # Windows refuses this while the file is open.
    except OSError:
        return False
    return True


def _surely_abandoned(partial: Path, pid: int) -> bool:
    """Without locks: untouched for an hour, and no process of that number here."""
    if time.time() - partial.stat().st_mtime < _LOCKLESS_STALE_S:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _publish(partial: Path, path: Path, replace: bool) -> None:
    if replace:
        os.replace(partial, path)
        return
    if sys.platform != "win32":
        try:
            os.link(partial, path)  # Unlike a rename, this refuses a name that is taken.
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
        else:
            return
        with _locked_folder(path.parent):  # a rename would replace what another has put there since the look
            if path.exists():
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
            partial.rename(path)
        return
    partial.rename(path)


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    """Keeps other writers of this program from publishing in a folder, where the system has locks for folders."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _sync_file(path: Path) -> None:
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_folder(folder: Path) -> None:
    if sys.platform == "win32":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems have no sync for folders.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.ENOSYS, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _file_in_place_of_folder(path: Path) -> Path | None:
    with contextlib.suppress(OSError):
        return next((at for at in (*reversed(path.parents), path) if at.exists() and not at.is_dir()), None)
    return None
