"""`engine evaluate` from the command line, with a tiny graph."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import texture, write_photograph, write_tiny_graph

from engine.cli import main

PLAIN = ("-w", "vits16", "-i", "320", "--provider", "cpu")


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_graph(tmp_path / "graphs" / "vits16-fp32.onnx")
    monkeypatch.chdir(tmp_path)
    for name in ("IMG_ROOT", "DATASET_HOST", "EMBED_ROOT", "MATCH_ROOT", "EXPORT_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GRAPH_ROOT", str(tmp_path / "graphs"))
    monkeypatch.setenv("EXPORT_ROOT", str(tmp_path / "exports"))


def write_truth(folder: Path, **changes: Any) -> Path:
    """Flight 200 of the data set sees the ground 32 px further left."""
    pair = {"a": "400.0001", "b": "200.0001", "homography_a_to_b": [[1, 0, -32], [0, 1, 0], [0, 0, 1]], **changes}
    path = folder / "truth.json"
    path.write_text(json.dumps({"pairs": [{key: value for key, value in pair.items() if value is not None}]}))
    return path


def evaluated(*arguments: str) -> dict[str, Any]:
    assert main(["evaluate", *PLAIN, *arguments, "--json", "out/figures.json"]) == 0
    content: dict[str, Any] = json.loads(Path("out/figures.json").read_text())
    return content


def test_figures_of_a_truth_file(data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth = write_truth(tmp_path)
    content = evaluated("--truth", str(truth), "--images", str(data_set), "--exts", "png")
    (pair,) = content["pairs"]
    assert (pair["a"], pair["b"], pair["weights"]) == ("400.0001", "200.0001", "vits16")
    # The pictures differ by two whole patches, so that tokens and their places agree to the bit.
    assert pair["mean_transfer_error_pct"] < 0.01
    assert pair["success"] == {"0.5": True, "1": True, "3": True, "5": True}
    assert pair["matches"] > 300
    assert pair["inliers"] <= pair["matches"]
    assert pair["inlier_ratio"] == pytest.approx(pair["inliers"] / pair["matches"], abs=1e-6)
    assert pair["matches_within_patches"]["0.5"] > 0.9
    assert pair["median_inlier_error_px"] < 1e-6
    assert pair["time_ms"] > 0
    assert set(pair["references"]) == {"earlier procedure", "SIFT", "ORB"}
    earlier = pair["references"]["earlier procedure"]
    assert earlier["mean_transfer_error_pct"] < 0.01
    assert earlier["matches"] > 300
    assert pair["references"]["SIFT"]["mean_transfer_error_pct"] < 0.1
    summary = content["summary"]["vits16"]
    assert summary["pairs"] == 1
    assert summary["success"]["1"] == 1.0
    assert summary["area_under_curve"]["5"] == pytest.approx(1 - pair["mean_transfer_error_pct"] / 5)
    assert content["runs"][0]["settings"]["image_size"] == 320
    assert content["runs"][0]["provider"] == "CPUExecutionProvider"
    said = capsys.readouterr().out
    assert "400.0001 - 200.0001" in said
    assert "earlier procedure" in said
    assert "wrote out/figures.json" in said


def test_an_error_is_in_percent_of_bs_diagonal(data_set: Path, tmp_path: Path) -> None:
    """A truth that is 5 px off makes the found geometry 5 px wrong; b is 384 x 320 px, a's grid moves by the shift."""
    truth = write_truth(tmp_path, homography_a_to_b=[[1, 0, -29], [0, 1, 4], [0, 0, 1]])
    content = evaluated("--truth", str(truth), "--images", str(data_set), "--exts", "png", "--no-references")
    (pair,) = content["pairs"]
    assert pair["mean_transfer_error_pct"] == pytest.approx(100 * 5 / math.hypot(384, 320), abs=0.02)
    assert pair["median_inlier_error_px"] == pytest.approx(5.0, abs=1e-6)
    assert pair["references"] == {}


def test_match_options_are_those_of_match(data_set: Path, tmp_path: Path) -> None:
    truth = write_truth(tmp_path)
    common = ("--truth", str(truth), "--images", str(data_set), "--exts", "png", "--no-references")
    content = evaluated(*common, "--matcher", "ratio_test", "-M", "ratio=0.8", "--filter", "similarity", "-x", "100")
    settings = content["runs"][0]["settings"]
    assert (settings["matcher"], settings["matcher_options"]["ratio"]) == ("ratio_test", 0.8)
    assert (settings["filter"], settings["max_features"]) == ("similarity", 100)
    assert content["pairs"][0]["matches"] <= 100


def test_photographs_beside_the_truth_file_are_found(data_set: Path) -> None:
    truth = write_truth(data_set)
    assert len(evaluated("--truth", str(truth), "--exts", "png", "--no-references")["pairs"]) == 1


