"""The built-in matchers against plain loops over a float64 similarity matrix."""

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from engine import FeatureMap, Matches, UsageError
from engine.plugin_options import matching_mode, parse_options
from plugins import mutual_knn, nearest, ratio_test
from plugins.mutual_knn import MutualKnnOptions
from plugins.ratio_test import RatioTestOptions

Pairs = set[tuple[int, int]]


def as_map(descriptors: NDArray[np.float16]) -> FeatureMap:
    count = len(descriptors)
    index = np.arange(count, dtype=np.int32)
    return FeatureMap(
        "m", descriptors, np.ones(count, np.float32), index, np.ones(1, np.float32), (1, count), (9, 9), (9, 9)
    )


def random_map(count: int, dim: int, seed: int) -> FeatureMap:
    tokens = np.random.default_rng(seed).normal(size=(count, dim))
    return as_map((tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float16))


def coarse_map(count: int, seed: int) -> FeatureMap:
    """Tokens of three values of 1/4 on four axes: many exact ties, and all sums exact in float32."""
    return as_map(np.random.default_rng(seed).integers(-1, 2, (count, 4)).astype(np.float16) / 4)


def similarity_of(a: FeatureMap, b: FeatureMap) -> list[list[float]]:
    return [[sum(float(x) * float(y) for x, y in zip(i, j, strict=True)) for j in b.descriptors] for i in a.descriptors]


def ranked(values: list[float]) -> list[int]:
    return sorted(range(len(values)), key=lambda index: (-values[index], index))


def mutual_knn_by_loops(a: FeatureMap, b: FeatureMap, k: int) -> Pairs:
    rows = similarity_of(a, b)
    cols = [list(col) for col in zip(*rows, strict=True)]
    return {(i, j) for i, row in enumerate(rows) for j in ranked(row)[:k] if i in ranked(cols[j])[:k]}


def ratio_test_by_loops(a: FeatureMap, b: FeatureMap, ratio: float, mutual: bool) -> Pairs:
    def one_way(rows: list[list[float]]) -> dict[int, int]:
        kept = {}
        for i, row in enumerate(rows):
            order = ranked(row)
            distance = [max(0.0, 2 - 2 * min(1.0, row[j])) ** 0.5 for j in order[:2]]
            if len(order) == 1 or distance[0] < ratio * distance[1]:
                kept[i] = order[0]
        return kept

    rows = similarity_of(a, b)
    forward, backward = one_way(rows), one_way([list(col) for col in zip(*rows, strict=True)])
    return {(i, j) for i, j in forward.items() if not mutual or backward.get(j) == i}


def pairs(matches: Matches) -> Pairs:
    return {*zip(matches.index_a.tolist(), matches.index_b.tolist(), strict=True)}


@pytest.mark.parametrize("k", [1, 2, 5, 100])
@pytest.mark.parametrize("counts", [(1, 1), (1, 9), (40, 31), (31, 40)], ids=str)
def test_mutual_knn_equals_loops(k: int, counts: tuple[int, int]) -> None:
    a, b = random_map(counts[0], 8, 0), random_map(counts[1], 8, 1)
    assert pairs(mutual_knn.match(a, b, MutualKnnOptions(k))) == mutual_knn_by_loops(a, b, k)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_mutual_knn_gives_ties_to_the_lowest_index(k: int) -> None:
    a, b = coarse_map(60, 2), coarse_map(50, 3)
    expected = mutual_knn_by_loops(a, b, k)
    assert len(expected) >= 10
    assert pairs(mutual_knn.match(a, b, MutualKnnOptions(k))) == expected


@pytest.mark.parametrize("mutual", [True, False])
@pytest.mark.parametrize("ratio", [0.7, 0.9, 1.0])
@pytest.mark.parametrize("counts", [(1, 1), (1, 9), (9, 1), (60, 45)], ids=str)
def test_ratio_test_equals_loops(counts: tuple[int, int], ratio: float, mutual: bool) -> None:
    a, b = random_map(counts[0], 4, 4), random_map(counts[1], 4, 5)
    expected = ratio_test_by_loops(a, b, ratio, mutual)
    assert counts != (60, 45) or len(expected) > 0
    assert pairs(ratio_test.match(a, b, RatioTestOptions(ratio, mutual))) == expected


