import contextlib
import errno
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from engine.errors import UsageError, WorkError
from engine.store import atomic
from engine.store.atomic import WriteError, make_folder, remove_stale_partials, write_aside, write_bytes, write_text

ROOT = Path(__file__).parents[3]


def partials(folder: Path) -> list[str]:
    return sorted(name for name in os.listdir(folder) if ".partial-" in name)


def test_text_arrives_whole_in_new_folders_with_korean_and_space_names(tmp_path):
    path = tmp_path / "결과 폴더" / "a b" / "파일 1.json"
    write_text(path, "높이\r\n400\n")
    assert path.read_bytes() == "높이\r\n400\n".encode()
    assert partials(path.parent) == []


def test_a_failing_block_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    path = tmp_path / "x.json"
    write_text(path, "old")

    def fail_half_way():
        with write_aside(path) as partial:
            partial.write_text("new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["x.json"]


def test_the_final_name_never_shows_an_unfinished_file(tmp_path):
    path = tmp_path / "x.bin"
    with write_aside(path) as partial:
        partial.write_bytes(b"half")
        assert not path.exists()
        assert partial.parent == path.parent
        assert partial.name.startswith(f".x.bin.partial-{os.getpid()}-")
    assert path.read_bytes() == b"half"


def test_an_error_with_a_message_of_its_own_passes_through(tmp_path):
    class OwnError(UsageError, OSError):
        pass

    with pytest.raises(OwnError), write_aside(tmp_path / "x"):
        raise OwnError("mine")


def test_a_taken_name_is_refused_when_asked(tmp_path):
    path = tmp_path / "shard-00000.h5"
    write_bytes(path, b"first", replace=False)
    with pytest.raises(FileExistsError):
        write_bytes(path, b"second", replace=False)
    assert path.read_bytes() == b"first"
    assert partials(tmp_path) == []


def test_a_taken_name_is_refused_without_hard_links_too(tmp_path, monkeypatch):
    def no_links(*_args):
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "shard-00000.h5"
    write_bytes(path, b"first", replace=False)
    with pytest.raises(FileExistsError):
        write_bytes(path, b"second", replace=False)
    assert path.read_bytes() == b"first"


def test_of_two_writers_without_hard_links_one_gets_the_name(tmp_path, monkeypatch):
    """Each looks whether the name is taken, and then waits for the other to have looked as well."""

    def no_links(*_args):
        raise OSError(errno.EPERM, "no links here")

    path = tmp_path / "shard-00000.h5"
    both = threading.Barrier(2, timeout=2)
    real = Path.exists

    def exists(self, **options):
        found = real(self, **options)
        if self == path:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait()
        return found

    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(Path, "exists", exists)
    won = []

    def write(number):
        with contextlib.suppress(FileExistsError):
            write_bytes(path, b"%d" % number, replace=False)
            won.append(number)

    writers = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(won) == 1
    assert path.read_bytes() == b"%d" % won[0]


def test_names_as_long_as_the_file_system_allows(tmp_path):
    path = tmp_path / ("가" * 83 + ".json")
    assert len(os.fsencode(path.name)) == 254
    write_text(path, "x")
    assert path.read_text() == "x"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "disk is full"),
        (errno.EACCES, "permission denied"),
        (errno.EPERM, "permission denied"),
        (errno.EROFS, "read-only"),
        (errno.EIO, "Check the disk"),
    ],
)
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_every_failing_system_call_becomes_an_error_with_path_and_advice(tmp_path, monkeypatch, call, number, words):
    path = tmp_path / "x.json"
    write_text(path, "old")

    def fail(*_args, **_kwargs):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, fail)
        with pytest.raises(WriteError, match=words) as caught:
            write_text(path, "new")
    assert str(path) in str(caught.value)
    assert caught.value.errno == number
    assert isinstance(caught.value, WorkError)
    assert path.read_text() == "old"
    assert partials(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_really_full_device(tmp_path):
    def write_to_a_full_device():
        with write_aside(tmp_path / "x") as partial:
            partial.unlink()
            partial.symlink_to("/dev/full")
            partial.write_bytes(b"data")

    with pytest.raises(WriteError, match="the disk is full"):
        write_to_a_full_device()
    assert os.listdir(tmp_path) == []


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    blocking = tmp_path / "results"
    blocking.write_text("I am a file")
    for path in (blocking / "x.json", blocking / "deeper" / "x.json"):
        with pytest.raises(WriteError, match="is a file where a folder is needed") as caught:
            write_text(path, "x")
        assert f"{blocking} is a file" in str(caught.value)
    with pytest.raises(WriteError, match="is a file where a folder is needed"):
        make_folder(blocking)


def test_a_folder_in_place_of_the_file_is_named(tmp_path):
    (tmp_path / "x.json").mkdir()
    with pytest.raises(WriteError, match="a folder has this name"):
        write_text(tmp_path / "x.json", "x")
    assert os.listdir(tmp_path) == ["x.json"]


KILLED_WRITER = """
import sys, time
from pathlib import Path
from engine.store.atomic import write_aside
with write_aside(Path(sys.argv[1])) as partial:
    partial.write_text("half of it")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_what_a_killed_writer_leaves_is_removed_and_what_a_live_one_writes_is_not(tmp_path, monkeypatch):
    path = tmp_path / "파일 x.json"
    writer = subprocess.Popen([sys.executable, "-c", KILLED_WRITER, str(path)], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"writing\n"
        assert len(partials(tmp_path)) == 1
        assert remove_stale_partials(tmp_path) == 0
    finally:
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    assert len(partials(tmp_path)) == 1
    monkeypatch.setattr(atomic, "_cleaned", set())
    write_text(path, "whole")
    assert os.listdir(tmp_path) == [path.name]
    assert path.read_text() == "whole"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX locks")
def test_without_locks_only_old_leftovers_of_dead_processes_are_removed(tmp_path, monkeypatch):
    monkeypatch.setattr(atomic, "_lock", lambda _descriptor: None)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    old_dead, young_dead, old_living = (
        tmp_path / f".{name}.partial-{pid}-00000000"
        for name, pid in (("a", gone.pid), ("b", gone.pid), ("c", os.getpid()))
    )
    for path in (old_dead, young_dead, old_living):
        path.touch()
    long_ago = time.time() - 7200
    for path in (old_dead, old_living):
        os.utime(path, (long_ago, long_ago))
    unrelated = tmp_path / ".notes.partial-draft"
    unrelated.touch()
    assert remove_stale_partials(tmp_path) == 1
    assert sorted(tmp_path.iterdir()) == sorted([young_dead, old_living, unrelated])
