"""Blocks of pairs: the same matches as pair by pair, decided exactly, whatever multiplies and however it is split."""

from collections.abc import Iterator
from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from engine import FeatureMap, Matches
from plugins import mutual_block, mutual_knn, mutual_nearest, products
from plugins.mutual_knn import MutualKnnOptions


def as_map(descriptors: NDArray[np.float16]) -> FeatureMap:
    count = len(descriptors)
    index = np.arange(count, dtype=np.int32)
    size = (max(1, count), 1)
    return FeatureMap(
        "m", descriptors, np.ones(count, np.float32), index, np.ones(1, np.float32), (1, max(1, count)), size, size
    )


def random_map(count: int, dim: int, seed: int) -> FeatureMap:
    tokens = np.random.default_rng(seed).normal(size=(count, dim))
    return as_map((tokens / np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), 1e-9)).astype(np.float16))


def crowded_map(count: int, dim: int, seed: int) -> FeatureMap:
    """Tokens around a few directions that differ in the last bits only: float32 cannot tell which is nearest."""
    rng = np.random.default_rng(seed)
    centres = random_map(8, dim, 99).descriptors[np.arange(count) % 8]
    towards = rng.choice(np.array([-np.inf, np.inf], np.float16), (count, dim))
    return as_map(np.where(rng.random((count, dim)) < 0.05, np.nextafter(centres, towards), centres))


def by_integers(a: FeatureMap, b: FeatureMap) -> set[tuple[int, int]]:
    """Mutual nearest neighbours from sums without rounding."""

    def whole(features: FeatureMap) -> list[list[int]]:
        return [[int(float(value) * 2**24) for value in row] for row in features.descriptors]

    rows = [[sum(x * y for x, y in zip(i, j, strict=True)) for j in whole(b)] for i in whole(a)]
    columns = [list(column) for column in zip(*rows, strict=True)]
    nearest = [row.index(max(row)) for row in rows]
    return {(i, j) for i, j in enumerate(nearest) if columns[j].index(max(columns[j])) == i}


def pairs(matches: Matches) -> set[tuple[int, int]]:
    return {*zip(matches.index_a.tolist(), matches.index_b.tolist(), strict=True)}


def same(one: Matches, other: Matches) -> bool:
    return all(
        np.array_equal(getattr(one, name), getattr(other, name)) for name in ("index_a", "index_b", "similarity")
    )


def blocks(
    a: list[FeatureMap], b: list[FeatureMap], wanted: Any = None, **how: Any
) -> Iterator[tuple[int, int, Matches]]:
    wanted = np.ones((len(a), len(b)), bool) if wanted is None else wanted
    return mutual_knn.block()(a, b, wanted, MutualKnnOptions(how.pop("k", 1)), **how)


@pytest.mark.parametrize("kind", [random_map, crowded_map])
@pytest.mark.parametrize("counts", [(1, 1), (1, 7), (30, 21), (21, 30)], ids=str)
def test_nearest_is_decided_without_rounding(kind: Any, counts: tuple[int, int]) -> None:
    a, b = kind(counts[0], 64, 0), kind(counts[1], 64, 1)
    assert pairs(mutual_knn.match(a, b, MutualKnnOptions())) == by_integers(a, b)


@pytest.mark.parametrize("tile", [10**6, 200])
def test_any_product_within_the_margin_gives_the_same(monkeypatch: pytest.MonkeyPatch, tile: int) -> None:
    a, b = random_map(50, 64, 2), random_map(40, 64, 3)
    wide_a, wide_b = a.descriptors.astype(np.float32), b.descriptors.astype(np.float32)
    noisy = (wide_a @ wide_b.T + np.random.default_rng(4).uniform(-0.05, 0.05, (50, 40))).astype(np.float32)
    exact = by_integers(a, b)
    nearest = noisy.argmax(axis=1)
    assert {(i, int(j)) for i, j in enumerate(nearest) if noisy[:, j].argmax() == i} != exact
    monkeypatch.setattr(mutual_nearest, "TILE_ELEMENTS", tile)
    found = mutual_nearest.mutual_matches(lambda rows: noisy[rows], 0.1001, wide_a, wide_b)
    assert pairs(found) == exact


