"""Verification in processes: the same as in one, in the same order, and nothing left behind when either side dies."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.coordinates import project
from engine.errors import WorkError
from engine.hooks import Estimate, FilterRecord, ModelKind
from engine.plugin_registry import load_registry
from engine.verify_pool import PAIRS_A_TASK, TASKS_AHEAD_PER_WORKER, VerifyJob, VerifyTask, verify_in_order
from plugins import BUILTINS

PROJECT = Path(__file__).resolve().parents[2]
TRUE = np.array([[0.9, 0.1, 12.0], [-0.1, 0.95, 4.0], [1e-4, 0.0, 1.0]])
SIZE = (640, 480)


def homography() -> FilterRecord:
    return load_registry(BUILTINS, entry_points=False).filter("homography")


def task(seed: int, good: int, wrong: int) -> VerifyTask:
    """Matches of a known homography with some wrong ones among them."""
    rng = np.random.default_rng(seed)
    a = rng.uniform(20, 460, (good + wrong, 2))
    b = project(TRUE, a)
    b[good:] = rng.uniform(20, 460, (wrong, 2))
    order = rng.permutation(good + wrong)
    return VerifyTask(a[order], b[order], SIZE, SIZE, SIZE, SIZE)


def tasks(count: int) -> list[tuple[int, VerifyTask]]:
    return [(number, task(number, (number * 7) % 40, number % 9)) for number in range(count)]


def job(min_inliers: int = 0) -> VerifyJob:
    record = homography()
    return VerifyJob(record, record.options(), "encoded", min_inliers)


def test_processes_find_what_one_finds_in_the_same_order() -> None:
    given = tasks(150)
    alone = list(verify_in_order(given, job(), 0))
    beside = list(verify_in_order(iter(given), job(), 2))
    assert [found.beside for found in alone] == [found.beside for found in beside] == list(range(150))
    for one, other in zip(alone, beside, strict=True):
        assert np.array_equal(one.verification.inliers, other.verification.inliers)
        assert (one.verification.matrix is None) == (other.verification.matrix is None)
        if one.verification.matrix is not None:
            assert np.array_equal(one.verification.matrix, other.verification.matrix)
        assert other.seconds > 0
    assert sum(found.verification.matrix is not None for found in alone) > 90


def test_no_more_pairs_are_taken_than_can_be_worked_on() -> None:
    taken = 0

    def counted() -> Iterator[tuple[int, VerifyTask]]:
        nonlocal taken
        for entry in tasks(40 * PAIRS_A_TASK):
            taken += 1
            yield entry

    results = verify_in_order(counted(), job(), 1)
    next(results)
    assert taken <= (TASKS_AHEAD_PER_WORKER + 1) * PAIRS_A_TASK
    results.close()


@pytest.mark.parametrize("min_inliers", [0, 4, 12, 30])
def test_min_inliers(min_inliers: int) -> None:
    """Reference: every pair verified, and models of too few inliers dropped afterwards."""
    calls: list[int] = []
    record = homography()
    verify = record.factory()

    def counting(a: np.ndarray, b: np.ndarray, options: object) -> Estimate:
        calls.append(len(a))
        return verify(a, b, options)

    limited = VerifyJob(replace(record, factory=lambda: counting), record.options(), "encoded", min_inliers)
    given = tasks(60)
    for (_, one), found in zip(given, verify_in_order(given, limited, 0), strict=True):
        free = job()(one)
        kept = free.inlier_count >= min_inliers and free.matrix is not None
        assert (found.verification.matrix is not None) == kept
        assert found.verification.inliers.shape == (len(one.points_a_px),)
        assert np.array_equal(found.verification.inliers, free.inliers if kept else np.zeros(len(free.inliers), bool))
    assert min(calls) >= max(min_inliers, 4), "a pair was verified that cannot reach so many"


def test_a_function_that_cannot_be_sent_is_called_here() -> None:
    here = []

    def local(a: np.ndarray, b: np.ndarray, options: object) -> Estimate:
        here.append(os.getpid())
        return Estimate(None, np.zeros(len(a), bool))

    record = replace(homography(), factory=lambda: local)
    found = list(verify_in_order(tasks(5), VerifyJob(record, record.options(), "encoded"), 2))
    assert len(found) == 5
    assert set(here) == {os.getpid()}


def ends_its_process(a: np.ndarray, b: np.ndarray, options: object) -> Estimate:
    """A filter whose process is killed as the system does it when memory ends."""
    if len(a) == 33:
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGKILL)
    return Estimate(None, np.zeros(len(a), bool))


def raises(a: np.ndarray, b: np.ndarray, options: object) -> Estimate:
    raise WorkError(f"{len(a)} points are an unlucky number")


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_process_is_an_error_that_says_so_and_earlier_pairs_are_out() -> None:
    record = FilterRecord("deadly", "", homography().options, lambda: ends_its_process, ModelKind.POINT_MAP, 4)
    given = [(number, task(number, 33 if number == 3 * PAIRS_A_TASK else 20, 0)) for number in range(200)]
    done = []
    with pytest.raises(WorkError, match=r"ended from outside.*--workers 0"):
        done.extend(found.beside for found in verify_in_order(given, VerifyJob(record, record.options(), "encoded"), 1))
    assert done == list(range(len(done)))
    assert len(done) >= PAIRS_A_TASK, "the first task was complete before"
    assert len(done) % PAIRS_A_TASK == 0


def test_an_error_of_the_filter_comes_through() -> None:
    record = FilterRecord("raises", "", homography().options, lambda: raises, ModelKind.POINT_MAP, 4)
    with pytest.raises(WorkError, match="9 points are an unlucky number"):
        list(verify_in_order([(0, task(0, 9, 0))], VerifyJob(record, record.options(), "encoded"), 1))


ENDLESS = """
import itertools, sys
sys.path[:0] = [{project!r}, {tests!r}]
from test_verify_pool import job, task
from engine.verify_pool import verify_in_order
if __name__ == "__main__":
    one = task(0, 30, 5)
    for number, _ in enumerate(verify_in_order(((n, one) for n in itertools.count()), job(), 2)):
        if number == 0:
            print("running", flush=True)
"""


def children(parent: int) -> list[int]:
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"\nPPid:\t{parent}\n" in (folder / "status").read_text():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except OSError:
        return False


def wait_until_gone(processes: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(map(alive, processes)):
        assert time.monotonic() < deadline, "a process outlives its parent"
        time.sleep(0.05)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="processes are looked up in /proc")
def test_a_killed_parent_leaves_no_process_behind(tmp_path: Path) -> None:
    script = tmp_path / "endless.py"
    script.write_text(ENDLESS.format(project=str(PROJECT), tests=str(Path(__file__).parent)))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"running\n"
        workers = children(parent.pid)
        assert len(workers) >= 2
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until_gone(workers)


@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="processes are looked up in /proc")
def test_leaving_early_ends_the_processes() -> None:
    before, threads = set(children(os.getpid())), set(threading.enumerate())
    results = verify_in_order(tasks(300), job(), 2)
    next(results)
    mine = [process for process in children(os.getpid()) if process not in before]
    workers = [p for p in mine if b"resource_tracker" not in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert workers
    results.close()
    assert not set(workers) & set(children(os.getpid())), "Python's exit may come upon processes that are still ending"
    assert not set(threading.enumerate()) - threads
