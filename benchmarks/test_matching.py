"""All pairs, from maps in memory to matches, against other ways, in one run: `pytest benchmarks/test_matching.py`."""

from pathlib import Path

import pytest

from benchmarks.matching.measure import BARS, LEAST_SHARE, compare, has_vnni, int8_share


def test_all_pairs_at_the_speed_of_the_product(quick: bool, capsys: pytest.CaptureFixture[str]) -> None:
    comparison = compare(quick)
    with capsys.disabled():
        print(f"\n\n{comparison.table()}")
    assert comparison.ratio("fp32") <= BARS["fp32"]
    if has_vnni():
        assert comparison.ratio("int8") <= BARS["int8"]
    exact, fast = (comparison.timings[f"ours, {precision}"].matches for precision in BARS)
    assert fast == pytest.approx(exact, rel=0.01)


def test_int8_finds_the_matches_of_real_photographs(aerial: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = int8_share(aerial)
    with capsys.disabled():
        print(f"\n{found}")
    assert found.share >= LEAST_SHARE
    assert found.beside <= (1 - LEAST_SHARE) * found.fp32
