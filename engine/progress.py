"""Progress of long work: a bar in a terminal, a plain line now and then elsewhere; and lines printed beside it."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

from engine.events import emit

T = TypeVar("T")

LINE_EVERY_S = 10.0
"""Seconds between two plain lines. Work that is done sooner prints none."""

_hidden = False


def say(line: str) -> None:
    """Prints a line to standard output, above a progress bar that may be on the screen."""
    tqdm.write(line, file=sys.stdout)


def warn(message: str) -> None:
    """Prints a warning to standard error, above a bar, and logs it as one."""
    emit("warning", message=message)
    print_unlogged(message)


def print_unlogged(line: str) -> None:
    """Prints to standard error what a log holds already in another form (see `engine.logs.LoggedStream`)."""
    unlogged = getattr(sys.stderr, "unlogged", contextlib.nullcontext)
    with unlogged():
        tqdm.write(line, file=sys.stderr)


@contextlib.contextmanager
def progress_hidden() -> Iterator[None]:
    """While this lasts, neither bars nor lines are shown; logs get them still."""
    global _hidden
    before, _hidden = _hidden, True
    try:
        yield
    finally:
        _hidden = before


def progress_bar(items: Iterable[T], total: int, unit: str, what: str = "") -> Iterator[T]:
    """Passes the items on and shows how many are done, the rate and the time left, on standard error.

    Args:
        unit: name of one item; the rate is in these a second.
        what: stands before the bar and in the lines, such as the stage and the provider.
    """
    lines = ProgressLines(unit, stage=what)
    in_terminal = sys.stderr.isatty() and total > 1 and not _hidden
    bar = tqdm(
        items, total=total, unit=unit, desc=what or None, disable=not in_terminal, dynamic_ncols=True, leave=False
    )
    for done, item in enumerate(bar, start=1):
        yield item
        lines(done, total)


class ProgressLines:
    """Tells from time to time how far work is: to logs always, as a plain line where no terminal shows a bar."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic, stage: str = "") -> None:
        self._what = what
        self._stage = stage
        self._clock = clock
        self._started = self._told = clock()

    def __call__(self, done: int, total: int) -> None:
        """Says that `done` of `total` are done."""
        now = self._clock()
        if now - self._told < LINE_EVERY_S:
            return
        self._told = now
        elapsed_s = now - self._started
        emit("progress", what=self._what, done=done, total=total, elapsed_s=round(elapsed_s, 1))
        if not _hidden and not sys.stderr.isatty():
            line = progress_line(self._what, done, total, elapsed_s)
            print_unlogged(f"{self._stage}, {line}" if self._stage else line)


def progress_line(what: str, done: int, total: int, elapsed_s: float) -> str:
    """One line: what is done of how much, in how long, how many a second, and how long the rest will take so."""
    share = f" ({done / total:.0%})" if total else ""
    left = f", about {_duration(elapsed_s / done * (total - done))} left" if 0 < done < total else ""
    rate = f", {_rate(done / elapsed_s)} a second" if done and elapsed_s > 0 else ""
    return f"{what}: {done:,} of {total:,}{share} after {_duration(elapsed_s)}{rate}{left}"


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}" if per_second >= 100 else f"{per_second:.3g}"


def _duration(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


class StageBars:
    """One bar after the other, for work that tells (stage, done, in all); plain lines where no terminal sees it."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._stage = ""
        self._bar: tqdm[None] | None = None
        self._lines = ProgressLines(what)

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Shows how far a stage is; a new stage ends the bar of the last."""
        if stage != self._stage:
            self.close()
            self._lines = ProgressLines(f"{self._what}: {stage}")
            self._stage = stage
        self._lines(done, total)
        if _hidden or not sys.stderr.isatty():
            return
        if self._bar is None:
            large = total > 1_000_000
            self._bar = tqdm(
                total=total,
                desc=f"{self._what}: {stage}",
                unit="B" if large else "step",
                unit_scale=large,
                dynamic_ncols=True,
                leave=False,
            )
        self._bar.total = total
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Takes the bar off the screen."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
