"""Source `builtin`: an official checkpoint and our own definition of the network."""

from pathlib import Path

from exporters.checkpoints import Checkpoint, Digest, find_checkpoint, judge_checkpoint, load_state
from exporters.sources.loaded import LoadedSource, Progress
from models.build import build_with_weights
from models.catalogue import Backbone
from models.contract import CheckpointStatus


def load_builtin(
    backbone: Backbone,
    checkpoint: Path,
    *,
    unofficial: bool = False,
    progress: Progress | None = None,
    digest: Digest | None = None,
) -> LoadedSource:
    """Judges and maps a checkpoint.

    Args:
        checkpoint: a `.pth` file, or a folder that is searched for the published name.
        unofficial: accept a checkpoint whose SHA-256 is neither the published one nor that in its name.
        digest: gives the SHA-256, by default by reading the file.

    Raises:
        CheckpointError: the checkpoint is missing, bad or one of several.
    """
    tell = progress or (lambda stage, done, total: None)
    named = checkpoint.is_file() or checkpoint.suffix == ".pth"
    path = checkpoint if named else find_checkpoint(backbone, checkpoint)
    judged = judge_checkpoint(
        backbone, path, unofficial=unofficial, progress=lambda done, total: tell("hash", done, total), digest=digest
    )
    tell("load", 0, 1)
    source = _loaded(backbone, judged)
    tell("load", 1, 1)
    return source


def judged_builtin(backbone: Backbone, path: Path, sha256: str, status: CheckpointStatus) -> LoadedSource:
    """A checkpoint whose digest and status are known already.

    Raises:
        CheckpointError: it is bad.
    """
    return _loaded(backbone, Checkpoint(path, sha256, status))


def _loaded(backbone: Backbone, checkpoint: Checkpoint) -> LoadedSource:
    state = load_state(backbone, checkpoint.path)
    return LoadedSource(backbone, checkpoint, state, build_with_weights(backbone, state))
