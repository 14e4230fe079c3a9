"""What a run of the command line needs of its process: output that any name fits through, and a gentle end."""

import contextlib
import io
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType


class Terminated(KeyboardInterrupt):
    """The process was asked to end by SIGTERM, as `docker stop`, a batch system or a shutdown does."""


def make_output_robust() -> None:
    """Lets standard output write every name, and every line at once.

    A Windows console or `LANG=C` may know no Korean, and a file name need not be valid UTF-8; printing one must not end
    a run, so what the encoding lacks comes out as `\\uXXXX` (as on standard error from the start). And whoever pipes
    the output into a log wants to see it while the run goes on.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)


@contextlib.contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """While this lasts, SIGTERM raises `Terminated`, so that finished work is written as it is after Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise Terminated

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
