"""Writes a run's results: all to packed HDF5, and a JSON file per pair.

A pair's JSON is written only after the HDF5 shard that holds it is complete, so a killed run loses at most the shard in
progress. A pair is done when both are there: one whose shard was deleted or damaged is matched again, one whose JSON is
missing gets it from its shard.
"""

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from engine.dataset import ImageEntry
from engine.imaging import image_file_facts, image_sha256
from engine.pairs import Pair
from engine.progress import progress_bar
from engine.results import PairResult, RunInfo
from engine.store.atomic import WriteError, make_folder, write_error
from engine.store.facts import FileFacts
from engine.store.json_files import FileStamp, JsonFiles
from engine.store.matches_h5 import MatchStore, match_folder
from engine.store.result_json import ExistingResult, result_path, write_result
from engine.verdict.judge import with_verdict

PAIRS_A_SHARD = 500
SECONDS_A_SHARD = 60.0
"""Slow pairs are written after this time at the latest: what a power cut or `kill -9` can cost."""


class ResultWriter:
    """Context manager; `add` results, and what is left is written at the end, also when the run is stopped.

    Attributes:
        stored: new results in the HDF5 store.
        written: JSON files of new results.
        restored: JSON files written from results that the store had already.
        replaced: of both, files that held results of other settings or of an older photograph.
        unconfident: pairs without a JSON file, as their verdict is below the smallest probability asked for.
        last_path: the JSON file written last.
    """

    def __init__(self, root: Path, run: RunInfo, min_confidence: float = 0.0) -> None:
        """Opens the store.

        Args:
            root: `MATCH_ROOT`.
            min_confidence: pairs whose probability of showing one place is below get no JSON file, and lose one of an
                earlier run; the store keeps them.
        """
        self.root = root
        self.unconfident = 0
        self._min_confidence = min_confidence
        self.stored = 0
        self.written = 0
        self.restored = 0
        self.replaced = 0
        self.last_path: Path | None = None
        self._run = run
        self._digest = run.settings.digest()
        self._store = MatchStore(match_folder(root, run.settings), run)
        self._store.check(lambda shards: progress_bar(shards, len(shards), "file", "check results"))
        self._json = JsonFiles(self._store.folder, self._digest)
        self._pending: list[PairResult] = []
        self._waiting = 0
        self._facts = cache(self._read_facts)
        self._flushed = time.monotonic()

    @property
    def store_folder(self) -> Path:
        """The folder of the HDF5 shards."""
        return self._store.folder

    @property
    def problems(self) -> list[str]:
        """One line per damaged file met in the store."""
        return self._store.problems

    def is_done(self, pair: Pair) -> bool:
        """Whether the JSON file of a pair that is stored is there, or written now from what is stored."""
        return self._has_json(pair) or self.restore(pair)

    def _has_json(self, pair: Pair) -> bool:
        """Whether the pair's JSON file holds the result of these settings on these very photographs."""
        facts_a, facts_b = self._facts(pair.a), self._facts(pair.b)
        if facts_a is None or facts_b is None:
            return False
        existing = self._json.existing(result_path(self.root, self._run.settings.weights, pair.a.label, pair.b.label))
        if existing is None or not existing.is_of(self._digest, facts_a, facts_b):
            return False
        return not self._min_confidence or (existing.probability or 0.0) >= self._min_confidence

    def stored_pairs(
        self, entries: Sequence[ImageEntry], first: NDArray[np.integer], second: NDArray[np.integer]
    ) -> NDArray[np.bool_]:
        """[P] bool: whether pairs, given by rows of `entries`, are stored; JSON files are not looked at."""
        return self._store.has_all([(entry.path, self._facts(entry)) for entry in entries], first, second)

    def restore(self, pair: Pair) -> bool:
        """Writes the pair's JSON anew from the store; whether the store had what it takes.

        A run killed between a shard and its pairs' JSON files, or a run with other settings in between, leaves it so.

        Raises:
            WriteError: the file cannot be written.
        """
        facts_a, facts_b = self._facts(pair.a), self._facts(pair.b)
        if facts_a is None or facts_b is None or not self._store.has_files(pair.a.path, facts_a, pair.b.path, facts_b):
            return False
        found = self._store.find(self._store.name_of(pair.a.path), self._store.name_of(pair.b.path))
        if found is None:
            return False
        result, made_with = found
        # Keys and labels depend on what else the data set holds, which may have changed.
        image_a = replace(result.image_a, key=pair.a.key, label=pair.a.label, path=pair.a.path)
        image_b = replace(result.image_b, key=pair.b.key, label=pair.b.label, path=pair.b.path)
        if result.verdict is None:
            # Stored by a version that gave none.
            result = with_verdict(result)
        self.restored += self._write_json(replace(result, image_a=image_a, image_b=image_b), made_with)
        return True

    def add(self, result: PairResult, with_json: bool = True) -> None:
        """Takes a result; files are written a shard at a time.

        Args:
            with_json: whether the pair gets a JSON file beside its place in the HDF5 store.
        """
        self._store.append(result)
        self._waiting += 1
        if with_json:
            self._pending.append(result)
        if self._waiting >= PAIRS_A_SHARD or time.monotonic() - self._flushed >= SECONDS_A_SHARD:
            self.flush()

    def flush(self) -> None:
        """Completes the shard in progress, then writes its pairs' JSON files."""
        self._store.flush()
        for result in self._pending:
            self.written += self._write_json(result, self._run)
        self.stored += self._waiting
        self._waiting = 0
        self._pending.clear()
        self._flushed = time.monotonic()

    def _write_json(self, result: PairResult, made_with: RunInfo) -> bool:
        """Writes a pair's JSON file, or removes it where the verdict is below the limit; whether it is there."""
        path = result_path(self.root, self._run.settings.weights, result.image_a.label, result.image_b.label)
        if self._min_confidence and (result.verdict is None or result.verdict.probability < self._min_confidence):
            self.unconfident += 1
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise write_error(path, error) from error
            return False
        self.replaced += os.path.exists(path)  # noqa: PTH110 - false, too, where it is out of reach: writing says why
        stamp = FileStamp.of(write_result(path, result, made_with))
        images = (FileFacts.of(result.image_a), FileFacts.of(result.image_b))
        probability = None if result.verdict is None else result.verdict.probability
        self._json.add(path, stamp, ExistingResult(self._digest, *images, probability))
        self.last_path = path
        return True

    def _read_facts(self, entry: ImageEntry) -> FileFacts | None:
        """None where the file cannot be reached; reading it then gives the reason."""
        try:
            facts = FileFacts(*image_file_facts(entry.path))
            sha256 = self._store.sha256(entry.path, facts)
            if self._store.needs_digest(entry.path, facts):
                sha256 = image_sha256(entry.path)
            facts = replace(facts, sha256=sha256)
        except OSError:
            return None
        return facts

    def __enter__(self) -> "ResultWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self._store.close()
            self._save_json()

    def _save_json(self) -> None:
        """Notes what the JSON files are. Where that fails, the next run reads them: no result is lost with it."""
        try:
            self._json.save()
        except WriteError as error:
            self.problems.append(str(error))


def require_writable(folder: Path) -> None:
    """Makes the folder and sees that files can be made in it, before hours of work end with an error.

    Raises:
        WriteError: they cannot; the message says why.
    """
    make_folder(folder)
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise write_error(folder, error) from error
