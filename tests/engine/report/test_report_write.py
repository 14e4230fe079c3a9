"""What stands in a report's files, and that a folder is replaced whole or not at all."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import (
    INLIERS,
    SIZE_A,
    TRUE_MAP,
    ListSource,
    judged_run,
    pair_result,
    photograph,
    reference,
    run_info,
    small_run,
    write_small_report,
)

from engine.coordinates import project
from engine.errors import UsageError, WorkError
from engine.photographs import Photographs
from engine.report import ReportLimits, write_report
from engine.report.data_file import data_script, rounded
from engine.report.folder import replace_folder
from engine.report.listing import choose_detailed, group_of, list_pairs
from engine.report.pictures import file_name
from engine.report.source import FileSource, SourcePair, StoreSource
from engine.report.tokens import quantized
from engine.report.write import pairs_document
from engine.results import RunInfo
from engine.store.atomic import WriteError
from engine.store.matches_h5 import MatchStore, match_folder
from engine.store.result_json import result_path, write_result


def read_data(folder: Path, name: str) -> Any:
    """What a data file hands to the page."""
    text = (folder / "data" / f"{name}.js").read_text(encoding="ascii")
    start, end = f"Report.put({json.dumps(name)},", ");\n"
    assert text.startswith(start)
    assert text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


def test_the_listing_repeats_the_results(tmp_path: Path) -> None:
    source, _ = small_run(tmp_path)
    listing = list_pairs(source.pairs())
    assert [image.ref.key for image in listing.images] == [f"{alt}.000{n}" for alt in (400, 200) for n in (1, 2, 3)]
    assert [image.group for image in listing.images] == ["400"] * 3 + ["200"] * 3
    for row, pair in enumerate(source.pairs()):
        result = pair.result
        assert listing.images[listing.a[row]].ref.key == result.image_a.key
        assert listing.images[listing.b[row]].ref.key == result.image_b.key
        assert listing.matches[row] == len(result.similarity)
        assert listing.inliers[row] == int(result.verification.inliers.sum())
        assert listing.has_model[row] == (result.verification.matrix is not None)
        if result.verification.matrix is not None:
            kept = result.verification.inliers
            off = np.hypot(*(project(TRUE_MAP, result.points_a_px[kept]) - result.points_b_px[kept]).T)
            assert listing.error_px[row] == pytest.approx(np.median(off), abs=1e-4)
        else:
            assert np.isnan(listing.error_px[row])
    assert listing.forward_ms == [12.5] * 9, "an encoding of no time took place earlier"


def test_every_photograph_has_its_best_pair_in_detail_before_any_second_one(tmp_path: Path) -> None:
    source, _ = small_run(tmp_path)
    listing = list_pairs(source.pairs())
    assert choose_detailed(listing, 3) == [0, 4, 8]
    assert choose_detailed(listing, 0) == []
    everything = choose_detailed(listing, 100)
    assert sorted(everything) == list(range(9))
    assert [int(listing.inliers[row]) for row in everything] == sorted(listing.inliers.tolist(), reverse=True)


def test_verdicts_stand_in_the_data_and_rank_above_inliers(tmp_path: Path) -> None:
    probabilities = [0.2, 0.03, None, 0.97, 0.9999, 0.5, 0.1, 0.499999, 0.6]
    source = judged_run(tmp_path, probabilities)
    listing = list_pairs(source.pairs())
    document = pairs_document(listing, [])
    assert document["p"] == probabilities
    # Of one place are rows 3 to 5 and 8, with 7, 35, 9 and 30 inliers; row 0 has 40 and is of another place.
    assert [row for row in choose_detailed(listing, 9) if row in {0, 3, 4, 5, 8}] == [4, 8, 5, 3, 0]


@pytest.mark.parametrize(
    ("key", "group"), [("400.0001", "400"), ("F1:0400.0001", "F1:0400"), ("folder/stem", "folder"), ("a.b/c.d", "a.b")]
)
def test_groups(key: str, group: str) -> None:
    assert group_of(key) == group


def test_a_report_holds_its_data_and_pictures(tmp_path: Path) -> None:
    folder = write_small_report(tmp_path)
    run, pairs = read_data(folder, "run"), read_data(folder, "pairs")
    assert run["problems"] == []
    assert pairs["i"] == [INLIERS, 7, 8, 7, INLIERS - 5, 9, -1, 9, INLIERS - 10]
    assert pairs["p"] is None
    assert pairs["d"] == "1" * 9
    assert run["maps"] == 1
    assert read_data(folder, "pair/0")["tokens"] == ["tokens/0-upright", "tokens/3-upright"]
    assert read_data(folder, "pair/1")["tokens"] is None
    for row, image in enumerate(run["images"]):
        copy = cv2.imread(str(folder / f"images/{row:05d}.jpg"))
        assert (copy.shape[1], copy.shape[0]) == tuple(image["size"]), "smaller than 1,600 px: kept as it is"
        assert max(cv2.imread(str(folder / f"thumbs/{row:05d}.jpg")).shape) == 192
    first = next(small_run(tmp_path / "again")[0].pairs()).result
    detail = read_data(folder, "pair/0")
    assert np.abs(np.array(detail["a"]).reshape(-1, 2) - first.points_a_px).max() <= 0.05 + 1e-9
    assert np.abs(np.array(detail["s"]) - first.similarity).max() <= 5e-5 + 1e-9
    assert detail["in"] == "".join("1" if kept else "0" for kept in first.verification.inliers)
    assert detail["model"]["matrix"] == TRUE_MAP.tolist()
    assert json.loads((folder / detail["files"]["json"]).read_text())["points_px"]["a"] == first.points_a_px.tolist()
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert "type=module" not in page.replace('"', "")
    for line in page.splitlines():
        if "src=" in line:
            assert (folder / line.split('src="')[1].split('"')[0]).is_file(), line


def test_limits_bound_pages_maps_and_pictures(tmp_path: Path) -> None:
    source, embeds = small_run(tmp_path)
    drawn = []

    def draw(pair: SourcePair, picture: Path) -> None:
        drawn.append(pair.file.name)
        picture.write_bytes(b"png")

    limits = ReportLimits(details=2, heat_pairs=0, pictures=1)
    summary = write_report(source, tmp_path / "report", Photographs(tmp_path / "images"), embeds, limits, draw)
    folder = summary.index.parent
    assert summary.details == 2
    assert sorted(path.name for path in (folder / "data" / "pair").iterdir()) == ["0.js", "4.js"]
    assert not (folder / "data" / "tokens").exists()
    assert len(list((folder / "thumbs").iterdir())) == 6
    assert len(list((folder / "images").iterdir())) == 4
    assert drawn == ["0-0.json"]
    assert read_data(folder, "pairs")["d"] == "100010000"
    assert read_data(folder, "pair/0")["files"]["png"] == "files/0/0-0.png"


def test_large_photographs_are_reduced(tmp_path: Path) -> None:
    images = tmp_path / "images"
    photograph(images / "a.jpg", (2400, 1200), 1)
    photograph(images / "b.jpg", (440, 400), 2)
    a = replace(reference(images / "a.jpg", "x/a", "a"), size=(2400, 1200))
    b = reference(images / "b.jpg", "x/b", "b")
    source = ListSource([SourcePair(pair_result(a, b), tmp_path / "none.json", run_info(tmp_path))], images)
    folder = write_report(source, tmp_path / "report", Photographs(images), tmp_path).index.parent
    copies = {cv2.imread(str(path)).shape[:2] for path in (folder / "images").iterdir()}
    assert copies == {(800, 1600), (400, 440)}


def test_missing_and_altered_photographs_are_named_and_the_report_is_written(tmp_path: Path) -> None:
    source, embeds = small_run(tmp_path)
    gone, altered = tmp_path / "images/F_400/F_400_0001.jpg", tmp_path / "images/G_200/G_200_0002.jpg"
    gone.unlink()
    photograph(altered, (300, 200), 3)
    summary = write_report(source, tmp_path / "report", Photographs(tmp_path / "images"), embeds)
    assert len(summary.problems) == 2
    assert "F_400_0001.jpg" in summary.problems[0]
    assert "300 x 200" in summary.problems[1]
    images = read_data(summary.index.parent, "run")["images"]
    assert [image["picture"] for image in images] == [False, True, True, True, False, True]


def test_no_pair_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(WorkError, match="engine match"):
        write_report(ListSource([], tmp_path), tmp_path / "report", Photographs(tmp_path), tmp_path)
    assert not (tmp_path / "report").exists()


def test_a_folder_that_is_no_report_is_left_alone(tmp_path: Path) -> None:
    source, embeds = small_run(tmp_path)
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="left alone"):
        write_report(source, tmp_path / "report", Photographs(tmp_path / "images"), embeds)
    assert [path.name for path in (tmp_path / "report").iterdir()] == ["mine.txt"]


def test_a_report_is_replaced_whole(tmp_path: Path) -> None:
    folder = write_small_report(tmp_path)
    (folder / "data" / "stale.js").write_text("")
    source, embeds = small_run(tmp_path / "second")
    write_report(source, folder, Photographs(tmp_path / "second/images"), embeds)
    assert not (folder / "data" / "stale.js").exists()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_failure_leaves_the_earlier_report_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_small_report(tmp_path)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    source, embeds = small_run(tmp_path / "second")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(WriteError, match="disk is full"):
        write_report(source, folder, Photographs(tmp_path / "second/images"), embeds)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_stopping_leaves_nothing(tmp_path: Path) -> None:
    def stopped() -> None:
        with replace_folder(tmp_path / "report") as folder:
            folder.write("a/b.txt", b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert list(tmp_path.iterdir()) == []


@given(st.text())
def test_data_files_are_one_call_whatever_a_name_holds(text: str) -> None:
    script = data_script("run", {"name": text}).decode("ascii")
    assert "\n" not in script[:-1]
    assert json.loads(script.removeprefix('Report.put("run",').removesuffix(");\n")) == {"name": text}


def test_numbers_that_json_lacks_become_null() -> None:
    assert rounded(np.array([1.0, 2.344, np.nan, np.inf]), 2) == [1, 2.34, None, None]


def test_eight_bits_keep_cosines() -> None:
    values = np.random.default_rng(0).normal(size=(200, 384))
    values /= np.linalg.norm(values, axis=1, keepdims=True)
    packed = quantized(values).astype(np.float64)
    packed /= np.linalg.norm(packed, axis=1, keepdims=True)
    assert np.abs(packed @ packed.T - values @ values.T).max() < 0.005


def test_names_of_files_of_other_systems() -> None:
    assert file_name(Path("C:\\flights\\F_400\\F_400_0001.jpg")) == "F_400_0001.jpg"
    assert file_name(Path("/flights/F_400/F_400_0001.jpg")) == "F_400_0001.jpg"


def stored_run(root: Path, same_place: float | None = None) -> tuple[RunInfo, ListSource]:
    """`small_run`, perhaps with verdicts, as `engine match` leaves it: in a match store and as JSON files."""
    source = judged_run(root, [same_place] * 9)
    run = run_info(root)
    with MatchStore(match_folder(root / "match", run.settings), run) as store:
        for pair in source.pairs():
            store.append(pair.result)
    for pair in source.pairs():
        labels = (pair.result.image_a.label, pair.result.image_b.label)
        write_result(result_path(root / "match", "vits16", *labels), pair.result, run)
    return run, source


def test_a_stored_run_and_its_files_give_the_same_listing(tmp_path: Path) -> None:
    run, expected = stored_run(tmp_path, 0.75)
    stored = StoreSource(match_folder(tmp_path / "match", run.settings), tmp_path / "match")
    files = FileSource(tmp_path / "match", Photographs(tmp_path / "images"))
    wanted = list_pairs(expected.pairs())
    for source in (stored, files):
        found = list_pairs(source.pairs())
        assert len(source) == 9
        assert source.problems == []
        assert all(pair.file.is_file() for pair in source.pairs())
        for name in ("a", "b", "matches", "inliers", "has_model", "cosine", "same_place"):
            assert np.array_equal(getattr(found, name), getattr(wanted, name)), name
        assert np.allclose(found.error_px, wanted.error_px, atol=1e-3, equal_nan=True)
    assert stored.description.provider == "CPUExecutionProvider"
    assert stored.description.graph_sha256 == "ab" * 32


def test_damaged_result_files_are_named_and_the_others_used(tmp_path: Path) -> None:
    stored_run(tmp_path)
    broken = next((tmp_path / "match").glob("*/*.json"))
    broken.write_text("{")
    source = FileSource(tmp_path / "match", Photographs(tmp_path / "images"))
    assert len(source) == 8
    assert broken.name in source.problems[0]


def test_missing_photographs_do_not_hide_a_pair_of_sizes(tmp_path: Path) -> None:
    source, embeds = small_run(tmp_path)
    for path in (tmp_path / "images").rglob("*.jpg"):
        path.unlink()
    summary = write_report(source, tmp_path / "report", Photographs(tmp_path / "images"), embeds)
    assert (summary.pairs, summary.images) == (9, 6)
    assert read_data(summary.index.parent, "run")["images"][0]["size"] == list(SIZE_A)
