"""The pictures of the documents show what they say, and never a wrong result."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import h5py
import numpy as np
import pytest
from conftest import texture

from docs import pictures
from engine.errors import WorkError

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


def test_alike_tokens_get_alike_colours_in_both_photographs() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(3, 8)).astype(np.float32)
    of_a, of_b = rng.integers(0, 3, 24), rng.integers(0, 3, 24)
    maps = [pictures.Tokens(kinds[of], (4, 6), np.zeros((24, 2))) for of in (of_a, of_b)]
    colour_a, colour_b = (picture.reshape(-1, 3).astype(int) for picture in pictures.principal_colours(*maps))
    between = np.abs(colour_a[:, None] - colour_b[None]).sum(axis=2)
    same = of_a[:, None] == of_b[None]
    assert between[same].max() <= 3
    assert between[~same].min() > 60


def test_the_heat_map_is_hottest_at_the_same_token() -> None:
    rng = np.random.default_rng(1)
    tokens = rng.normal(size=(24, 16)).astype(np.float32)
    tokens /= np.linalg.norm(tokens, axis=1, keepdims=True)
    order = rng.permutation(24)
    centres = np.stack(np.divmod(np.arange(24), 6)[::-1], axis=1) * 16.0 + 7.5
    a, b = pictures.Tokens(tokens, (4, 6), centres), pictures.Tokens(tokens[order], (4, 6), centres)
    found = SimpleNamespace(points_a_px=centres[[5, 9]], verification=SimpleNamespace(inliers=np.array([False, True])))
    point, heat = pictures.similarity_map(a, b, found)  # type: ignore[arg-type]
    assert point == (round(centres[9][0]), round(centres[9][1]))
    hottest = cv2.applyColorMap(np.full((1, 1), 255, np.uint8), cv2.COLORMAP_VIRIDIS)[0, 0]
    assert np.flatnonzero((heat.reshape(-1, 3) == hottest).all(axis=1)).tolist() == [int(np.argmax(order == 9))]


def test_tokens_come_from_the_shard_that_holds_the_photograph(tmp_path: Path) -> None:
    folder = tmp_path / "dinov3_embeds" / "vitt16" / "x"
    folder.mkdir(parents=True)
    with h5py.File(folder / "features-00000.h5", "w") as file:
        group = file.create_group("A_400/A_400_0001.jpg")
        group["descriptors"] = np.arange(12, dtype=np.float16).reshape(2, 6)
        group["image_size"] = np.array([96, 32])
        group.attrs["grid"] = np.array([1, 6])
    tokens = pictures.stored_tokens(tmp_path, Path("elsewhere/A_400/A_400_0001.jpg"))
    assert tokens.descriptors[2].tolist() == [2, 8]
    np.testing.assert_allclose(tokens.centres_px[:2], [[7.5, 15.5], [23.5, 15.5]])
    with pytest.raises(WorkError, match="A_400_0002"):
        pictures.stored_tokens(tmp_path, Path("A_400/A_400_0002.jpg"))


def finished_demo(folder: Path, monkeypatch: pytest.MonkeyPatch, errors_px: dict[str, float]) -> Path:
    """Result files of pairs 400.FRAME - 200.FRAME whose geometry is off by so many pixels of 1000 x 1000."""
    truth = [{"a": f"400.{f}", "b": f"200.{f}", "homography_a_to_b": np.eye(3).tolist()} for f in errors_px]
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "truth.json").write_text(json.dumps({"pairs": truth}), "utf-8")
    found = {}
    for frame, error in errors_px.items():
        file = folder / "pair_match" / f"vitt16_400_{frame}" / f"vitt16_400.{frame}_200.{frame}.json"
        file.parent.mkdir(parents=True)
        file.write_text("{}", "utf-8")
        matrix = np.array([[1.0, 0, error], [0, 1, 0], [0, 0, 1]])
        image = SimpleNamespace(size=(1000, 1000))
        found[file] = SimpleNamespace(image_a=image, image_b=image, verification=SimpleNamespace(matrix=matrix))
    monkeypatch.setattr(pictures, "read_result", found.__getitem__)
    return folder


def test_the_pair_nearest_to_the_truth_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = finished_demo(tmp_path, monkeypatch, {"0001": 20.0, "0002": -5.0, "0003": 90.0})
    file, _, error_pct = pictures.best_pair(demo)
    assert file.stem == "vitt16_400.0002_200.0002"
    assert error_pct == pytest.approx(100 * 5 / np.hypot(1000, 1000))


def test_nothing_is_shown_where_every_pair_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    demo = finished_demo(tmp_path, monkeypatch, {"0001": 200.0, "0002": 35.0})
    with pytest.raises(WorkError, match="no picture was changed"):
        pictures.make_pictures(demo, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "name", ["result.png", "matches.jpg", "tokens.jpg", "similarity.jpg", "overlay.jpg", "modes.jpg"]
)
def test_the_committed_pictures_are_sound_and_not_heavy(name: str) -> None:
    path = IMAGES / name
    picture = pictures.read(path)
    assert picture.shape[1] == pictures.WIDTH_PX
    assert picture.std() > 10
    assert path.stat().st_size < 2_000_000
