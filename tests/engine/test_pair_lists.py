"""`--pairs`: the pairs of each mode against their definitions."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from engine import retrieval
from engine.dataset import DataSet, ImageEntry
from engine.errors import UsageError
from engine.pair_lists import PairMode, select_pairs
from engine.pairs import Pair, enumerate_pairs
from engine.retrieval import nearest_pairs

ROOT = Path("/photos")


def _entry(flight: str, altitude: int, frame: int) -> ImageEntry:
    key = f"{flight}:{altitude}.{frame:04d}"
    path = ROOT / f"{flight}_{altitude}" / f"{flight}_{altitude}_{frame:04d}.jpg"
    return ImageEntry(key, key.replace(":", "_"), path, flight, str(altitude), f"{frame:04d}")


FLIGHTS = (("A", 400, (1, 2, 3, 7)), ("B", 200, (1, 2)), ("B", 400, (1, 5)))
DATASET = DataSet(ROOT, tuple(_entry(f, a, n) for f, a, frames in FLIGHTS for n in frames))


def keys(pairs: Sequence[Pair]) -> list[tuple[str, str]]:
    return [(pair.a.key, pair.b.key) for pair in pairs]


def unordered(pairs: Sequence[Pair]) -> set[frozenset[str]]:
    return {frozenset(pair) for pair in keys(pairs)}


def selected(text: str, a: str | None = None, b: str | None = None) -> Sequence[Pair]:
    return select_pairs(DATASET, a, b, PairMode.parse(text))


def test_all() -> None:
    assert keys(selected("all")) == keys(enumerate_pairs(DATASET, None, None))


def test_cross_altitude() -> None:
    found = selected("cross-altitude")
    assert unordered(found) == {
        frozenset((x.key, y.key)) for x, y in combinations(DATASET.entries, 2) if x.altitude != y.altitude
    }
    assert len(found) == 6 * 2
    narrowed = selected("cross-altitude", "B:400")
    assert keys(narrowed) == [(f"B:400.{a}", f"B:200.{b}") for a in ("0001", "0005") for b in ("0001", "0002")]


@pytest.mark.parametrize("count", [1, 2, 9])
def test_sequential_follows_frames_of_one_flight_and_altitude(count: int) -> None:
    wanted = set()
    for flight, altitude, frames in FLIGHTS:
        named = [f"{flight}:{altitude}.{frame:04d}" for frame in frames]
        wanted |= {frozenset((x, y)) for i, x in enumerate(named) for y in named[i + 1 : i + 1 + count]}
    assert unordered(selected(f"sequential:{count}")) == wanted


def test_sequential_goes_by_the_place_in_the_flight_also_where_one_side_is_given() -> None:
    assert keys(selected("sequential:1", "A:400.7")) == [("A:400.0007", "A:400.0003")]


def test_retrieval_takes_the_most_similar_of_each() -> None:
    descriptors = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32)
    found = select_pairs(DATASET, None, None, PairMode.parse("retrieval:2"), lambda entries: descriptors)
    unit = descriptors.astype(np.float64) / np.linalg.norm(descriptors, axis=1, keepdims=True)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -2)
    names = [entry.key for entry in DATASET.entries]
    assert unordered(found) == {
        frozenset((names[i], names[j])) for i in range(8) for j in np.argsort(-similarity[i])[:2]
    }
    one = select_pairs(DATASET, "A:400.1", "200", PairMode.parse("retrieval:1"), lambda entries: np.eye(len(entries)))
    assert len(one) == 2


@pytest.mark.parametrize("block", [1, 40, 10**6])
def test_retrieval_ties_go_to_the_first_and_unreadable_photographs_take_no_part(
    monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    monkeypatch.setattr(retrieval, "BLOCK_ELEMENTS", block)
    descriptors = np.ones((8, 4), np.float32)
    descriptors[0] = np.nan
    found = nearest_pairs(enumerate_pairs(DATASET, None, None), descriptors, 1)
    names = [entry.key for entry in DATASET.entries]
    assert keys(found) == [(names[1], name) for name in names[2:]]


def write(folder: Path, text: str, encoding: str = "utf-8") -> str:
    (folder / "pairs.txt").write_bytes(text.encode(encoding))
    return str(folder / "pairs.txt")


def test_a_list_names_files_and_keys_and_merges_repeats(tmp_path: Path) -> None:
    text = (
        "\ufeff# hloc's form\nB_200/B_200_0001.jpg A_400/A_400_0002.jpg\n\n"
        "A:400.3 B:200.2\r\nA_400/A_400_0002.jpg\tB_200/B_200_0001.jpg\nB:200.2 A_400/A_400_0003.jpg\n"
    )
    path = write(tmp_path, text)
    assert keys(selected(path)) == [("B:200.0001", "A:400.0002"), ("A:400.0003", "B:200.0002")]
    assert keys(selected(path, "400")) == [("A:400.0002", "B:200.0001"), ("A:400.0003", "B:200.0002")]
    assert keys(selected(path, "A:400.3")) == [("A:400.0003", "B:200.0002")]
    with pytest.raises(UsageError, match="leaves none of the 2 pair"):
        selected(path, "B:400.1", "B:200")


def test_names_with_spaces(tmp_path: Path) -> None:
    entries = tuple(ImageEntry(str(n), str(n), ROOT / "two words" / f"{n}.jpg", "A", "400", str(n)) for n in (1, 2))
    for line in ('"two words/1.jpg" "two words/2.jpg"', "two words/1.jpg\ttwo words/2.jpg"):
        mode = PairMode.parse(write(tmp_path, line))
        assert keys(select_pairs(DataSet(ROOT, entries), None, None, mode)) == [("1", "2")]


def test_every_unusable_line_is_told_with_its_number(tmp_path: Path) -> None:
    text = "A:400.1 A:400.2\nA_400/none.jpg A:400.1\nA:400.1\nA:400.1 A_400/A_400_0001.jpg\nA:400.1 200\n7.7 A:400.1\n"
    with pytest.raises(UsageError) as raised:
        selected(write(tmp_path, text))
    message = str(raised.value)
    assert message.startswith("5 line(s) of --pairs ")
    assert "line 2: there is no A_400/none.jpg below" in message
    assert "line 3: expected two image names" in message
    assert "line 4: both names are the same photograph" in message
    assert "line 5: '200' names 2 photographs" in message
    assert "line 6: no photograph is called '7.7'" in message
    with pytest.raises(UsageError, match=r"30 line\(s\)[\s\S]*line 10:[\s\S]*… and 20 more"):
        selected(write(tmp_path, "x y\n" * 30))


@pytest.mark.parametrize(("text", "encoding"), [("", "utf-8"), ("# nothing\n", "utf-8"), ("é x", "latin-1")])
def test_a_list_without_pairs_or_of_another_encoding(tmp_path: Path, text: str, encoding: str) -> None:
    with pytest.raises(UsageError, match=r"leaves none|not text in UTF-8"):
        selected(write(tmp_path, text, encoding))


@pytest.mark.parametrize(
    "text", ["retrieval", "retrieval:0", "retrieval:-1", "sequential:x", "sequential:", "alle", "retrieval:١", "", "."]
)
def test_a_mode_that_does_not_exist(text: str) -> None:
    with pytest.raises(UsageError, match="--pairs"):
        PairMode.parse(text)


def test_altitudes_of_files_outside_the_data_set_are_unknown(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").touch()
    for mode in ("cross-altitude", "sequential:1"):
        with pytest.raises(UsageError, match="outside the data set"):
            selected(mode, str(tmp_path / "x.jpg"))


def test_thousands_of_photographs_take_seconds() -> None:
    entries = tuple(_entry("A", 200 + 100 * (frame % 3), frame) for frame in range(2312))
    dataset = DataSet(ROOT, tuple(sorted(entries, key=lambda entry: (int(entry.altitude or 0), entry.frame or ""))))
    descriptors = np.random.default_rng(0).normal(size=(2312, 32)).astype(np.float32)
    found = select_pairs(dataset, None, None, PairMode.parse("retrieval:20"), lambda _: descriptors)
    assert 2312 * 10 <= len(found) <= 2312 * 20
    assert len(select_pairs(dataset, None, None, PairMode.parse("sequential:5"))) == sum(
        5 * n - 15 for n in (771, 771, 770)
    )
