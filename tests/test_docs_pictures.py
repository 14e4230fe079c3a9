"""The pictures of the documents show what they say, and never a wrong result."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import texture

from docs import pictures
from engine.demo.photograph import FLIGHT_A, FLIGHT_B, aim_all
from engine.demo.run import ERROR_LIMIT_PCT
from engine.errors import WorkError
from engine.features import FeatureMap

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"


def test_the_checkerboard_shows_a_where_the_geometry_puts_it() -> None:
    ground = texture(400, 700)
    shift = np.array([[1.0, 0, -100], [0, 1, 0], [0, 0, 1]])
    a, b = ground[:, :500], ground[:, 100:600]
    right = pictures.checkerboard(a, b, shift)
    assert np.abs(right.astype(int) - b).max() <= 1
    wrong = pictures.checkerboard(a, b, np.eye(3))
    rows, cols = np.indices(b.shape[:2]) // 100
    even = (rows + cols) % 2 == 0
    assert np.array_equal(wrong[even], a[even])
    assert np.array_equal(wrong[~even], b[~even])


def tokens_of(descriptors: np.ndarray, grid: tuple[int, int], rotation_deg: float = 0.0) -> FeatureMap:
    """A map of these tokens: patches of 16 px, turned on a canvas of the size of the photograph."""
    size = (grid[1] * 16, grid[0] * 16)
    count = len(descriptors)
    return FeatureMap(
        key="400.0001",
        descriptors=descriptors.astype(np.float16),
        norms=np.ones(count, np.float32),
        token_index=np.arange(count, dtype=np.int32),
        global_descriptor=np.ones(1, np.float32),
        grid=grid,
        image_size=size,
        encoded_size=size,
        rotation_deg=rotation_deg,
        canvas_size=size if rotation_deg else None,
    )


def test_alike_tokens_get_alike_colours_in_both_photographs() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(3, 8)).astype(np.float32)
    of_a, of_b = rng.integers(0, 3, 24), rng.integers(0, 3, 24)
    large = pictures.coloured(*(tokens_of(kinds[of], (4, 6)) for of in (of_a, of_b)))
    colour_a, colour_b = (picture[8::16, 8::16].reshape(-1, 3).astype(int) for picture in large)
    between = np.abs(colour_a[:, None] - colour_b[None]).sum(axis=2)
    same = of_a[:, None] == of_b[None]
    assert between[same].max() <= 3
    assert between[~same].min() > 60


@pytest.mark.parametrize("rotation_deg", [0.0, 180.0])
def test_the_heat_map_is_hottest_where_the_like_token_lies_on_the_photograph(rotation_deg: float) -> None:
    rng = np.random.default_rng(1)
    tokens = rng.normal(size=(24, 16)).astype(np.float32)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    order = rng.permutation(24)
    a, b = tokens_of(tokens, (4, 6)), tokens_of(tokens[order], (4, 6), rotation_deg)
    found = SimpleNamespace(points_a_px=a.points_px[[5, 9]], verification=SimpleNamespace(inliers=np.array([0, 1])))
    point = pictures.best_inlier(found)  # type: ignore[arg-type]
    assert point == tuple(a.points_px[9])
    heat = pictures.similarity_map(a, b, point)
    hottest = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_VIRIDIS)[0, 0]
    y, x = np.nonzero((heat == hottest).all(axis=2))
    np.testing.assert_allclose((x.mean(), y.mean()), b.points_px[int(np.argmax(order == 9))], atol=0.6)


def finished_demo(folder: Path, monkeypatch: pytest.MonkeyPatch, found: dict[str, tuple[float, int]]) -> Path:
    """Result files of pairs 400.FRAME - 200.FRAME: by how many pixels of 1000 x 1000 the geometry is off, inliers."""
    truth = [{"a": f"400.{f}", "b": f"200.{f}", "homography_a_to_b": np.eye(3).tolist()} for f in found]
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "truth.json").write_text(json.dumps({"pairs": truth}), "utf-8")
    results = {}
    for frame, (error_px, inliers) in found.items():
        file = folder / "pair_match" / f"vitt16_400_{frame}" / f"vitt16_400.{frame}_200.{frame}.json"
        file.parent.mkdir(parents=True)
        file.write_text("{}", "utf-8")
        verification = SimpleNamespace(
            matrix=np.array([[1.0, 0, error_px], [0, 1, 0], [0, 0, 1]]), inlier_count=inliers
        )
        image = SimpleNamespace(size=(1000, 1000))
        results[file] = SimpleNamespace(
            image_a=image, image_b=image, verification=verification, similarity=np.ones(100)
        )
    monkeypatch.setattr(pictures, "read_result", results.__getitem__)
    return folder


def test_of_the_right_pairs_that_with_most_inliers_among_its_matches_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    demo = finished_demo(tmp_path, monkeypatch, {"0001": (2.0, 10), "0002": (-5.0, 30), "0003": (90.0, 60)})
    file, _, figures = pictures.clearest_pair(demo)
    assert file.stem == "vitt16_400.0002_200.0002"
    assert (figures["a"], figures["b"], figures["matches"], figures["inliers"]) == ("400.0002", "200.0002", 100, 30)
    assert figures["error_pct"] == pytest.approx(100 * 5 / np.hypot(1000, 1000), abs=1e-4)


def test_nothing_is_shown_where_every_pair_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = finished_demo(tmp_path, monkeypatch, {"0001": (200.0, 50), "0002": (35.0, 50)})
    with pytest.raises(WorkError, match="no picture was changed"):
        pictures.make_pictures(demo, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()


def test_the_committed_pictures_show_a_pair_of_todays_demonstration() -> None:
    shown = committed_figures()
    frame = int(shown["a"].split(".")[1])
    assert (shown["seed"], shown["a"], shown["b"]) == (1, FLIGHT_A.key(frame), FLIGHT_B.key(frame))
    true = aim_all(shown["seed"])[frame - 1].a_to_b
    np.testing.assert_allclose(shown["homography_a_to_b"], true, rtol=1e-6, err_msg="run python -m docs.pictures")
    assert shown["error_pct"] <= ERROR_LIMIT_PCT


def committed_figures() -> dict[str, Any]:
    shown: dict[str, Any] = json.loads((IMAGES / pictures.FIGURES).read_text("utf-8"))
    return shown


@pytest.mark.parametrize(
    "name", ["result.png", "matches.jpg", "tokens.jpg", "similarity.jpg", "overlay.jpg", "modes.jpg"]
)
def test_the_committed_pictures_are_sound_and_not_heavy(name: str) -> None:
    path = IMAGES / name
    picture = pictures.read(path)
    assert picture.shape[1] == pictures.WIDTH_PX
    assert picture.std() > 10
    assert path.stat().st_size < 1_200_000