@pytest.mark.parametrize("limit", [0, 1, 10**9])
def test_many_candidates_take_another_way_to_the_same_matches(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    a, b = crowded_map(40, 64, 4), crowded_map(33, 64, 5)
    monkeypatch.setattr(mutual_nearest, "MANY_CANDIDATES", limit)
    assert pairs(mutual_knn.match(a, b, MutualKnnOptions())) == by_integers(a, b)


@pytest.mark.parametrize("kind", [random_map, crowded_map])
@pytest.mark.parametrize("rows", [1, 3, 16])
@pytest.mark.parametrize("limit", [0, 10**9])
def test_maps_larger_than_a_tile(monkeypatch: pytest.MonkeyPatch, kind: Any, rows: int, limit: int) -> None:
    a, b = kind(40, 64, 6), kind(33, 64, 7)
    whole = mutual_knn.match(a, b, MutualKnnOptions())
    monkeypatch.setattr(mutual_nearest, "TILE_ELEMENTS", rows * len(b))
    monkeypatch.setattr(mutual_nearest, "MANY_CANDIDATES", limit)
    assert same(mutual_knn.match(a, b, MutualKnnOptions()), whole)


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_block_gives_what_pairs_give(precision: str, threads: int) -> None:
    a = [random_map(count, 48, seed) for seed, count in enumerate((40, 0, 33, 1, 40))]
    b = [random_map(count, 48, 10 + seed) for seed, count in enumerate((25, 40, 0, 9, 31, 8, 40))] + a[:1]
    wanted = np.random.default_rng(0).random((len(a), len(b))) < 0.7
    found = list(blocks(a, b, wanted, precision=precision, threads=threads))
    assert [(row, column) for row, column, _ in found] == [tuple(pair) for pair in np.argwhere(wanted).tolist()]
    assert all(same(matches, mutual_knn.match(a[i], b[j], MutualKnnOptions())) for i, j, matches in found)


def test_the_size_of_blocks_and_the_order_of_images_change_nothing() -> None:
    maps = [crowded_map(30, 64, seed) for seed in range(6)]
    whole = {(i, j): matches for i, j, matches in blocks(maps, maps, threads=2)}
    for i, j in product(range(6), repeat=2):
        [(_, _, alone)] = blocks([maps[i]], [maps[j]])
        assert same(alone, whole[i, j])
        assert pairs(whole[j, i]) == {(y, x) for x, y in pairs(alone)} or i == j


def test_more_neighbours_match_pair_by_pair() -> None:
    a, b = [random_map(20, 16, 0)], [random_map(25, 16, 1)]
    [(_, _, matches)] = blocks(a, b, k=3, precision="int8")
    assert same(matches, mutual_knn.match(a[0], b[0], MutualKnnOptions(3)))
    assert len(matches) > len(mutual_knn.match(a[0], b[0], MutualKnnOptions(1)))


def test_a_consumer_may_stop_early() -> None:
    maps = [random_map(20, 16, seed) for seed in range(12)]
    found = blocks(maps, maps, threads=2)
    assert next(found)[:2] == (0, 0)
    found.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("largest", [127, 63])
def test_8_bits_find_nearly_all_matches_with_their_exact_similarities(
    monkeypatch: pytest.MonkeyPatch, largest: int
) -> None:
    monkeypatch.setattr(mutual_block, "largest_int8", lambda: largest)
    rng = np.random.default_rng(0)
    ground = rng.normal(size=(600, 64))

    def view(seed: int) -> FeatureMap:
        tokens = ground[:400] + 0.5 * np.random.default_rng(seed).normal(size=(400, 64))
        return as_map((tokens / np.linalg.norm(tokens, axis=1, keepdims=True)).astype(np.float16))

    maps = [view(seed) for seed in range(4)]
    exact = {(i, j): m for i, j, m in blocks(maps, maps)}
    fast = {(i, j): m for i, j, m in blocks(maps, maps, precision="int8", threads=2)}
    wanted = sum(map(len, exact.values()))
    common = sum(len(pairs(exact[pair]) & pairs(fast[pair])) for pair in exact)
    assert wanted > 1000
    assert common >= 0.999 * wanted
    for pair, matches in fast.items():
        known = {(i, j): s for i, j, s in zip(*vars(exact[pair]).values(), strict=True)}
        found = zip(*vars(matches).values(), strict=True)
        assert all(known.get((i, j), s) == s for i, j, s in found)


def test_8_bit_products_do_not_saturate() -> None:
    largest = products.largest_int8()
    a = np.full((20, 384), 128 + largest, np.uint8)
    b = np.full((384, 20), largest, np.int8)
    b[:, 10:] *= -1
    expected = (a.astype(np.int32) - 128) @ b.astype(np.int32)
    assert np.array_equal(products.product_int8(a, b), expected)


def test_widening_is_exact_for_every_finite_float16() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    finite = every[np.isfinite(every)]
    assert np.array_equal(mutual_nearest.widen(finite).view(np.uint32), finite.astype(np.float32).view(np.uint32))


def test_the_error_bound_holds_and_is_no_wild_guess() -> None:
    for dim in (64, 1024):
        a, b = random_map(50, dim, 0).descriptors, random_map(50, dim, 1).descriptors
        error = np.abs(a.astype(np.float32) @ b.astype(np.float32).T - a.astype(np.float64) @ b.astype(np.float64).T)
        assert error.max() < mutual_nearest.error_bound(dim) < 1e-4 * dim / 64
