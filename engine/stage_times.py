"""Where the time of a run went, by stage."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

STAGES = ("decode", "encode", "match", "verify", "refine", "write")


class StageTimes:
    """Adds up seconds by stage, from any thread: `with times("decode"): ...`."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds: dict[str, float] = {}
        self._counts: dict[str, int] = {}
        self._started = time.perf_counter()

    @contextmanager
    def __call__(self, stage: str, count: int = 1) -> Iterator[None]:
        """Counts the time of the block, for `count` photographs or pairs."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.add(stage, time.perf_counter() - started, count)

    def add(self, stage: str, seconds: float, count: int = 1) -> None:
        """Adds time that was measured elsewhere, in another process for example."""
        with self._lock:
            self._seconds[stage] = self._seconds.get(stage, 0.0) + seconds
            self._counts[stage] = self._counts.get(stage, 0) + count

    def seconds(self, stage: str) -> float:
        """Seconds of a stage so far, of all threads and processes together."""
        return self._seconds.get(stage, 0.0)

    def table(self) -> list[str]:
        """One line per stage that took place, and the time on the clock.

        Stages run beside each other, in several threads and processes, so their sum may exceed the clock's time.
        """
        with self._lock:
            known = {stage: self._seconds[stage] for stage in STAGES if stage in self._seconds}
            total = sum(known.values()) or 1.0
            lines = ["stage        seconds   share   each"]
            for stage, seconds in known.items():
                each = seconds / max(1, self._counts[stage]) * 1e3
                lines.append(f"{stage:10} {seconds:9.1f} {seconds / total:7.0%} {each:7.1f} ms")
            lines.append(f"{'on the clock':12}{time.perf_counter() - self._started:7.1f}")
        return lines
