"""Which form of a matcher runs."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

import engine.block_run
import engine.runtime
from engine import Device, FeatureMap, MatcherRecord, Matches, UsageError
from engine.block_matching import BlockMatcher, match_block
from engine.onnx_session import CUDA_OPTIONS
from engine.runtime import OnnxRuntime
from plugins import mutual_knn
from plugins.mutual_knn import MutualKnnOptions


@dataclass(frozen=True)
class NoOptions:
    pass


def maps(count: int, seed: int) -> list[FeatureMap]:
    rng = np.random.default_rng(seed)
    tokens = rng.normal(size=(count, 12, 16))
    unit = (tokens / np.linalg.norm(tokens, axis=2, keepdims=True)).astype(np.float16)
    index, ones = np.arange(12, dtype=np.int32), np.ones(12, np.float32)
    return [FeatureMap(str(i), row, ones, index, ones, (3, 4), (64, 48), (64, 48)) for i, row in enumerate(unit)]


def first_tokens(a: FeatureMap, b: FeatureMap, options: Any, /) -> Matches:
    zero = np.zeros(1, np.int32)
    return Matches(zero, zero, np.array([int(a.key) * 10 + int(b.key)], np.float32))


PLAIN = MatcherRecord("plain", "first tokens", NoOptions, lambda: first_tokens)


def test_a_matcher_without_a_fast_form_is_called_pair_by_pair() -> None:
    wanted = np.array([[True, False, True], [False, True, False]])
    found = list(match_block(PLAIN, maps(2, 0), maps(3, 1), wanted, NoOptions()))
    assert [(i, j, matches.similarity.tolist()) for i, j, matches in found] == [(0, 0, [0]), (0, 2, [2]), (1, 1, [11])]


def test_the_factory_is_called_once_for_many_blocks() -> None:
    calls = []
    record = replace(PLAIN, factory=lambda: calls.append(1) or first_tokens)
    matcher = BlockMatcher(record, NoOptions())
    for _ in range(3):
        assert len(list(matcher(maps(2, 0), maps(2, 1), np.ones((2, 2), bool)))) == 4
    assert calls == [1]


def test_a_precision_that_the_matcher_lacks() -> None:
    with pytest.raises(UsageError, match="--match-precision int8: the matcher 'plain' computes in fp32"):
        BlockMatcher(PLAIN, NoOptions(), "int8")


@pytest.mark.parametrize("wanted", [np.ones((2, 3), bool), np.ones((3, 2), np.int8)], ids=["shape", "type"])
def test_wanted_must_fit(wanted: Any) -> None:
    with pytest.raises(ValueError, match="wanted must be bool"):
        list(match_block(PLAIN, maps(3, 0), maps(2, 1), wanted, NoOptions()))


def test_on_cuda_the_form_for_devices_runs_where_there_is_one() -> None:
    asked = []

    def device(chosen: Device, options: Any) -> Any:
        asked.append(chosen)
        return lambda a, b, wanted: iter([(1, 1, theirs)]) if options == MutualKnnOptions() else None

    [record] = mutual_knn.engine_matchers()
    record = replace(record, device=device)
    a, wanted = maps(2, 0), np.ones((2, 2), bool)
    theirs, last = first_tokens(a[1], a[1], None), np.array([[False, False], [False, True]])
    cuda = "CUDAExecutionProvider"
    assert list(BlockMatcher(record, MutualKnnOptions(), provider=cuda, device=1)(a, a, last)) == [(1, 1, theirs)]
    assert len(list(BlockMatcher(record, MutualKnnOptions(), "int8", provider=cuda)(a, a, wanted))) == 4
    assert len(list(BlockMatcher(record, MutualKnnOptions())(a, a, wanted))) == 4
    assert asked == [Device(cuda, 1, {**CUDA_OPTIONS, "device_id": "1"})]
    assert mutual_knn.on_device(asked[0], MutualKnnOptions(2)) is None


def test_a_run_matches_on_the_gpu_that_its_graph_is_on(monkeypatch: pytest.MonkeyPatch, match: Any) -> None:
    asked = []

    class OnOne(OnnxRuntime):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given[:2], ("cuda", 1))

        def _run_bound(self, images: Any) -> Any:
            return self._run(images)

    def spied(*given: Any) -> BlockMatcher:
        asked.append(given[4:])
        return BlockMatcher(*given)

    monkeypatch.setattr(engine.runtime, "OnnxRuntime", OnOne)
    monkeypatch.setattr(engine.block_run, "BlockMatcher", spied)
    assert match("-a", "400", "-b", "200", "-i", "96").code == 0
    assert asked == [("CPUExecutionProvider", 1)]
