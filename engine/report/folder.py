"""A folder that is complete or absent: built beside its place, then renamed."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path

from engine.errors import Dinov3MatchError, UsageError
from engine.store.atomic import make_folder, write_error

MARKER = "report.txt"
"""The file that tells a report from a folder that holds something else, which is never replaced."""


class ReportFolder:
    """The folder being built. Files are synced one by one, so that what is renamed at the end is on disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_written = 0

    def write(self, name: str, data: bytes) -> None:
        """Writes a file at `name`, a POSIX path within the folder.

        Raises:
            WriteError: it cannot be written.
        """
        path = self.path / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise write_error(path, error) from error
        self.bytes_written += len(data)


@contextlib.contextmanager
def replace_folder(out: Path) -> Iterator[ReportFolder]:
    """Yields a folder beside `out` that takes its place when the block ends well, and is removed otherwise.

    Raises:
        UsageError: `out` exists and is neither empty nor a report.
        WriteError: a folder cannot be made or renamed.
    """
    check_replaceable(out)
    make_folder(out.parent)
    partial = out.with_name(f".{out.name}.partial-{os.getpid()}-{secrets.token_hex(4)}")
    earlier = out.with_name(f".{out.name}.replaced-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        partial.mkdir()
        yield ReportFolder(partial)
        check_replaceable(out)
        if out.exists():
            out.rename(earlier)
        try:
            partial.rename(out)
        except OSError:
            if earlier.exists():
                earlier.rename(out)
            raise
    except Dinov3MatchError:
        raise
    except OSError as error:
        raise write_error(out, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)


def check_replaceable(out: Path) -> None:
    """Says before any work begins that a folder may not be replaced. See `replace_folder`.

    Raises:
        UsageError: `out` exists and is neither empty nor a report.
    """
    try:
        if not out.exists() and not out.is_symlink():
            return
        if out.is_dir() and ((out / MARKER).is_file() or not any(out.iterdir())):
            return
    except OSError as error:
        raise UsageError(f"{out} cannot be looked at: {error.strerror or error}. Choose another --out") from error
    raise UsageError(f"{out} exists and is not a report: it is left alone. Choose another --out")
