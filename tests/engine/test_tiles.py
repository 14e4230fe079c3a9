"""Pairs grouped into tiles: each pair in exactly one, no tile larger than asked for."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dataset import ImageEntry
from engine.pairs import AllPairs, PairIndexList
from engine.tiles import photographs_of, tiles

PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=120)


def entry(number: int) -> ImageEntry:
    return ImageEntry(f"400.{number}", f"400.{number}", Path(f"/{number}.jpg"), "A", "400", str(number))


def pair_list(pairs: list[tuple[int, int]]) -> PairIndexList:
    first, second = (np.array([pair[side] for pair in pairs], np.intp) for side in (0, 1))
    return PairIndexList([entry(number) for number in range(31)], first, second)


@settings(max_examples=200, deadline=None)
@given(pairs=PAIRS, side=st.integers(1, 40))
def test_each_pair_is_in_one_tile_of_bounded_sides(pairs: list[tuple[int, int]], side: int) -> None:
    image_a = np.array([a for a, _ in pairs], np.intp)
    image_b = np.array([b for _, b in pairs], np.intp)
    used = {number: place for place, number in enumerate(sorted({number for pair in pairs for number in pair}))}
    seen: list[int] = []
    places = []
    for tile in tiles(pair_list(pairs), side):
        assert len(tile.numbers) > 0
        assert len(tile.side_a) <= side
        assert len(tile.side_b) <= side
        assert np.array_equal(tile.side_a[tile.rows], image_a[tile.numbers])
        assert np.array_equal(tile.side_b[tile.columns], image_b[tile.numbers])
        assert set(tile.rows) == set(range(len(tile.side_a))), "a photograph is loaded for nothing"
        assert set(tile.columns) == set(range(len(tile.side_b)))
        inside = [(image_a[number], image_b[number]) for number in tile.numbers]
        assert inside == sorted(inside)
        places.append((used[inside[0][0]] // side, used[inside[0][1]] // side))
        seen += tile.numbers.tolist()
    assert sorted(seen) == list(range(len(pairs)))
    assert len(set(places)) == len(places), "one block of the matrix in two tiles"
    assert places == sorted(places), "blocks of a come one after the other, so that their maps stay in the cache"


def test_all_pairs_of_a_hundred_photographs_load_few_maps() -> None:
    """10 blocks of 10: the upper triangle has 55 blocks, each loads at most 20 photographs."""
    made = list(tiles(AllPairs([entry(number) for number in range(100)]), 10))
    assert len(made) == 55
    assert sum(len(tile.numbers) for tile in made) == 4950
    assert sum(len(tile.side_a) + len(tile.side_b) for tile in made) <= 55 * 20


@pytest.mark.parametrize("side", [1, 7, 100])
def test_all_pairs_have_the_tiles_of_a_list_of_all(side: int) -> None:
    entries = [entry(number) for number in range(23)]
    for ours, listed in zip(
        tiles(AllPairs(entries), side), tiles(PairIndexList(entries, *np.triu_indices(23, 1)), side), strict=True
    ):
        for name in ("numbers", "rows", "columns", "side_a", "side_b"):
            assert np.array_equal(getattr(ours, name), getattr(listed, name)), name


def test_tiles_of_two_million_pairs_take_little_memory() -> None:
    pairs = AllPairs([entry(number) for number in range(2000)])
    tracemalloc.start()
    try:
        assert sum(len(tile.numbers) for tile in tiles(pairs, 64)) == 1_999_000
        assert tracemalloc.get_traced_memory()[1] < 16e6
    finally:
        tracemalloc.stop()


@settings(max_examples=100, deadline=None)
@given(pairs=PAIRS)
@pytest.mark.parametrize("as_numbers", [True, False])
def test_photographs_of_a_pair_list(as_numbers: bool, pairs: list[tuple[int, int]]) -> None:
    listed = pair_list(pairs)
    used = photographs_of(listed if as_numbers else list(listed))
    assert {of.key for of in used} == {f"400.{number}" for pair in pairs for number in pair}
    assert len(used) == len({of.key for of in used})
    assert list(PairIndexList.of(list(listed))) == list(listed)
    if as_numbers:
        assert used == sorted(used, key=listed.entries.index)
