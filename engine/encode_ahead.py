"""Encoding many photographs in order: decoded ahead by several threads, run through the graph in batches of one size.

The graph runs in a thread of its own, a batch ahead of the caller.

No more than a fixed number of photographs is in memory at any time, however fast the disk or slow the graph.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from engine.dataset import ImageEntry
from engine.encoding import EncodedImage, UprightPicture
from engine.errors import ImageReadError, OutOfMemory

AHEAD_PER_WORKER = 2
"""Photographs prepared ahead of the graph, per decoding thread and beyond the batch that is being filled."""

Pictures = list[tuple[ImageEntry, UprightPicture]]
_Encoded = list[tuple[ImageEntry, EncodedImage | ImageReadError]]


@dataclass(frozen=True, eq=False)
class Prepared:
    """A photograph before the graph: a picture to run, or a result that needs no run."""

    entry: ImageEntry
    picture: UprightPicture | None = None
    done: EncodedImage | ImageReadError | None = None


def encode_in_order(
    entries: Iterable[ImageEntry],
    prepare: Callable[[ImageEntry], Prepared],
    forward: Callable[[Pictures], list[EncodedImage]],
    *,
    workers: int,
    batch: int,
) -> Iterator[tuple[ImageEntry, EncodedImage | ImageReadError]]:
    """Yields each entry with its feature map, or why it has none, in the order given.

    Args:
        prepare: decodes a photograph or finds its stored map; called in `workers` threads.
        forward: runs the graph on pictures of one size; called in a thread of its own.
        workers: decoding threads.
        batch: pictures of one size run together. Halved for good when the provider runs out of memory.

    Raises:
        OutOfMemory: the provider has not even room for one picture.
    """
    runner = _Batches(forward, batch)
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="decode") as decoders,
        ThreadPoolExecutor(1, thread_name_prefix="graph") as graph,
    ):
        running: Future[_Encoded] | None = None
        for waiting in _batches(_ahead(decoders, entries, prepare, batch + AHEAD_PER_WORKER * workers), runner):
            before = [] if running is None else running.result()
            # The graph goes on with these while the caller stores the ones before: it would wait for that otherwise.
            running = graph.submit(runner.run, waiting)
            yield from before
        if running is not None:
            yield from running.result()


def _batches(prepared: Iterable[Prepared], runner: "_Batches") -> Iterator[list[Prepared]]:
    waiting: list[Prepared] = []
    for entry in prepared:
        if waiting and not _fits(entry, waiting, runner.size):
            yield waiting
            waiting = []
        waiting.append(entry)
    if waiting:
        yield waiting


def _ahead(
    pool: ThreadPoolExecutor, entries: Iterable[ImageEntry], prepare: Callable[[ImageEntry], Prepared], most: int
) -> Iterator[Prepared]:
    upcoming: deque[Future[Prepared]] = deque()
    try:
        for entry in entries:
            upcoming.append(pool.submit(prepare, entry))
            if len(upcoming) >= most:
                yield upcoming.popleft().result()
        while upcoming:
            yield upcoming.popleft().result()
    finally:
        for future in upcoming:
            future.cancel()


def _fits(prepared: Prepared, waiting: list[Prepared], batch: int) -> bool:
    """Whether a photograph can wait for the same run; results without a run wait only to keep the order."""
    pictures = [entry.picture for entry in waiting if entry.picture is not None]
    if len(pictures) >= batch or len(waiting) >= 4 * batch:
        return False
    return prepared.picture is None or not pictures or prepared.picture.pixels.shape == pictures[0].pixels.shape


class _Batches:
    """Runs what waits, in runs of at most `size` pictures."""

    def __init__(self, forward: Callable[[Pictures], list[EncodedImage]], size: int) -> None:
        self.size = size
        self._forward = forward

    def run(self, waiting: list[Prepared]) -> _Encoded:
        encoded = iter(self._encode([(entry.entry, entry.picture) for entry in waiting if entry.picture is not None]))
        return [(entry.entry, entry.done if entry.done is not None else next(encoded)) for entry in waiting]

    def _encode(self, pictures: Pictures) -> list[EncodedImage]:
        encoded: list[EncodedImage] = []
        while len(encoded) < len(pictures):
            part = pictures[len(encoded) : len(encoded) + self.size]
            try:
                encoded += self._forward(part)
            except OutOfMemory:
                if len(part) == 1:
                    raise
                self.size = len(part) // 2
        return encoded