def test_synthetic_pairs_from_start_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_photograph(tmp_path / "sources" / "field.jpg", texture(1000, 1000))
    arguments = ("--synthetic", "sources", "--quick", "--pairs-per-level", "1", "--factors", "noise", "--out", "run")
    content = evaluated(*arguments)
    assert [(pair["factor"], pair["level"]) for pair in content["pairs"]] == [
        ("noise", 0),
        ("noise", 10),
        ("noise", 40),
    ]
    assert all(pair["references"]["SIFT"]["mean_transfer_error_pct"] < 0.1 for pair in content["pairs"])
    assert all(0.59 < pair["overlap"] < 0.81 for pair in content["pairs"])
    assert [entry["level"] for entry in content["levels"]["noise"]] == [0, 10, 40]
    assert content["levels"]["noise"][0]["methods"]["SIFT"]["success"]["1"] == 1.0
    assert content["summary_overlap_40"]["SIFT"]["pairs"] == 3
    assert content["sources"] == [{"name": "field.jpg", "size": [1000, 1000]}]
    assert content["baseline"]["rotation_deg"] == [-10.0, 10.0]
    assert (tmp_path / "run" / "curves" / "noise.png").is_file()
    assert len(list((tmp_path / "run" / "images").rglob("*.jpg"))) == 6
    assert "noise (sigma, grey levels)" in capsys.readouterr().out
    again = evaluated(*arguments)
    for first, second in zip(content["pairs"], again["pairs"], strict=True):
        assert first["mean_transfer_error_pct"] == second["mean_transfer_error_pct"]
        assert first["references"]["SIFT"]["inliers"] == second["references"]["SIFT"]["inliers"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"homography_a_to_b": [[1, 0, 0], [0, 1, 0]]}, "homography_a_to_b has the shape [2, 3]"),
        ({"homography_a_to_b": [[1, 0, 0], [0, 1], [0, 0, 1]]}, "must be 3 x 3 numbers"),
        ({"homography_a_to_b": [["x", 0, 0], [0, 1, 0], [0, 0, 1]]}, "must be 3 x 3 numbers"),
        ({"homography_a_to_b": [[math.nan, 0, 0], [0, 1, 0], [0, 0, 1]]}, "no numbers"),
        ({"homography_a_to_b": [[1, 0, 0], [2, 0, 0], [0, 0, 1]]}, "singular"),
        ({"homography_a_to_b": None}, "homography_a_to_b is missing"),
        ({"a": 4}, "pairs[0].a must be the key"),
        ({"b": "400.0001"}, "pairs 400.0001 with itself"),
        ({"b": "200"}, "'200' names 2 photographs"),
        ({"b": "200.0009"}, "no photograph is called '200.0009'"),
        ({"homography_a_to_b": [[1, 0, 9000], [0, 1, 0], [0, 0, 1]]}, "shares no ground"),
    ],
)
def test_a_wrong_truth_is_an_error_that_says_where(
    changes: dict[str, Any], message: str, data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write_truth(tmp_path, **changes)
    code = main(
        ["evaluate", *PLAIN, "--truth", str(truth), "--images", str(data_set), "--exts", "png", "--json", "f.json"]
    )
    said = capsys.readouterr().err
    assert code in (1, 2)
    assert message in said
    assert "Traceback" not in said
    assert not (tmp_path / "f.json").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[]", "'pairs' must be a list"), ('{"pairs": []}', "at least one pair"),
     ('{"pairs": [3]}', "pairs[0] must be an object"), (None, "cannot be read")],
)  # fmt: skip
def test_what_is_no_truth_file_is_refused(
    text: str | None, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    if text is not None:
        (tmp_path / "truth.json").write_text(text)
    assert main(["evaluate", *PLAIN, "--truth", "truth.json"]) == 1
    assert message in capsys.readouterr().err


def test_a_pair_given_twice_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pair = {"a": "400.1", "b": "200.1", "homography_a_to_b": np.eye(3).tolist()}
    (tmp_path / "truth.json").write_text(json.dumps({"pairs": [pair, pair]}))
    assert main(["evaluate", *PLAIN, "--truth", "truth.json"]) == 1
    assert "pairs[1] is 400.1 - 200.1 a second time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give one of --truth FILE"),
        (["--truth", "t.json", "--synthetic", "d"], "give one of --truth FILE"),
        (["--truth", "t.json", "-a", "400"], "-a does not apply"),
        (["--truth", "t.json", "--tag", "x"], "--tag does not apply"),
        (["--truth", "t.json", "--quick"], "--quick goes with --synthetic only"),
        (["--synthetic", "d", "--images", "x"], "--images goes with --truth only"),
        (["--truth", "t.json", "--filter", "fundamental"], "gives no map of points"),
        (["--truth", "t.json", "--filter", "homografy"], "homografy"),
        (["--synthetic", "d", "--factors", "rotate"], "no factor 'rotate'"),
        (["--truth", "t.json", "--json", "graphs"], "graphs is a folder"),
    ],
)
def test_wrong_usage_is_refused_before_any_work(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *PLAIN, *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_broken_photograph_fails_the_run(data_set: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = data_set / "B2_200" / "B2_200_0001.png"
    broken.write_bytes(broken.read_bytes()[:200])
    truth = write_truth(tmp_path)
    assert main(["evaluate", *PLAIN, "--truth", str(truth), "--images", str(data_set), "--exts", "png"]) == 1
    said = capsys.readouterr().err
    assert "nothing was measured" in said
    assert "B2_200_0001.png" in said
