"""Geometric verification of many pairs, in processes of their own, in the order the pairs come.

A robust homography takes about a millisecond: beside block matching that is most of the work, and Python runs one such
call at a time. Each process gets the filter's function once, then pairs by the dozen.
"""

import contextlib
import multiprocessing
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import connection
from types import FrameType
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import WorkError
from engine.hooks import FilterFunction, FilterRecord
from engine.plugin_calls import made
from engine.results import Verification
from engine.verification import verify_matches

T = TypeVar("T")

PAIRS_A_TASK = 32
"""Pairs sent to a process together: sending takes about as long for one as for a dozen."""
TASKS_AHEAD_PER_WORKER = 3


@dataclass(frozen=True, eq=False)
class VerifyTask:
    """A pair's matches: positions in original pixels [M, 2], best first, and the sizes (width, height)."""

    points_a_px: NDArray[np.float64]
    points_b_px: NDArray[np.float64]
    size_a: tuple[int, int]
    encoded_a: tuple[int, int]
    size_b: tuple[int, int]
    encoded_b: tuple[int, int]


@dataclass(frozen=True)
class VerifyJob:
    """What is the same for all pairs.

    Attributes:
        min_inliers: a pair of fewer matches is not verified, as it cannot reach so many inliers; a model of fewer is
            dropped.
    """

    record: FilterRecord
    options: Any
    unit: str
    min_inliers: int = 0

    def __call__(self, task: VerifyTask) -> Verification:
        """Verifies a pair."""
        count = len(task.points_a_px)
        if count < self.min_inliers:
            task = replace(task, points_a_px=task.points_a_px[:0], points_b_px=task.points_b_px[:0])
        found = verify_matches(
            self.record,
            self.options,
            task.points_a_px,
            task.points_b_px,
            task.size_a,
            task.encoded_a,
            task.size_b,
            task.encoded_b,
            self.unit,
        )
        if count != len(found.inliers) or found.inlier_count < self.min_inliers:
            return replace(found, matrix=None, inliers=np.zeros(count, bool))
        return found


@dataclass(frozen=True, eq=False)
class Verified(Generic[T]):
    """A pair's verification and the seconds it took, with whatever was handed in beside it."""

    beside: T
    verification: Verification
    seconds: float


def verify_in_order(
    tasks: Iterable[tuple[T, VerifyTask]], job: VerifyJob, workers: int
) -> Generator[Verified[T], None, None]:
    """Verifies pairs in the order they come, a bounded number at a time.

    Close the generator where it is left before its end: its processes end with it.

    Args:
        tasks: pairs, each with something that is handed back beside its verification.
        workers: processes; with 0, or a filter that cannot be sent to a process, all is done in this one.

    Raises:
        WorkError: a process was killed.
        PluginError: the filter failed. Other errors of this program come as they are.
    """
    sendable = _sendable(job) if workers > 0 else None
    if sendable is None:
        for beside, task in tasks:
            started = time.perf_counter()
            found = job(task)
            yield Verified(beside, found, time.perf_counter() - started)
        return
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_start_worker, initargs=(sendable,)
    )
    try:
        yield from _in_processes(pool, tasks, workers * TASKS_AHEAD_PER_WORKER)
    except BrokenProcessPool as error:
        raise WorkError(
            "a process that verifies pairs was ended from outside, for want of memory perhaps: what was finished is "
            "kept; run the command again, with --workers 0 if it happens again"
        ) from error
    finally:
        # Waits for the tasks in progress: a pool still ending while Python exits may be woken through a closed pipe.
        pool.shutdown(wait=True, cancel_futures=True)


def _in_processes(
    pool: ProcessPoolExecutor, tasks: Iterable[tuple[T, VerifyTask]], ahead: int
) -> Iterator[Verified[T]]:
    waiting: deque[tuple[list[T], Future[list[tuple[Verification, float]]]]] = deque()
    for chunk in _chunks(tasks, PAIRS_A_TASK):
        besides, sent = [beside for beside, _ in chunk], [task for _, task in chunk]
        with _without_ctrl_c():  # processes start when they are needed
            future = pool.submit(_verify_chunk, sent)
        waiting.append((besides, future))
        if len(waiting) >= ahead or waiting[0][1].done():
            yield from _received(*waiting.popleft())
    while waiting:
        yield from _received(*waiting.popleft())


_HELD = (signal.SIGINT, signal.SIGTERM)


@contextlib.contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """Holds Ctrl-C and SIGTERM back for the moment; a process started meanwhile never gets Ctrl-C.

    A terminal sends it to all processes of a run; the one that started the others ends them. Until a new process has
    been told its task, an interruption of this one would leave it with half of it.
    """
    held: list[tuple[int, FrameType | None]] = []
    in_main = threading.current_thread() is threading.main_thread()
    handlers = {number: signal.signal(number, lambda *seen: held.append(seen)) for number in (_HELD if in_main else ())}
    masked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT}) if hasattr(signal, "pthread_sigmask") else None
    try:
        yield
    finally:
        if masked is not None:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for seen, frame in held[:1]:
            handler = handlers[signal.Signals(seen)]
            if callable(handler):
                handler(seen, frame)


def _received(besides: list[T], future: Future[list[tuple[Verification, float]]]) -> Iterator[Verified[T]]:
    for beside, (found, seconds) in zip(besides, future.result(), strict=True):
        yield Verified(beside, found, seconds)


def _chunks(items: Iterable[T], count: int) -> Iterator[list[T]]:
    chunk: list[T] = []
    for item in items:
        chunk.append(item)
        if len(chunk) == count:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _sendable(job: VerifyJob) -> bytes | None:
    """The job as bytes, its filter made ready; None where a plugin's function is not one of a module."""
    function = made(job.record, job.record.factory)
    with contextlib.suppress(pickle.PicklingError, AttributeError, TypeError):
        return pickle.dumps(replace(job, record=replace(job.record, factory=partial(_given, function))))
    return None


def _given(function: FilterFunction) -> FilterFunction:
    return function


_job: Callable[[VerifyTask], Verification] | None = None


def _start_worker(sendable: bytes) -> None:
    """Makes a process ready: it leaves Ctrl-C to the parent, ends with it, and computes in one thread."""
    global _job
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # also where signals cannot be held back
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    import cv2

    cv2.setNumThreads(1)
    _job = pickle.loads(sendable)


def _end_with(sentinel: int) -> None:
    """A parent killed by SIGKILL cannot say goodbye."""
    connection.wait([sentinel])
    os._exit(1)


def _verify_chunk(tasks: list[VerifyTask]) -> list[tuple[Verification, float]]:
    if _job is None:
        raise RuntimeError("the process was not made ready")
    results = []
    for task in tasks:
        started = time.perf_counter()
        found = _job(task)
        results.append((found, time.perf_counter() - started))
    return results
