"""Pairs grouped into tiles: each pair in exactly one, no tile larger than asked for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.dataset import ImageEntry
from engine.pairs import Pair, PairIndexList
from engine.tiles import photographs_of, tiles

PAIRS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=120)


def entry(number: int) -> ImageEntry:
    return ImageEntry(f"400.{number}", f"400.{number}", Path(f"/{number}.jpg"), "A", "400", str(number))


@settings(max_examples=200, deadline=None)
@given(pairs=PAIRS, side=st.integers(1, 40))
def test_each_pair_is_in_one_tile_of_bounded_sides(pairs: list[tuple[int, int]], side: int) -> None:
    image_a = np.array([a for a, _ in pairs], np.intp)
    image_b = np.array([b for _, b in pairs], np.intp)
    seen: list[int] = []
    places = []
    for tile in tiles(image_a, image_b, side):
        assert len(tile.numbers) > 0
        assert len(tile.side_a) <= side
        assert len(tile.side_b) <= side
        assert np.array_equal(tile.side_a[tile.rows], image_a[tile.numbers])
        assert np.array_equal(tile.side_b[tile.columns], image_b[tile.numbers])
        assert set(tile.rows) == set(range(len(tile.side_a))), "a photograph is loaded for nothing"
        assert set(tile.columns) == set(range(len(tile.side_b)))
        inside = [(image_a[number], image_b[number]) for number in tile.numbers]
        assert inside == sorted(inside)
        places.append((inside[0][0] // side, inside[0][1] // side))
        seen += tile.numbers.tolist()
    assert sorted(seen) == list(range(len(pairs)))
    assert len(set(places)) == len(places), "one block of the matrix in two tiles"
    assert places == sorted(places), "blocks of a come one after the other, so that their maps stay in the cache"


def test_all_pairs_of_a_hundred_photographs_load_few_maps() -> None:
    """10 blocks of 10: the upper triangle has 55 blocks, each loads at most 20 photographs."""
    first, second = np.triu_indices(100, 1)
    made = list(tiles(first, second, 10))
    assert len(made) == 55
    assert sum(len(tile.numbers) for tile in made) == 4950
    assert sum(len(tile.side_a) + len(tile.side_b) for tile in made) <= 55 * 20


@settings(max_examples=100, deadline=None)
@given(pairs=PAIRS)
@pytest.mark.parametrize("as_numbers", [True, False])
def test_photographs_of_a_pair_list(as_numbers: bool, pairs: list[tuple[int, int]]) -> None:
    entries = [entry(number) for number in range(31)]
    first, second = (np.array([pair[side] for pair in pairs], np.intp) for side in (0, 1))
    given_pairs = (
        PairIndexList(entries, first, second) if as_numbers else [Pair(entries[a], entries[b]) for a, b in pairs]
    )
    used, image_a, image_b = photographs_of(given_pairs)
    assert [used[number].key for number in image_a] == [f"400.{a}" for a, _ in pairs]
    assert [used[number].key for number in image_b] == [f"400.{b}" for _, b in pairs]
    assert {of.key for of in used} == {f"400.{number}" for pair in pairs for number in pair}
    assert len(used) == len({of.key for of in used})
    if as_numbers:
        assert used == sorted(used, key=entries.index)
