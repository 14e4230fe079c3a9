import json
from pathlib import Path

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


def document(folder: Path) -> dict[str, object]:
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
    matrix = np.array(found["verification"]["matrix"])  # type: ignore[index]
    # A clockwise quarter turn of a picture 480 x 320 moves (x, y) to (319 - y, x).
    corners = np.array([[0.0, 0.0], [479.0, 0.0], [479.0, 319.0], [0.0, 319.0]])
    expected = np.column_stack([319 - corners[:, 1], corners[:, 0]])
    assert np.abs(project(matrix, corners) - expected).max() < 0.5
    assert found["verification"]["inlier_count"] > 100  # type: ignore[index]


def test_without_the_search_the_turn_is_not_found(turned: Path) -> None:
    assert main([*MATCH]) == 0
    found = document(turned)
    assert found["search"] == {
        "view_a": {"rotation_deg": 0.0, "scale": 1.0},
        "view_b": {"rotation_deg": 0.0, "scale": 1.0},
        "views_tried": 1,
    }
    assert found["verification"]["inlier_count"] < 30  # type: ignore[index]


def test_view_is_in_the_packed_results_and_stored_views_are_reused(
    turned: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [*MATCH, "--rotations", "4", "-e"]
    assert main(command) == 0
    (shard,) = (turned / "exports/pair_match").rglob("matches-*.h5")
    (result,) = MatchStore(shard.parent).results()
    first = document(turned)
    assert result.view_b == View(270.0)
    assert np.allclose(result.points_b_px, np.array(first["points_px"]["b"]), atol=1e-3)  # type: ignore[index]
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
    assert found["search"]["view_b"]["scale"] == 0.5  # type: ignore[index]
    matrix = np.array(found["verification"]["matrix"])  # type: ignore[index]
    assert np.allclose(matrix, [[2, 0, 0.5], [0, 2, 0.5], [0, 0, 1]], atol=0.05)


@pytest.mark.parametrize("wrong", [["--rotations", "5"], ["--scales", "big"], ["--scales", "0"], ["--scales", "1,nan"]])
def test_wrong_values(turned: Path, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["match", *wrong]) == 2
    assert wrong[0].lstrip("-") in capsys.readouterr().err
