"""Every call to the file system fails in turn: a clear error or a recovered run, and complete files only."""

import errno
import io
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import h5py
import pytest
from robust_runs import Workplace, check_complete_files, everything, partial_files

import engine.result_writer
from engine.cli import main
from engine.store import atomic
from engine.store.features_h5 import FeatureStore

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks open files up in /proc")

CALLS = [(os, name) for name in ("open", "fsync", "replace", "link", "rename", "mkdir", "scandir", "unlink", "stat")]
CALLS += [(io, "open"), (h5py, "File")]
WRITING = frozenset("wax+")
"""Letters of modes in which a file is opened for writing; its `write`, `flush` and `close` may fail, too."""


IO_OPEN = io.open


class FailingFiles:
    """Counts the calls that concern files below a folder, and makes one of them fail."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = ""
        self.seen: list[str] = []
        self.fails_at = -1
        self.number = errno.EIO
        self.links = True
        for module, name in CALLS:
            monkeypatch.setattr(module, name, self._wrapped(name, getattr(module, name)))

    def __call__(self, name: str, path: object) -> None:
        """Counts a call, and fails if it is the one."""
        self.seen.append(f"{name} {path}")
        if len(self.seen) - 1 == self.fails_at:
            raise OSError(self.number, os.strerror(self.number), str(path))

    def arm(self, folder: Path, fails_at: int, number: int = errno.EIO) -> None:
        self.folder, self.fails_at, self.number, self.seen = str(folder), fails_at, number, []

    def _wrapped(self, name: str, original: Callable) -> Callable:
        def call(*arguments, **keywords):
            concerned = arguments[0] if arguments else keywords.get("file", "")
            if name == "fsync":
                concerned = str(Path(f"/proc/self/fd/{concerned}").readlink())
            if self.folder and isinstance(concerned, (str, os.PathLike)) and str(concerned).startswith(self.folder):
                self(name, concerned)
                if name == "link" and not self.links:
                    raise OSError(errno.EPERM, os.strerror(errno.EPERM), str(concerned))
                if original is IO_OPEN and WRITING & set(
                    arguments[1] if len(arguments) > 1 else keywords.get("mode", "r")
                ):
                    return FailingFile(self, original(*arguments, **keywords), concerned)
            return original(*arguments, **keywords)

        return call if name != "File" else type("File", (original,), {"__init__": call_init(self, original)})


class FailingFile:
    """A file open for writing, whose calls are counted and fail as those of a real one: half of the data is lost."""

    def __init__(self, files: FailingFiles, file: IO, path: object) -> None:
        self._files, self._file, self._path = files, file, path

    def write(self, data: bytes) -> int:
        try:
            self._files("write", self._path)
        except OSError:
            self._file.write(data[: len(data) // 2])
            raise
        return self._file.write(data)

    def flush(self) -> None:
        self._files("flush", self._path)
        self._file.flush()

    def close(self) -> None:
        if self._file.closed:
            return
        self._file.close()
        try:
            self._files("close", self._path)
        except OSError:
            size = Path(self._path).stat().st_size
            os.truncate(self._path, size // 2)
            raise

    def __enter__(self) -> "FailingFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def call_init(files: FailingFiles, original: type) -> Callable:
    """h5py.File is a class, and stays one."""

    def init(self, name, *arguments, **keywords):
        if files.folder and str(name).startswith(files.folder):
            files.seen.append(f"h5py {name}")
            if len(files.seen) - 1 == files.fails_at:
                raise OSError(f"Unable to synchronously open file (errno = {files.number})")
        original.__init__(self, name, *arguments, **keywords)

    return init


@pytest.fixture
def workplace(tmp_path: Path, tiny_graph: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workplace]:
    place = Workplace(tmp_path, tiny_graph, frames=2)
    for name in ("IMG_ROOT", "GRAPH_ROOT"):
        monkeypatch.setenv(name, place.environment[name])
    for name in ("MATCH_ROOT", "EMBED_ROOT", "VIS_ROOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine.result_writer, "PAIRS_A_SHARD", 3)
    monkeypatch.setitem(FeatureStore.__init__.__kwdefaults__, "shard_images", 2)
    yield place
    atomic._cleaned.clear()


def run(exports: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A run as a process of its own would have it: nothing is remembered of folders cleaned before."""
    atomic._cleaned.clear()
    monkeypatch.setenv("EXPORT_ROOT", str(exports))
    return main(["match", "-i", "96", "-e"])


