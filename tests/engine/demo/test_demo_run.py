"""The flow of the demonstration, with matching and drawing replaced: what is matched, said and drawn; exit codes."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engine.cli_demo import DemoOptions, run_demo
from engine.cli_parser import CommandParser
from engine.demo import run
from engine.demo.photograph import TruePair, make_data_set
from engine.demo.table import Row, rows_as_text
from engine.errors import WorkError
from engine.hooks import ModelKind
from engine.results import ImageRef, PairResult, Verdict, Verification

SIZE = (240, 180)


def result(
    path_a: Path, path_b: Path, keys: tuple[str, str], matrix: np.ndarray | None, inliers: int, same_place: float = 0.1
) -> PairResult:
    images = [
        ImageRef(key, key, path, SIZE, SIZE, (11, 15), 1, 1) for key, path in zip(keys, (path_a, path_b), strict=True)
    ]
    count = 40
    mask = np.arange(count) < inliers
    tokens, points = np.arange(count, dtype=np.int32), np.zeros((count, 2))
    return PairResult(
        *images,
        0.9,
        tokens,
        tokens,
        points,
        points,
        np.linspace(0.9, 0.5, count).astype(np.float32),
        165,
        165,
        Verification("homography", ModelKind.POINT_MAP, {}, "encoded", matrix, mask),
        {"forward_a": 1.0, "forward_b": 1.0, "total": 1234.0},
        verdict=Verdict(same_place, (), None, None, 0.5, -2.0),
    )


class Fakes:
    """Stand-ins for matching and drawing, which record what they were asked for."""

    def __init__(self, shift_px: float | None = 1.0, drop: int = 0) -> None:
        self.shift_px = shift_px
        self.drop = drop
        self.true: list[TruePair] = []
        self.asked: list[tuple[str, str]] | None = []
        self.drawn: list[tuple[str, str]] = []

    def make_data_set(self, folder: Path, seed: int) -> list[TruePair]:
        self.true = make_data_set(folder, seed, size=SIZE, frames=2)
        return self.true

    def match(self, images_root: Path, exports_root: Path, pairs: Sequence[tuple[str, str]] | None) -> list[PairResult]:
        self.asked = None if pairs is None else list(pairs)
        true_of = {(pair.key_a, pair.key_b): pair for pair in self.true}
        path = {pair.key_a: pair.path_a for pair in self.true} | {pair.key_b: pair.path_b for pair in self.true}
        results = []
        for keys in reversed(pairs or list(true_of)):
            # Wrong pairs have more inliers than true ones, as they may have: it is the verdict that tells.
            matrix, inliers, same_place = None, 35, 0.04 if keys[0].endswith("1") else 0.28
            if keys in true_of:
                inliers, same_place = 30, 0.98 if keys[0].endswith("1") else 0.3
                if self.shift_px is not None:
                    matrix = np.array([[1, 0, self.shift_px], [0, 1, 0], [0, 0, 1.0]]) @ true_of[keys].a_to_b
            results.append(result(path[keys[0]], path[keys[1]], keys, matrix, inliers, same_place))
        return results[self.drop :]

    def draw(self, images_root: Path, exports_root: Path, results: Sequence[PairResult]) -> list[Path]:
        self.drawn = [(item.image_a.key, item.image_b.key) for item in results]
        return [exports_root / f"{a}_{b}.png" for a, b in self.drawn]


TRUE_KEYS = [("400.0001", "200.0001"), ("400.0002", "200.0002")]


def demonstrated(fakes: Fakes, out: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(run, "make_data_set", fakes.make_data_set)
    parsed = CommandParser(DemoOptions).parse_args(["--out", str(out), "--seed", "4", *arguments])
    return run_demo(parsed, fakes.match, fakes.draw)


def test_good_geometry_exits_0_and_the_table_says_how_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fakes = Fakes(shift_px=1.2)
    assert demonstrated(fakes, tmp_path / "out", monkeypatch) == 0
    assert fakes.asked == [*TRUE_KEYS, ("400.0001", "200.0002"), ("400.0002", "200.0001")]
    assert fakes.drawn == TRUE_KEYS
    said = capsys.readouterr().out
    lines = said.splitlines()
    row = next(line for line in lines if line.startswith("400.0001 - 200.0001"))
    assert row.split("|")[1].split() == ["40", "30", "0.40", "%", "1.23"]
    verdict = "Verdict: 1 of 2 pairs of one place are called the same place, and 0 of 2 pairs of different places."
    assert lines[lines.index(verdict) + 1] == "The likeliest of these, 400.0002 - 200.0001, gets: other place 0.72."
    assert f"Picture: {tmp_path / 'out' / '400.0002_200.0002.png'}" in lines
    assert (tmp_path / "out" / "images" / "truth.json").is_file()
    assert "All 2 places were matched within 0.5 % of the diagonal." in lines


@pytest.mark.parametrize(
    ("shift_px", "code"),
    [(1.4, 0), (1.6, 1), (None, 1)],
    ids=["within 0.5 % of the 300-px diagonal", "beyond", "no model"],
)
def test_the_limit_is_half_a_percent_of_the_diagonal(
    shift_px: float | None,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert demonstrated(Fakes(shift_px), tmp_path, monkeypatch) == code
    assert capsys.readouterr().out.count("FAILED") == 2 * code


def test_a_pair_that_was_not_matched_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WorkError, match=r"400\.0002 and 200\.0001 were not matched"):
        demonstrated(Fakes(drop=1), tmp_path, monkeypatch)


def test_a_folder_of_the_users_is_listed_best_first_without_errors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs = make_data_set(tmp_path / "mine", 1, size=SIZE, frames=1)
    fakes = Fakes()
    keys = [(f"400.{number:04d}", "200.0001") for number in range(1, 15)]
    many = [
        result(pairs[0].path_a, pairs[0].path_b, pair, None, 10 + (number * 7) % 14, 0.1 + 0.8 * (number == 2))
        for number, pair in enumerate(keys)
    ]

    def match(images_root: Path, exports_root: Path, asked: Sequence[tuple[str, str]] | None) -> list[PairResult]:
        assert images_root == tmp_path / "mine"
        assert asked is None
        return many

    monkeypatch.setattr(fakes, "match", match)
    monkeypatch.setattr(run, "make_data_set", partial(pytest.fail, "no scene is rendered"))
    code = run_demo(DemoOptions(out=str(tmp_path / "out"), images=str(tmp_path / "mine")), fakes.match, fakes.draw)
    assert code == 0
    by_keys = {(item.image_a.key, item.image_b.key): item.verification.inlier_count for item in many}
    assert fakes.drawn[0] == keys[2], "the one pair of one place comes first, whatever its inliers"
    others = sorted((count for pair, count in by_keys.items() if pair != keys[2]), reverse=True)
    assert [by_keys[pair] for pair in fakes.drawn[1:]] == others[:11]
    said = capsys.readouterr().out
    assert "These are the best 12 pairs of 14." in said
    assert "Verdict: 1 of 14 pairs show the same place" in said
    assert "error" not in said
    assert "%" not in said


def test_a_folder_without_pairs_is_a_plain_error(tmp_path: Path) -> None:
    def nothing(images_root: Path, exports_root: Path, pairs: Sequence[tuple[str, str]] | None) -> list[PairResult]:
        return []

    with pytest.raises(WorkError, match="no two photographs"):
        run_demo(DemoOptions(out=str(tmp_path), images=str(tmp_path)), nothing, Fakes().draw)


def test_options_have_sensible_defaults_and_ranges(capsys: pytest.CaptureFixture[str]) -> None:
    parser = CommandParser(DemoOptions, prog="engine demo")
    options = parser.parse_args([])
    assert (options.out, options.images, options.seed, options.image_size % 16) == ("demo", None, 1, 0)
    for wrong in (["--image-size", "15"], ["--seed", "-1"], ["--seed", "x"]):
        with pytest.raises(SystemExit) as stopped:
            parser.parse_args(wrong)
        assert stopped.value.code == 2
        assert wrong[0] in capsys.readouterr().err


def test_the_table_is_aligned_and_says_none_for_no_model() -> None:
    rows = [
        Row("400.0001 - 200.0001", True, 600, 480, 0.456, 1.5, 1400, 12, None, 0.25),
        Row("400.0002 - 200.0002", True, 70, 9, 12.3, 0.5, 10, 4, float("inf"), 10.0),
    ]
    lines = rows_as_text(rows).splitlines()
    bars = [[column for column, sign in enumerate(line) if sign in "|+"] for line in lines[:-1]]
    assert all(found == bars[0] for found in bars)
    assert len(bars[0]) == 2
    assert lines[3].split("|")[1].split() == ["600", "480", "0.46", "%", "1.50"]
    assert lines[3].split("|")[2].split() == ["1400", "12", "none", "0.25"]
    assert lines[4].split("|")[2].split() == ["10", "4", "inf", "%", "10.00"]
