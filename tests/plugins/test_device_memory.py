"""Memory of the GPU: maps stay there while there is room, and work that does not fit is split. On the CPU provider."""

import gc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from test_mutual_device import check, random_map

from engine import Device, FeatureMap, OutOfMemory, WorkError
from plugins import device_maps
from plugins.device_maps import DeviceMaps
from plugins.mutual_device import DeviceBlockMatcher

NO_ROOM = "Non-zero status code returned while running MatMul node. Failed to allocate memory for requested buffer"


class Failing:
    """A session that fails where a run computes more than so many pairs."""

    def __init__(self, session: Any, most: int, told: str = NO_ROOM) -> None:
        self.session, self.most, self.told = session, most, told
        self.sizes: list[int] = []

    def io_binding(self) -> Any:
        binding, self.shapes = self.session.io_binding(), {}
        bind = binding.bind_cpu_input

        def noted(name: str, array: np.ndarray) -> None:
            self.shapes[name] = array.shape
            bind(name, array)

        binding.bind_cpu_input = noted
        return binding

    def run_with_iobinding(self, binding: Any) -> None:
        pairs = self.shapes["rows"][0] * self.shapes["columns"][1]
        self.sizes.append(pairs)
        if pairs > self.most:
            raise RuntimeError(f"{self.told}\nmore lines")
        self.session.run_with_iobinding(binding)


@pytest.fixture
def matcher() -> DeviceBlockMatcher:
    return DeviceBlockMatcher(Device("CPUExecutionProvider"))


def block(count: int, seed: int) -> list[FeatureMap]:
    return [random_map(7 + (seed + at) % 5, seed + at) for at in range(count)]


@pytest.mark.parametrize("most", [1, 3, 20])
@pytest.mark.parametrize("share", [0.3, 1.0])
def test_work_is_halved_until_it_fits(matcher: DeviceBlockMatcher, most: int, share: float) -> None:
    failing = matcher._session = Failing(matcher._session, most)
    a, b = block(6, 0), block(9, 100)
    wanted = np.random.default_rng(0).random((6, 9)) < share
    check(a, b, wanted, list(matcher(a, b, wanted)))
    tried = len(failing.sizes)
    # What was learnt holds for the next block.
    check(a, b, wanted, list(matcher(a, b, wanted)))
    assert max(failing.sizes[tried:]) <= most


def test_a_pair_for_which_there_is_no_room(matcher: DeviceBlockMatcher) -> None:
    matcher._session = Failing(matcher._session, 0)
    a = block(3, 0)
    with pytest.raises(OutOfMemory, match=r"matching on the device failed: .*--max-features") as raised:
        list(matcher(a, a, np.ones((3, 3), bool)))
    assert "more lines" not in str(raised.value)


def test_other_failures_are_not_tried_again(matcher: DeviceBlockMatcher) -> None:
    failing = matcher._session = Failing(matcher._session, 0, "CUDA failure 719")
    a = block(3, 0)
    with pytest.raises(WorkError, match="CUDA failure 719") as raised:
        list(matcher(a, a, np.ones((3, 3), bool)))
    assert not isinstance(raised.value, OutOfMemory)
    assert failing.sizes == [9]


@pytest.mark.parametrize("most", [2, 3, 8])
def test_maps_that_have_no_room_together_go_there_in_parts(
    monkeypatch: pytest.MonkeyPatch, matcher: DeviceBlockMatcher, most: int
) -> None:
    def upload(self: DeviceMaps, array: np.ndarray) -> Any:
        if len(array) > most:
            raise RuntimeError(NO_ROOM)
        return original(self, array)

    original = DeviceMaps._upload
    monkeypatch.setattr(DeviceMaps, "_upload", upload)
    a, b = block(5, 0), block(6, 100)
    wanted = np.random.default_rng(0).random((5, 6)) < 0.8
    check(a, b, wanted, list(matcher(a, b, wanted)))
    most = 1
    with pytest.raises(OutOfMemory, match="copying feature maps"):
        list(matcher(block(2, 300), block(2, 400), np.ones((2, 2), bool)))


@pytest.fixture
def uploaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many maps went to the device, upload by upload."""
    counts = []
    original = DeviceMaps._upload

    def noted(self: DeviceMaps, array: np.ndarray) -> Any:
        if array.shape[2] > 1:
            counts.append(len(array))
        return original(self, array)

    monkeypatch.setattr(DeviceMaps, "_upload", noted)
    return counts


def test_a_map_goes_there_once(matcher: DeviceBlockMatcher, uploaded: list[int]) -> None:
    """All pairs of three blocks: every map takes part in several tiles."""
    blocks = [[random_map(9, 10 * number + at) for at in range(4)] for number in range(3)]
    for top in range(3):
        for left in range(top, 3):
            a, b = blocks[top], blocks[left]
            wanted = np.ones((4, 4), bool) if left > top else np.triu(np.ones((4, 4), bool), 1)
            check(a, b, wanted, list(matcher(a, b, wanted)))
    assert sum(uploaded) == 12


def test_a_larger_map_makes_all_go_there_anew(matcher: DeviceBlockMatcher, uploaded: list[int]) -> None:
    small, larger = [random_map(5, seed) for seed in range(3)], [random_map(8, 7)]
    for a, b in ((small[:1], small[1:]), (small, larger), (small[:2], small[2:]), (larger, small)):
        wanted = np.ones((len(a), len(b)), bool)
        check(a, b, wanted, list(matcher(a, b, wanted)))
    assert uploaded == [3, 4]


def test_what_was_not_used_for_longest_leaves_first(
    monkeypatch: pytest.MonkeyPatch, uploaded: list[int], matcher: DeviceBlockMatcher
) -> None:
    maps = [random_map(8, seed) for seed in range(5)]
    monkeypatch.setattr(device_maps, "HELD_BYTES", 3 * maps[0].descriptors.nbytes)
    one = np.ones((1, 1), bool)

    def match(first: int, second: int) -> None:
        a, b = [maps[first]], [maps[second]]
        check(a, b, one, list(matcher(a, b, one)))

    for first, second in ((0, 1), (0, 2), (0, 3), (0, 2), (0, 1)):
        match(first, second)
    assert uploaded == [2, 1, 1, 1]
    assert len(matcher._maps._held) == 3
    # All of a block have room, whatever the limit.
    wanted = np.triu(np.ones((5, 5), bool), 1)
    check(maps, maps, wanted, list(matcher(maps, maps, wanted)))
    assert len(matcher._maps._held) == 5


def test_maps_there_do_not_keep_those_in_memory(matcher: DeviceBlockMatcher, uploaded: list[int]) -> None:
    def matched(make: Callable[[], list[FeatureMap]]) -> None:
        a, b = make()
        check([a], [b], np.ones((1, 1), bool), list(matcher([a], [b], np.ones((1, 1), bool))))

    for seed in range(4):
        matched(lambda seed=seed: [random_map(6, 2 * seed), random_map(6, 2 * seed + 1)])
        gc.collect()
        assert all(held() is None for held in matcher._maps._held)
    assert uploaded == [2] * 4
    assert len(matcher._maps._held) == 2
