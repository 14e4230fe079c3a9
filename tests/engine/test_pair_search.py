import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import texture, write_photograph, write_tiny_graph

from engine.cli import main
from engine.coordinates import project
from engine.dataset import file_entry
from engine.encoding import encode
from engine.photograph_encoder import PhotographEncoder
from engine.runtime import open_graph
from engine.selection import select_tokens
from engine.store.matches_h5 import MatchStore
from engine.views import View

MATCH = ["match", "--exts", "png", "-a", "400.0001", "-b", "200.0001", "-i", "320"]


@pytest.fixture
def turned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two flights: the second sees the ground turned clockwise by a quarter, and at half the size."""
    ground = texture(320, 480)
    write_photograph(tmp_path / "images/A_400/A_400_0001.png", ground)
    write_photograph(tmp_path / "images/B_200/B_200_0001.png", np.ascontiguousarray(np.rot90(ground, -1)))
    for name in ("IMG", "EXPORT"):
        monkeypatch.setenv(f"{name}_ROOT", str(tmp_path / {"IMG": "images", "EXPORT": "exports"}[name]))
    write_tiny_graph(tmp_path / "exports/dinov3_graphs/vits16-fp32.onnx")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def document(folder: Path) -> dict[str, Any]:
    (path,) = folder.rglob("vits16_400.0001_200.0001.json")
    return dict(json.loads(path.read_text(encoding="utf-8")))


def test_a_quarter_turn_is_found_and_coordinates_come_out_in_original_pixels(turned: Path) -> None:
    assert main([*MATCH, "--rotations", "4"]) == 0
    found = document(turned)
    assert found["search"] == {
        "view_a": {"rotation_deg": 0.0, "scale": 1.0},
        "view_b": {"rotation_deg": 270.0, "scale": 1.0},
        "views_tried": 4,
    }
    matrix = np.array(found["verification"]["matrix"])
    # A clockwise quarter turn of a picture 480 x 320 moves (x, y) to (319 - y, x).
    corners = np.array([[0.0, 0.0], [479.0, 0.0], [479.0, 319.0], [0.0, 319.0]])
    expected = np.column_stack([319 - corners[:, 1], corners[:, 0]])
    assert np.abs(project(matrix, corners) - expected).max() < 0.5
    assert found["verification"]["inlier_count"] > 100


def test_without_the_search_the_turn_is_not_found(turned: Path) -> None:
    assert main([*MATCH]) == 0
    found = document(turned)
    assert found["search"] == {
        "view_a": {"rotation_deg": 0.0, "scale": 1.0},
        "view_b": {"rotation_deg": 0.0, "scale": 1.0},
        "views_tried": 1,
    }
    assert found["verification"]["inlier_count"] < 30


def test_view_is_in_the_packed_results_and_stored_views_are_reused(
    turned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*MATCH, "--rotations", "4", "-e"]
    assert main(command) == 0
    (shard,) = (turned / "exports/pair_match").rglob("matches-*.h5")
    (result,) = MatchStore(shard.parent).results()
    first = document(turned)
    assert result.view_b == View(270.0)
    assert np.allclose(result.points_b_px, np.array(first["points_px"]["b"]), atol=1e-3)
    capsys.readouterr()
    assert main([*command, "--tag", "again"]) == 0
    assert "0 encoded, 5 reused" in capsys.readouterr().out
    again = json.loads(next((turned / "exports/pair_match-again").rglob("*0001.json")).read_text(encoding="utf-8"))
    for name in ("patch", "points_px", "verification", "search"):
        assert again[name] == first[name]


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 200.0])
def test_stored_and_fresh_views_are_equal_and_only_tokens_of_the_photograph_take_part(
    turned: Path, angle: float
) -> None:
    runtime = open_graph(turned / "exports/dinov3_graphs/vits16-fp32.onnx", "cpu")
    entry = file_entry(turned / "images/A_400/A_400_0001.png")
    view = View(angle)
    fresh = encode(entry, runtime, 192, view).features
    for _ in range(2):
        with PhotographEncoder(runtime, "0" * 64, 192, turned / "images", turned / "embeds") as encoder:
            stored = encoder.encode(entry, view).features
        assert np.array_equal(stored.descriptors, fresh.descriptors)
        assert np.array_equal(stored.points_px, fresh.points_px)
    chosen = select_tokens(stored, 0.0, 10**6)
    points = chosen.points_px
    assert points.min() >= -0.5
    assert (points <= np.array([479.5, 319.5])).all()
    # A token stands for 16 x 16 encoded pixels, so as many lie on the photograph as its area holds, up to its rim.
    area = 288 * 192 / 256
    assert abs(len(chosen) - area) <= (0 if angle % 90 == 0 else 0.12 * area)


def test_half_scale_is_found_where_the_altitudes_suggest_it(turned: Path) -> None:
    ground = texture(320, 480)
    large = np.repeat(np.repeat(ground, 2, axis=0), 2, axis=1)[:320, :480]
    write_photograph(turned / "images/B_200/B_200_0001.png", np.ascontiguousarray(large))
    assert main([*MATCH, "--scales", "auto"]) == 0
    found = document(turned)
    assert found["search"]["view_b"]["scale"] == 0.5
    matrix = np.array(found["verification"]["matrix"])
    assert np.allclose(matrix, [[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]], atol=0.05)


@pytest.mark.parametrize("wrong", [["--rotations", "5"], ["--scales", "big"], ["--scales", "0"], ["--scales", "1,nan"]])
def test_wrong_values(turned: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", *wrong]) == 2
    assert wrong[0].lstrip("-") in capsys.readouterr().err


def halves(document: dict[str, Any], side: str) -> dict[str, Any]:
    """All that a document says of the photograph of a side."""
    patch = document["patch"]
    return {
        "image": document["images"][side],
        "view": document["search"][f"view_{side}"],
        "tokens": [patch[f"n_{side}"], patch[f"n_selected_{side}"], patch[f"grid_g_{side}"]],
        "overlap": document["verdict"]["overlap"][side],
        "forward": document["time_ms"][f"forward_{side}"],
    }


@pytest.mark.parametrize(
    "arguments", [["--rotations", "4"], ["--scales", "2"], ["--rotations", "4", "--scales", "0.5"]]
)
def test_both_directions_tell_the_same_in_every_view(turned: Path, arguments: list[str]) -> None:
    assert main([*MATCH, *arguments, "--both-directions"]) == 0
    there = document(turned)
    (path,) = turned.rglob("vits16_200.0001_400.0001.json")
    back: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for side, other in ("ab", "ba"):
        found = halves(back, side)
        assert found == halves(there, other)
        # The picture as it was encoded: shorter side as asked for, times the scale of its view.
        assert min(found["image"]["encoded_size"]) == 320 * found["view"]["scale"]
        (width, height), (rows, cols) = found["image"]["encoded_size"], found["image"]["grid"]
        sideways = found["view"]["rotation_deg"] in (90.0, 270.0)
        assert (rows * 16, cols * 16) == ((width, height) if sideways else (height, width))

    def matches(document: dict[str, Any], first: str, second: str) -> list[Any]:
        patch, points = document["patch"], document["points_px"]
        columns = (patch[f"idx_{first}"], patch[f"idx_{second}"], points[first], points[second], patch["similarities"])
        return sorted(zip(*columns, document["verification"]["inliers"], strict=True))

    assert matches(back, "a", "b") == matches(there, "b", "a")
    if there["verification"]["matrix"] is not None:
        round_trip = np.array(back["verification"]["matrix"]) @ np.array(there["verification"]["matrix"])
        np.testing.assert_allclose(round_trip / round_trip[2, 2], np.eye(3), atol=1e-6)
    same = ("weight", "cosine", "settings", "settings_digest", "advanced_settings", "global_descriptor", "graph")
    assert {name: back[name] for name in same} == {name: there[name] for name in same}
    assert back["search"]["views_tried"] == there["search"]["views_tried"]
    (folder,) = (turned / "exports/pair_match").glob("*_matches/*")
    stored = {(result.image_a.key, result.image_b.key): result for result in MatchStore(folder).results()}
    assert len(stored) == 2
    for (a, _), result in stored.items():
        written = there if a == there["images"]["a"]["key"] else back
        for side, view in (("a", result.view_a), ("b", result.view_b)):
            assert written["search"][f"view_{side}"] == {"rotation_deg": view.rotation_deg, "scale": view.scale}
