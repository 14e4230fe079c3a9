"""Pairs: every one asked for, once, and none with itself."""

from collections.abc import Sequence
from itertools import combinations, product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dataset import DataSet, ImageEntry, scan
from engine.errors import DataSetError, KeyNotFoundError, UsageError
from engine.pairs import Pair, PairIndexList, enumerate_pairs


def _entry(flight: str, altitude: int, frame: int) -> ImageEntry:
    key = f"{flight}:{altitude}.{frame}"
    return ImageEntry(key, key.replace(":", "_"), Path(f"/photos/{key}.jpg"), flight, str(altitude), str(frame))


DATASET = DataSet(
    Path("/photos"), tuple(_entry(f, a, n) for f, a in (("A", 400), ("B", 200), ("B", 400)) for n in (1, 2))
)
ALL = [entry.key for entry in DATASET.entries]


def _keys(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    return [(pair.a.key, pair.b.key) for pair in pairs]


def test_without_arguments_all_pairs_in_order() -> None:
    assert _keys(enumerate_pairs(DATASET, None, None)) == list(combinations(ALL, 2))


def test_one_flight_against_another() -> None:
    pairs = enumerate_pairs(DATASET, "B:400", "A:400")
    assert _keys(pairs) == list(product(["B:400.1", "B:400.2"], ["A:400.1", "A:400.2"]))


def test_one_side_meets_all_others_on_its_own_side() -> None:
    others = [key for key in ALL if key != "B:200.1"]
    assert _keys(enumerate_pairs(DATASET, "200.1", None)) == [("B:200.1", key) for key in others]
    assert _keys(enumerate_pairs(DATASET, None, "200.1")) == [(key, "B:200.1") for key in others]


def test_an_altitude_against_itself_gives_each_pair_once() -> None:
    four = ["A:400.1", "A:400.2", "B:400.1", "B:400.2"]
    assert _keys(enumerate_pairs(DATASET, "400", "400")) == list(combinations(four, 2))


def test_overlapping_sides_give_each_pair_once() -> None:
    pairs = enumerate_pairs(DATASET, "400", "A:400")
    assert _keys(pairs) == [
        ("A:400.1", "A:400.2"),
        ("B:400.1", "A:400.1"),
        ("B:400.1", "A:400.2"),
        ("B:400.2", "A:400.1"),
        ("B:400.2", "A:400.2"),
    ]


_ARGUMENTS = st.sampled_from([None, "400", "200", "A:400", "B:400", "B:200", "200.2", "A:400.1", "B:400.2"])


@given(_ARGUMENTS, _ARGUMENTS)
def test_the_pairs_are_those_of_the_definition(a: str | None, b: str | None) -> None:
    side_a = DATASET.entries if a is None else DATASET.find(a)
    side_b = DATASET.entries if b is None else DATASET.find(b)
    wanted = {frozenset((x.key, y.key)) for x, y in product(side_a, side_b) if x != y}
    if not wanted:
        with pytest.raises(UsageError, match="are the same photograph"):
            enumerate_pairs(DATASET, a, b)
        return
    pairs = enumerate_pairs(DATASET, a, b)
    assert {frozenset(pair) for pair in _keys(pairs)} == wanted
    assert len(pairs) == len(wanted)
    assert all(pair.a in side_a and pair.b in side_b for pair in pairs)


def test_too_few_photographs() -> None:
    single = DataSet(Path("/photos"), DATASET.entries[:1])
    with pytest.raises(DataSetError, match="takes two photographs, but there are 1"):
        enumerate_pairs(single, None, None)
    with pytest.raises(DataSetError, match="only photograph"):
        enumerate_pairs(single, "400.1", None)


def test_an_argument_that_fits_several_flights() -> None:
    with pytest.raises(KeyNotFoundError, match=r"A:400\.1, B:400\.1"):
        enumerate_pairs(DATASET, "400.1", "200")


def _file(root: Path, name: str) -> str:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).touch()
    return str(root / name)


def test_files_that_share_folder_and_name_get_longer_keys(tmp_path: Path) -> None:
    empty = DataSet(tmp_path / "none", ())
    a, b = _file(tmp_path, "봄/100MEDIA/DJI_0001.JPG"), _file(tmp_path, "가을/100MEDIA/DJI_0001.JPG")
    (pair,) = enumerate_pairs(empty, a, b)
    assert (pair.a.key, pair.b.key) == ("봄/100MEDIA/DJI_0001", "가을/100MEDIA/DJI_0001")
    assert (pair.a.label, pair.b.label) == ("봄_100MEDIA_DJI_0001", "가을_100MEDIA_DJI_0001")
    (pair,) = enumerate_pairs(empty, a, _file(tmp_path, "봄/100MEDIA/DJI_0001.png"))
    assert (pair.a.key, pair.b.key) == ("100MEDIA/DJI_0001.JPG", "100MEDIA/DJI_0001.png")


def test_a_file_and_a_photograph_of_the_data_set_never_share_a_label(tmp_path: Path) -> None:
    _file(tmp_path, "data/A_400/A_400_1.jpg")
    _file(tmp_path, "data/B_400/B_400_1.jpg")
    (pair,) = enumerate_pairs(scan(tmp_path / "data"), "A:400.1", _file(tmp_path, "A/400.1.jpg"))
    assert pair.a.label == "A_400.1"
    assert pair.b.key == "A/400.1"
    assert pair.b.label.startswith("A_400.1~")


def test_the_same_file_twice_is_an_error(tmp_path: Path) -> None:
    path = _file(tmp_path, "x/one.jpg")
    with pytest.raises(UsageError, match="are the same photograph"):
        enumerate_pairs(DataSet(tmp_path, ()), path, path)


def test_a_pair_list_is_a_sequence() -> None:
    pairs = enumerate_pairs(DATASET, None, None)
    whole = [Pair(a, b) for a, b in combinations(DATASET.entries, 2)]
    assert len(pairs) == len(whole)
    assert list(pairs) == whole
    assert [pairs[row] for row in range(-len(pairs), len(pairs))] == whole * 2
    assert list(pairs[3:9:2]) == whole[3:9:2]
    assert list(reversed(pairs)) == whole[::-1]
    assert whole[4] in pairs
    with pytest.raises(IndexError):
        pairs[len(pairs)]


def test_distinct_keeps_the_first_of_two_directions() -> None:
    pairs = PairIndexList(DATASET.entries, np.array([2, 1, 1, 3, 0]), np.array([1, 2, 1, 0, 3]))
    assert _keys(pairs.distinct()) == [(ALL[2], ALL[1]), (ALL[3], ALL[0])]


def test_millions_of_pairs_take_little_room() -> None:
    entries = tuple(_entry("A", 400, frame) for frame in range(2312))
    data_set = DataSet(Path("/photos"), entries)
    for a in (None, "400"):
        pairs = enumerate_pairs(data_set, a, a)
        assert len(pairs) == 2312 * 2311 // 2 == 2_671_516
        assert pairs.first.nbytes + pairs.second.nbytes < 22e6
        assert (pairs[0].b.key, pairs[-1].a.key) == ("A:400.1", "A:400.2310")
