"""Feature maps in memory: the least recently used leave first, and never more stay than the budget allows."""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dataset import ImageEntry
from engine.encoding import EncodedImage
from engine.errors import ImageReadError
from engine.feature_cache import FeatureCache
from engine.features import FeatureMap
from engine.results import ImageRef, MatchSettings
from engine.views import UPRIGHT, View

SETTINGS = MatchSettings("vits16", "builtin", "0" * 64, 336, 1000, 0.0, 0.1, 0.2, "mutual_knn")
DIM = 8
TURNED = View(90.0, 1.0)


def entry(number: int) -> ImageEntry:
    return ImageEntry(f"400.{number}", f"400.{number}", Path(f"/{number}.jpg"), "A", "400", str(number))


def tokens_of(number: int) -> int:
    return 4 * (number % 3 + 1)


def bytes_of(number: int) -> int:
    """What the arrays of a map take: descriptors, norms, indices and positions of its tokens, global descriptor."""
    return tokens_of(number) * (2 * DIM + 4 + 4 + 16) + 4 * DIM


class Encoder:
    def __init__(self, unreadable: frozenset[int] = frozenset()) -> None:
        self.calls: list[tuple[str, View]] = []
        self.unreadable = {entry(number).key for number in unreadable}

    def __call__(self, of: ImageEntry, view: View) -> EncodedImage:
        self.calls.append((of.key, view))
        if of.key in self.unreadable:
            raise ImageReadError(f"{of.path} is empty")
        return encoded(of)


def encoded(of: ImageEntry) -> EncodedImage:
    count = tokens_of(int(of.frame or 0))
    features = FeatureMap(
        of.key,
        np.ones((count, DIM), np.float16),
        np.ones(count, np.float32),
        np.arange(count, dtype=np.int32),
        np.ones(DIM, np.float32),
        (2, count // 2),
        (80, 80),
        (32, 32),
    )
    return EncodedImage(ImageRef(of.key, of.label, of.path, (80, 80), (32, 32), features.grid, 1, 2), features, 3.0)


@settings(max_examples=100, deadline=None)
@given(asked=st.lists(st.integers(0, 7), max_size=60), budget=st.integers(1, 6 * bytes_of(2)))
def test_it_keeps_what_a_plain_list_by_last_use_would(asked: list[int], budget: int) -> None:
    encoder = Encoder()
    cache = FeatureCache(encoder, SETTINGS, budget)
    kept: OrderedDict[int, int] = OrderedDict()
    misses = []
    for number in asked:
        assert cache(entry(number)).image.key == f"400.{number}"
        if number in kept:
            kept.move_to_end(number)
            continue
        misses.append(number)
        kept[number] = bytes_of(number)
        while sum(kept.values()) > budget and len(kept) > 1:
            kept.popitem(last=False)
    assert [key for key, _ in encoder.calls] == [f"400.{number}" for number in misses]


def test_a_map_that_was_added_is_not_encoded_and_replaces_the_old_one() -> None:
    encoder = Encoder()
    cache = FeatureCache(encoder, SETTINGS, 2 * bytes_of(0))
    for _ in range(5):  # the same photograph counts once, however often it is added
        cache.add(entry(0), encoded(entry(0)))
    cache.add(entry(3), encoded(entry(3)))
    assert cache(entry(0)).forward_ms == cache(entry(3)).forward_ms == 3.0
    assert encoder.calls == []


def test_views_are_kept_apart() -> None:
    encoder = Encoder()
    cache = FeatureCache(encoder, SETTINGS, 1 << 20)
    cache(entry(1))
    cache(entry(1), TURNED)
    cache(entry(1), TURNED)
    assert encoder.calls == [("400.1", UPRIGHT), ("400.1", TURNED)]


def test_an_unreadable_photograph_is_tried_once_in_whatever_view() -> None:
    encoder = Encoder(frozenset({1}))
    cache = FeatureCache(encoder, SETTINGS, 1 << 20)
    with pytest.raises(ImageReadError) as first:
        cache(entry(1))
    with pytest.raises(ImageReadError) as second:
        cache(entry(1), TURNED)
    assert second.value is first.value
    assert len(encoder.calls) == 1
    assert list(cache.unreadable) == ["400.1"]


def test_only_tokens_that_take_part_are_kept() -> None:
    few = MatchSettings("vits16", "builtin", "0" * 64, 336, 5, 0.0, 0.1, 0.2, "mutual_knn")
    prepared = FeatureCache(Encoder(), few, 1 << 20)(entry(2))
    assert len(prepared.features) == 5
    assert prepared.points_px.shape == (5, 2)