def fail_each(
    workplace: Workplace,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    step: int,
    again: bool,
    links: bool = True,
) -> None:
    """Fails calls 0, `step`, 2 `step` and so on of a run; of a second run over finished results with `again`.

    Without hard links, every `step`-th of the calls that are made otherwise there, and of their neighbours.
    """
    assert run(workplace.folder / "undisturbed", monkeypatch) == 0
    expected = everything(workplace.folder / "undisturbed")
    files = FailingFiles(monkeypatch)
    files.links = links
    calls = counted_calls(workplace, files, monkeypatch, again)
    chosen = range(0, len(calls), step) if links else near_links(calls)[::step]
    failed = 0
    for turn, at in enumerate(chosen):
        exports = workplace.folder / f"fails-at-{at}"
        if again:
            assert run(exports, monkeypatch) == 0
        capsys.readouterr()
        files.arm(exports, at, (errno.EIO, errno.ENOSPC, errno.EACCES)[turn % 3])
        code = run(exports, monkeypatch)
        files.folder = ""
        said = capsys.readouterr()
        where = f"call {at}: {files.seen[at]}"
        assert code in (0, 1), where
        assert code == 0 or str(exports) in said.err, (where, said.err)
        check_complete_files(exports)
        failed += code
        assert run(exports, monkeypatch) == 0, where
        assert everything(exports) == expected, where
        # A file aside that could not be removed goes with the next write to its folder.
        assert partial_files(exports) == [] or ": unlink " in where, where
    assert len(chosen) >= 3
    assert again or failed > 3


def counted_calls(workplace: Workplace, files: FailingFiles, monkeypatch: pytest.MonkeyPatch, again: bool) -> list[str]:
    """The names of all calls of such a run, in their order."""
    exports = workplace.folder / "counted"
    if again:
        assert run(exports, monkeypatch) == 0
    files.arm(exports, -1)
    assert run(exports, monkeypatch) == 0
    files.folder = ""
    calls = [seen.partition(" ")[0] for seen in files.seen]
    if not again:
        assert {"write", "close"} <= set(calls)
        assert ("rename" in calls) != files.links
    return calls


def near_links(calls: list[str]) -> list[int]:
    """Where a link is tried and where the rename in its stead follows, with the calls before and after."""
    places = [at for at, name in enumerate(calls) if name in ("link", "rename")]
    return sorted({near for at in places for near in range(max(0, at - 1), min(len(calls), at + 2))})


def test_some_calls_fail(workplace, monkeypatch, capsys) -> None:
    fail_each(workplace, monkeypatch, capsys, step=23, again=False)


def test_some_calls_of_a_run_over_finished_results_fail(workplace, monkeypatch, capsys) -> None:
    fail_each(workplace, monkeypatch, capsys, step=7, again=True)


def test_some_calls_fail_where_there_are_no_hard_links(workplace, monkeypatch, capsys) -> None:
    fail_each(workplace, monkeypatch, capsys, step=5, again=False, links=False)


@pytest.mark.slow
def test_every_call_fails_where_there_are_no_hard_links(workplace, monkeypatch, capsys) -> None:
    fail_each(workplace, monkeypatch, capsys, step=1, again=False, links=False)


@pytest.mark.slow
def test_every_call_fails(workplace, monkeypatch, capsys) -> None:
    fail_each(workplace, monkeypatch, capsys, step=1, again=False)


@pytest.mark.slow
def test_every_call_of_a_run_over_finished_results_fails(workplace, monkeypatch, capsys) -> None:
    fail_each(workplace, monkeypatch, capsys, step=1, again=True)
