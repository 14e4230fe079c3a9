"""SHA-256 of large files, remembered by size and time of change, so that they are read once and not at every start."""

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from engine.digest import file_sha256

CACHE_NAME = ".digests.json"


class DigestCache:
    """Digests kept in a small JSON file. One that cannot be read or written costs time, never correctness.

    A file altered without a change of size and time of change is not noticed; `fresh` reads it whatever is remembered.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / CACHE_NAME

    def sha256(self, path: Path, fresh: bool = False, read: Callable[[Path], str] | None = None) -> str:
        """SHA-256 (hex) of a file, from memory where size and time of change are the remembered ones.

        Args:
            fresh: read it whatever is remembered.
            read: computes it, by default `file_sha256`.

        Raises:
            OSError: the file cannot be read.
        """
        known = None if fresh else self.known(path)
        if known is not None:
            return known
        facts = _facts(path)
        sha256 = (read or file_sha256)(path)
        self._remember(path, [*facts, sha256])
        return sha256

    def known(self, path: Path) -> str | None:
        """The remembered SHA-256 of a file that has not changed since, or None.

        Raises:
            OSError: the file is missing or out of reach.
        """
        entry = self._entries().get(str(path.resolve()))
        return str(entry[2]) if entry is not None and entry[:2] == _facts(path) else None

    def _entries(self) -> dict[str, list[int | str]]:
        try:
            content = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        if not isinstance(content, dict):
            return {}
        return {key: entry for key, entry in content.items() if isinstance(entry, list) and len(entry) == 3}

    def _remember(self, path: Path, entry: list[int | str]) -> None:
        entries = self._entries() | {str(path.resolve()): entry}
        aside = self._path.with_name(f"{CACHE_NAME}.{os.getpid()}")
        with contextlib.suppress(OSError):
            try:
                aside.write_text(json.dumps(entries, indent=1), encoding="utf-8")
                os.replace(aside, self._path)
            finally:
                aside.unlink(missing_ok=True)


def _facts(path: Path) -> list[int | str]:
    facts = path.stat()
    return [facts.st_size, facts.st_mtime_ns]
