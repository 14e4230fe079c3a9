"""Digests of checkpoints for the commands that load them: read once in a command, and remembered for others."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from engine.context import Context
from engine.digest_cache import DigestCache

BytesDone = Callable[[int, int], None]


def remembered_digest(context: Context) -> Callable[[Path, BytesDone | None], str]:
    """What gives the SHA-256 of a checkpoint: the first time by reading it, whatever is remembered.

    The function returned raises CheckpointError where a file cannot be read.
    """
    from exporters.checkpoints import CheckpointError, file_sha256

    cache, seen = DigestCache(context.roots.graphs), set[Path]()

    def digest(path: Path, progress: BytesDone | None = None) -> str:
        with contextlib.suppress(OSError):  # what writes the graph says why it cannot be made
            context.roots.graphs.mkdir(parents=True, exist_ok=True)
        try:
            sha256 = cache.sha256(path, path not in seen, lambda file: file_sha256(file, progress))
        except OSError as error:
            raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
        seen.add(path)
        return sha256

    return digest