def test_a_smaller_ratio_keeps_fewer() -> None:
    a, b = random_map(60, 4, 4), random_map(45, 4, 5)
    kept = [len(ratio_test.match(a, b, RatioTestOptions(ratio, False))) for ratio in (0.5, 0.7, 0.9, 1.0)]
    assert kept == sorted(kept)
    assert kept[0] < kept[1] < kept[3] == len(a)


def test_of_two_equal_nearest_tokens_neither_passes_the_ratio_test() -> None:
    b = as_map(np.array([[1, 0], [1, 0], [0, 1]], np.float16))
    a = as_map(np.array([[1, 0], [0, 1]], np.float16))
    assert pairs(ratio_test.match(a, b, RatioTestOptions(1.0, False))) == {(1, 2)}


@pytest.mark.parametrize("rows_of_b", [1, 3, 7, 1000])
def test_block_size_changes_nothing(monkeypatch: pytest.MonkeyPatch, rows_of_b: int) -> None:
    a, b = coarse_map(64, 6), coarse_map(50, 7)
    whole = [mutual_knn.match(a, b, MutualKnnOptions(3)), ratio_test.match(a, b, RatioTestOptions())]
    monkeypatch.setattr(nearest, "BLOCK_ELEMENTS", rows_of_b * len(b))
    blocks = [mutual_knn.match(a, b, MutualKnnOptions(3)), ratio_test.match(a, b, RatioTestOptions())]
    for one, other in zip(whole, blocks, strict=True):
        assert np.array_equal(one.index_a, other.index_a)
        assert np.array_equal(one.index_b, other.index_b)
        assert np.array_equal(one.similarity, other.similarity)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(1, 25), st.integers(1, 25), st.integers(1, 4), st.integers(0, 10**6), st.booleans())
def test_swapping_the_images_swaps_the_matches(n_a: int, n_b: int, k: int, seed: int, ties: bool) -> None:
    a, b = (coarse_map(n, seed + n) if ties else random_map(n, 6, seed + n) for n in (n_a, n_b))
    for match, options in ((mutual_knn.match, MutualKnnOptions(k)), (ratio_test.match, RatioTestOptions(0.95))):
        there, back = match(a, b, options), match(b, a, options)  # type: ignore[operator]
        assert pairs(there) == {(i, j) for j, i in pairs(back)}
        assert np.array_equal(np.sort(there.similarity), np.sort(back.similarity))


def test_rounded_descriptors_never_exceed_a_cosine_of_one() -> None:
    tokens = random_map(200, 64, 8)
    lifted = replace(
        tokens, descriptors=np.nextafter(tokens.descriptors, np.float16(np.inf) * np.sign(tokens.descriptors))
    )
    norms = np.linalg.norm(lifted.descriptors.astype(np.float64), axis=1)
    assert norms.min() > 1
    matches = mutual_knn.match(lifted, lifted, MutualKnnOptions())
    assert matches.similarity.max() == 1.0
    assert len(ratio_test.match(lifted, lifted, RatioTestOptions())) == 200


def test_memory_stays_bounded_on_large_maps() -> None:
    a, b = random_map(7000, 8, 9), random_map(7000, 8, 10)
    tracemalloc.start()
    mutual_knn.match(a, b, MutualKnnOptions(2))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    whole_matrix = 7000 * 7000 * 4
    assert peak < whole_matrix / 3


def test_modes_of_result_files() -> None:
    [knn], [ratio] = mutual_knn.engine_matchers(), ratio_test.engine_matchers()
    assert matching_mode(knn, knn.options()) == "mutual_knn_k1_unique"
    assert matching_mode(knn, MutualKnnOptions(5)) == "mutual_knn_k5_unique"
    assert matching_mode(ratio, ratio.options()) == "ratio_test_r0.9_mutual_unique"
    assert matching_mode(ratio, RatioTestOptions(0.85, False)) == "ratio_test_r0.85_unique"


@pytest.mark.parametrize(
    ("options_type", "assignment"),
    [
        (MutualKnnOptions, "k=0"),
        (MutualKnnOptions, "k=1.5"),
        (RatioTestOptions, "ratio=0"),
        (RatioTestOptions, "ratio=1.1"),
    ],
)
def test_values_out_of_range_are_refused(options_type: type, assignment: str) -> None:
    with pytest.raises(UsageError):
        parse_options(options_type, [assignment], "-M")
