"""The matcher's graph for GPUs, run on the CPU provider, against the CPU matcher."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Device, FeatureMap, WorkError
from plugins import mutual_device, mutual_knn
from plugins.device_maps import open_session
from plugins.mutual_device import DeviceBlockMatcher
from plugins.mutual_knn import MutualKnnOptions


def as_map(descriptors: NDArray[np.float16]) -> FeatureMap:
    count = len(descriptors)
    index, size = np.arange(count, dtype=np.int32), (max(1, count), 1)
    ones = np.ones(max(1, count), np.float32)
    return FeatureMap("m", descriptors, ones[:count], index, ones[:1], (1, max(1, count)), size, size)


def random_map(count: int, seed: int) -> FeatureMap:
    tokens = np.random.default_rng(seed).normal(size=(count, 32))
    return as_map((tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float16))


def coarse_map(count: int, seed: int) -> FeatureMap:
    """Many exact ties, and sums that are exact in float32."""
    return as_map(np.random.default_rng(seed).integers(-1, 2, (count, 4)).astype(np.float16) / 4)


@pytest.fixture
def matcher() -> DeviceBlockMatcher:
    return DeviceBlockMatcher(Device("CPUExecutionProvider"))


@pytest.mark.parametrize("share", [0.2, 0.8, 1.0])
@pytest.mark.parametrize("room", [1, 20_000, 120_000, 1 << 30])
@pytest.mark.parametrize("kind", [random_map, coarse_map])
def test_a_block_gives_what_pairs_give(
    monkeypatch: pytest.MonkeyPatch, kind: Callable[[int, int], FeatureMap], room: int, share: float
) -> None:
    monkeypatch.setattr(mutual_device, "PRODUCT_BYTES", room)
    a = [kind(count, seed) for seed, count in enumerate((40, 0, 33, 1, 40))]
    b = [kind(count, 10 + seed) for seed, count in enumerate((25, 40, 0, 9, 31, 8))]
    wanted = np.random.default_rng(0).random((len(a), len(b))) < share
    matcher = DeviceBlockMatcher(Device("CPUExecutionProvider"))
    found = list(matcher(a, b, wanted))
    check(a, b, wanted, found)


def check(a: list[FeatureMap], b: list[FeatureMap], wanted: NDArray[np.bool_], found: list) -> None:
    assert [(i, j) for i, j, _ in found] == [tuple(pair) for pair in np.argwhere(wanted).tolist()]
    for i, j, matches in found:
        expected = mutual_knn.match(a[i], b[j], MutualKnnOptions())
        assert np.array_equal(matches.index_a, expected.index_a)
        assert np.array_equal(matches.index_b, expected.index_b)
        np.testing.assert_allclose(matches.similarity, expected.similarity, atol=1e-6)
        assert (matches.index_a.dtype, matches.similarity.dtype) == (np.int32, np.float32)


def test_opposite_tokens_match_too(matcher: DeviceBlockMatcher) -> None:
    a, b = as_map(np.array([[1, 0]], np.float16)), as_map(np.array([[-1, 0]], np.float16))
    bigger = as_map(np.array([[-1, 0], [0, -1], [0, 1]], np.float16))
    found = {(i, j): matches for i, j, matches in matcher([a], [b, bigger], np.ones((1, 2), bool))}
    assert found[0, 0].similarity.tolist() == [-1.0]
    assert found[0, 1].index_b.tolist() == [1]


def test_cosines_that_rounding_lifts_above_one_are_ties(matcher: DeviceBlockMatcher) -> None:
    maps = [as_map((np.eye(6) * scale).astype(np.float16)) for scale in (np.array([1, 1.001, 1, 1.002, 0.9, 1.001]), 1)]
    [(_, _, found)] = matcher(maps[:1], maps[1:], np.ones((1, 1), bool))
    assert found.index_a.tolist() == [0, 1, 2, 3, 5, 4]
    assert found.similarity[:5].tolist() == [1.0] * 5


def test_nothing_wanted(matcher: DeviceBlockMatcher) -> None:
    maps = [random_map(5, 0)]
    assert list(matcher(maps, maps, np.zeros((1, 1), bool))) == []
    assert list(matcher([], maps, np.zeros((0, 1), bool))) == []


@pytest.mark.parametrize("share", [0.05, 0.3, 0.7, 1.0])
def test_little_is_computed_that_nobody_wants(
    monkeypatch: pytest.MonkeyPatch, matcher: DeviceBlockMatcher, share: float
) -> None:
    parts = []
    run = matcher._run
    monkeypatch.setattr(matcher, "_run", lambda *given: parts.append(given[-1]) or run(*given))
    maps = [random_map(9, seed) for seed in range(40)]
    wanted = np.random.default_rng(1).random((20, 20)) < share
    found = list(matcher(maps[:20], maps[20:], wanted))
    check(maps[:20], maps[20:], wanted, found)
    assert sum(part.computed for part in parts) <= wanted.sum() / mutual_device.DENSE
    assert len(parts) == 1


def test_a_provider_that_does_not_start_is_an_error() -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    with pytest.raises(WorkError, match="did not start"):
        DeviceBlockMatcher(Device("CUDAExecutionProvider"))


def test_sessions_start_on_the_gpu_that_was_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    asked = []

    class Session:
        def __init__(self, path: str, options: object, providers: list, **_: object) -> None:
            asked.append(providers)

        def get_providers(self) -> list[str]:
            return ["CUDAExecutionProvider"]

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    given = {"device_id": "1", "arena_extend_strategy": "kSameAsRequested", "use_tf32": "0"}
    open_session("mutual_block", Device("CUDAExecutionProvider", 1, given))
    assert asked == [[("CUDAExecutionProvider", {**given, "use_tf32": "1"})]]
