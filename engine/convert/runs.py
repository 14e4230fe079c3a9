"""Which stored runs there are, and the one that a person means."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from engine.errors import ResultFileError, UsageError, WorkError
from engine.results import MatchSettings
from engine.store.match_shard_reading import MatchShardReader
from engine.store.matches_h5 import PREFIX, MatchStore
from engine.store.shards import list_shards
from engine.suggest import did_you_mean

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

    @property
    def pairs(self) -> int:
        """How many pairs are stored."""
        return sum(1 for _ in MatchStore(self.folder).pairs())

    def line(self) -> str:
        """The run in one line, with the settings that people vary."""
        settings = self.settings
        options = " ".join(f"{name}={value}" for name, value in settings.filter_options.items())
        words = (
            settings.weights,
            f"{settings.image_size} px",
            f"{settings.matcher} (threshold {settings.match_threshold:g}, at most {settings.max_features} tokens)",
            f"{settings.filter} {options}".rstrip(),
            f"rotations {settings.rotations}",
            f"scales {_shown(settings.scales)}",
            f"refine {settings.refine}",
            self._size_and_date,
        )
        return f"{self.name}: {', '.join(words)}"

    def line_beside(self, other: "StoredRun") -> str:
        """The run in one line, with the settings in which it differs from another one."""
        mine, others = self.settings.as_json, other.settings.as_json
        differing = [f"{name} {_shown(mine[name])}" for name in mine if mine[name] != others[name]]
        return f"{self.name}: {', '.join([*differing, self._size_and_date])}"

    @property
    def _size_and_date(self) -> str:
        date = datetime.fromtimestamp(self.newest_ns / 1e9).astimezone()
        return f"{self.pairs} pair(s), {date:%Y-%m-%d %H:%M}"


def stored_runs(match_root: Path) -> list[StoredRun]:
    """The runs below `MATCH_ROOT`, the newest first.

    Raises:
        ResultFileError: no shard of a run can be read; the message names one.
    """
    folders = sorted(folder for folder in match_root.glob(f"*{_FOLDER_ENDING}/*") if folder.is_dir())
    found = [run for run in map(_read_run, folders) if run is not None]
    return sorted(found, key=lambda run: (-run.newest_ns, run.name))


def choose_run(
    runs: list[StoredRun],
    match_root: Path,
    weights: str | None,
    name: str | None,
    tell: Callable[[str], object] = print,
) -> StoredRun:
    """The run that is meant: the newest that fits.

    Args:
        runs: those of `stored_runs`.
        weights: alias of the backbone, or None for any.
        name: the beginning of a run's name, or None for any.
        tell: is told which one is taken and what the others are, where several fit.

    Raises:
        WorkError: nothing is stored.
        UsageError: none fits, or the beginning of a name fits several; the message lists them.
    """
    if not runs:
        raise WorkError(f"no matches are stored below {match_root}: run 'engine match' first, or set MATCH_ROOT")
    of_weights = [run for run in runs if weights is None or run.settings.weights == weights]
    fitting = [run for run in of_weights if name is None or run.name.startswith(name.lower())]
    if not fitting:
        raise UsageError(_none_fits(runs, weights, name, bool(of_weights)))
    chosen, *others = fitting
    if others and name is not None:
        listed = "\n  ".join(run.line() for run in fitting)
        raise UsageError(f"--run {name} fits {len(fitting)} stored runs; give more letters of one:\n  {listed}")
    if others:
        listed = "\n  ".join(run.line_beside(chosen) for run in others)
        tell(f"the newest of {len(fitting)} stored runs, {chosen.line()}\n--run takes another:\n  {listed}")
    return chosen


def _none_fits(runs: list[StoredRun], weights: str | None, name: str | None, of_weights: bool) -> str:
    asked = " ".join(part for part in (f"-w {weights}" if weights else "", f"--run {name}" if name else "") if part)
    near = "" if weights is None or of_weights else did_you_mean(weights, {run.settings.weights for run in runs})
    listed = "\n  ".join(run.line() for run in runs)
    return f"no stored run fits {asked}.{near} There are:\n  {listed}"


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{name}={_shown(entry)}" for name, entry in value.items()) or "none"
    if isinstance(value, list | tuple):
        return " ".join(_shown(entry) for entry in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


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
