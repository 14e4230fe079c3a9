"""Encoding ahead: the order of photographs, how many are in memory at once, and what is done when memory ends."""

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dataset import ImageEntry
from engine.encode_ahead import AHEAD_PER_WORKER, Pictures, Prepared, encode_in_order
from engine.encoding import EncodedImage, UprightPicture
from engine.errors import ImageReadError, OutOfMemory, ProviderError
from engine.features import FeatureMap
from engine.results import ImageRef


def entry(number: int) -> ImageEntry:
    return ImageEntry(f"400.{number}", f"400.{number}", Path(f"/photographs/{number}.jpg"), "A", "400", str(number))


def picture(width: int = 32) -> UprightPicture:
    return UprightPicture(np.zeros((16, width, 3), np.uint8), (640, 320), 5, 7)


def encoded(of: ImageEntry) -> EncodedImage:
    one = np.ones((1, 2), np.float16)
    features = FeatureMap(
        of.key, one, one[:, 0].astype(np.float32), np.zeros(1, np.int32), one[0], (1, 1), (2, 1), (2, 1)
    )
    return EncodedImage(ImageRef(of.key, of.label, of.path, (2, 1), (2, 1), (1, 1), 5, 7), features, 1.0)


class Graph:
    """Counts runs and, as a device does, has room for `room` pictures only."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.runs: list[list[str]] = []
        self.refused: list[int] = []
        self.widths: list[set[int]] = []

    def __call__(self, pictures: Pictures) -> list[EncodedImage]:
        if len(pictures) > self.room:
            self.refused.append(len(pictures))
            raise OutOfMemory(f"no room for {len(pictures)}")
        self.runs.append([of.key for of, _ in pictures])
        self.widths.append({shown.pixels.shape[1] for _, shown in pictures})
        return [encoded(of) for of, _ in pictures]


KINDS = st.lists(st.sampled_from(["small", "large", "stored", "unreadable"]), max_size=40)


@settings(max_examples=60, deadline=None)
@given(kinds=KINDS, workers=st.integers(1, 4), batch=st.integers(1, 5), room=st.integers(1, 5))
def test_every_photograph_once_in_order_whatever_happens(kinds: list[str], workers: int, batch: int, room: int) -> None:
    entries = [entry(number) for number in range(len(kinds))]
    kind_of = {of.key: kind for of, kind in zip(entries, kinds, strict=True)}
    graph = Graph(room)

    def prepare(of: ImageEntry) -> Prepared:
        kind = kind_of[of.key]
        if kind == "unreadable":
            return Prepared(of, done=ImageReadError(f"{of.path} is empty"))
        if kind == "stored":
            return Prepared(of, done=encoded(of))
        return Prepared(of, picture(32 if kind == "small" else 64))

    found = list(encode_in_order(entries, prepare, graph, workers=workers, batch=batch))
    assert [of.key for of, _ in found] == [of.key for of in entries]
    for of, result in found:
        if kind_of[of.key] == "unreadable":
            assert isinstance(result, ImageReadError)
        else:
            assert isinstance(result, EncodedImage)
            assert result.image.key == of.key
    ran = [key for run in graph.runs for key in run]
    assert ran == [of.key for of in entries if kind_of[of.key] in ("small", "large")]
    assert all(len(widths) == 1 for widths in graph.widths), "pictures of two sizes in one run"
    assert max(map(len, graph.runs), default=0) <= min(batch, room)


@pytest.mark.parametrize(("workers", "batch"), [(1, 1), (3, 1), (2, 8)])
def test_a_bounded_number_of_photographs_is_in_memory(workers: int, batch: int) -> None:
    """Decoders much faster than the graph do not run ahead of it without end."""
    lock, held, most = threading.Lock(), 0, 0

    def prepare(of: ImageEntry) -> Prepared:
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return Prepared(of, picture())

    def slow(pictures: Pictures) -> list[EncodedImage]:
        nonlocal held
        time.sleep(0.002)
        with lock:
            held -= len(pictures)
        return [encoded(of) for of, _ in pictures]

    entries = map(entry, range(100))
    assert len(list(encode_in_order(entries, prepare, slow, workers=workers, batch=batch))) == 100
    # One batch that runs, one that is filled, and what is ahead of it.
    assert batch <= most <= 3 * batch + AHEAD_PER_WORKER * workers


def test_entries_are_asked_for_no_sooner_than_needed() -> None:
    asked = 0

    def entries() -> object:
        nonlocal asked
        for number in range(1000):
            asked += 1
            yield entry(number)

    results = encode_in_order(entries(), lambda of: Prepared(of, picture()), Graph(), workers=2, batch=2)
    next(results)
    assert asked <= 3 * 2 + AHEAD_PER_WORKER * 2 + 1
    results.close()
    assert asked < 20
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_out_of_memory_halves_the_batch_for_good() -> None:
    graph = Graph(room=3)
    entries = [entry(number) for number in range(20)]
    found = list(encode_in_order(entries, lambda of: Prepared(of, picture()), graph, workers=2, batch=8))
    assert [of for of, _ in found] == entries
    assert graph.refused == [8, 4]
    assert set(map(len, graph.runs)) == {2}


def test_no_room_for_one_is_an_error_and_what_came_before_is_out() -> None:
    graph = Graph()

    def forward(pictures: Pictures) -> list[EncodedImage]:
        if pictures[0][0].key == "400.3":
            raise OutOfMemory("no room for one")
        return graph(pictures)

    keys: list[str] = []
    results = encode_in_order(map(entry, range(6)), lambda of: Prepared(of, picture()), forward, workers=2, batch=1)
    with pytest.raises(OutOfMemory, match="no room for one"):
        keys.extend(of.key for of, _ in results)
    assert keys == ["400.0", "400.1", "400.2"]


def test_another_failure_of_the_graph_is_not_tried_again() -> None:
    calls = []

    def forward(pictures: Pictures) -> list[EncodedImage]:
        calls.append(len(pictures))
        raise ProviderError("the device is gone")

    with pytest.raises(ProviderError, match="gone"):
        list(encode_in_order(map(entry, range(9)), lambda of: Prepared(of, picture()), forward, workers=2, batch=4))
    assert calls == [4]


def test_an_error_while_preparing_ends_it_with_that_error() -> None:
    def prepare(of: ImageEntry) -> Prepared:
        if of.key == "400.4":
            raise PermissionError("the store is gone")
        return Prepared(of, picture())

    with pytest.raises(PermissionError, match="the store is gone"):
        list(encode_in_order(map(entry, range(50)), prepare, Graph(), workers=3, batch=2))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


def test_decoding_runs_beside_the_graph() -> None:
    """Each decoding waits until another one runs at the same time: with one thread that would never be."""
    both = threading.Barrier(2, timeout=20)

    def prepare(of: ImageEntry) -> Prepared:
        both.wait()
        return Prepared(of, picture())

    assert len(list(encode_in_order(map(entry, range(8)), prepare, Graph(), workers=2, batch=1))) == 8


def test_the_graph_runs_while_the_caller_is_busy() -> None:
    """The second run is over before the caller comes back from what it does with the first photograph."""
    second = threading.Event()

    def forward(pictures: Pictures) -> list[EncodedImage]:
        if pictures[0][0].key == "400.1":
            second.set()
        return [encoded(of) for of, _ in pictures]

    results = encode_in_order(map(entry, range(3)), lambda of: Prepared(of, picture()), forward, workers=1, batch=1)
    assert next(results)[0].key == "400.0"
    assert second.wait(timeout=20)
    assert [of.key for of, _ in results] == ["400.1", "400.2"]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("graph")]
