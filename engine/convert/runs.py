"""Which stored runs there are, and the one that a person means."""

from dataclasses import dataclass
from pathlib import Path

from engine.errors import ResultFileError, UsageError, WorkError
from engine.results import MatchSettings
from engine.store.match_shard_reading import MatchShardReader
from engine.store.matches_h5 import PREFIX
from engine.store.shards import list_shards

_FOLDER_ENDING = "_matches"


@dataclass(frozen=True)
class StoredRun:
    """All results of one backbone under one set of settings.

    Attributes:
        folder: where its shards lie; its name is the beginning of the settings' digest.
        settings: what its pairs were matched with.
        newest_ns: when its last shard was written, nanoseconds since the epoch.
    """

    folder: Path
    settings: MatchSettings
    newest_ns: int

    @property
    def name(self) -> str:
        """What `--run` calls it."""
        return self.folder.name

    def line(self) -> str:
        """The run in one line, with the settings that people vary."""
        settings = self.settings
        options = " ".join(f"{name}={value}" for name, value in {**settings.filter_options}.items())
        return (
            f"{self.name}: {settings.weights}, {settings.image_size} px, {settings.matcher}"
            f" (threshold {settings.match_threshold:g}, at most {settings.max_features} tokens),"
            f" {settings.filter} {options}".rstrip()
        )


def stored_runs(match_root: Path) -> list[StoredRun]:
    """The runs below `MATCH_ROOT`, the newest first.

    Raises:
        ResultFileError: no shard of a run can be read; the message names one.
    """
    folders = sorted(folder for folder in match_root.glob(f"*{_FOLDER_ENDING}/*") if folder.is_dir())
    found = [run for run in map(_read_run, folders) if run is not None]
    return sorted(found, key=lambda run: (-run.newest_ns, run.name))


def choose_run(runs: list[StoredRun], match_root: Path, weights: str | None, name: str | None) -> StoredRun:
    """The run that is meant.

    Args:
        runs: those of `stored_runs`.
        weights: alias of the backbone, or None for any.
        name: the beginning of a run's name, or None for the only one.

    Raises:
        WorkError: nothing is stored.
        UsageError: none fits, or several do; the message lists them.
    """
    if not runs:
        raise WorkError(f"no matches are stored below {match_root}: run 'engine match' first, or set MATCH_ROOT")
    fitting = [run for run in runs if weights is None or run.settings.weights == weights]
    fitting = [run for run in fitting if name is None or run.name.startswith(name.lower())]
    if len(fitting) == 1:
        return fitting[0]
    asked = " ".join(part for part in (f"-w {weights}" if weights else "", f"--run {name}" if name else "") if part)
    listed = "\n  ".join(run.line() for run in fitting or runs)
    if not fitting:
        raise UsageError(f"no stored run fits {asked}. There are:\n  {listed}")
    raise UsageError(f"{len(fitting)} stored runs fit; choose one with --run (the newest is first):\n  {listed}")


def _read_run(folder: Path) -> StoredRun | None:
    shards = list_shards(folder, PREFIX)
    problem: ResultFileError | None = None
    for shard in reversed(shards):
        try:
            settings = MatchShardReader(shard.path, None, tables_only=True).run.settings
        except ResultFileError as error:
            problem = error
            continue
        return StoredRun(folder, settings, max(entry.modified_ns for entry in shards))
    if problem is not None:
        raise problem
    return None
