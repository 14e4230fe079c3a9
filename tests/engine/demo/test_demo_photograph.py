"""The photographs are where the truth file says, and the same seed gives the same files."""

import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from engine.coordinates import project
from engine.demo import photograph
from engine.demo.photograph import FLIGHT_A, FLIGHT_B, PHOTO_SIZE, Shot, aim, make_data_set
from engine.errors import WorkError
from engine.naming import NameRule

SMALL = (240, 180)


def local_rotation_and_scale(a_to_b: np.ndarray, at: np.ndarray) -> tuple[float, float]:
    """Turn in degrees and scale of a homography near a point, from its numeric Jacobian (polar decomposition)."""
    step = 1e-3
    ends = project(a_to_b, at + np.array([[0, 0], [step, 0], [0, step]]))
    jacobian = np.column_stack([ends[1] - ends[0], ends[2] - ends[0]]) / step
    left, spread, right = np.linalg.svd(jacobian)
    turn = left @ right
    return float(np.rad2deg(np.arctan2(turn[1, 0], turn[0, 0]))), float(np.sqrt(spread.prod()))


@pytest.mark.parametrize("seed", range(40))
def test_b_is_taken_from_half_the_height(seed: int) -> None:
    a_to_b = aim(seed % 3, np.random.default_rng(seed)).a_to_b
    _, scale = local_rotation_and_scale(a_to_b, (np.array(PHOTO_SIZE) - 1) / 2)
    assert scale == pytest.approx(2.0, rel=0.03)
    assert np.abs(a_to_b[2, :2] * PHOTO_SIZE).max() < 0.1


def test_b_is_turned_by_any_angle() -> None:
    maps = [aim(0, np.random.default_rng(seed)).a_to_b for seed in range(200)]
    turns = np.array([local_rotation_and_scale(a_to_b, (np.array(PHOTO_SIZE) - 1) / 2)[0] for a_to_b in maps])
    counts, _ = np.histogram(turns, bins=8, range=(-180, 180))
    assert counts.min() >= 10


@pytest.mark.parametrize("seed", range(40))
def test_photographs_of_one_place_overlap_and_those_of_two_places_do_not(seed: int) -> None:
    first, second = (aim(frame, np.random.default_rng([seed, frame])) for frame in (0, 1))
    x, y = np.meshgrid(np.linspace(0, PHOTO_SIZE[0] - 1, 20), np.linspace(0, PHOTO_SIZE[1] - 1, 20))
    grid = np.column_stack([x.ravel(), y.ravel()])

    def share_inside(shot_a: Shot, shot_b: Shot) -> float:
        in_b = project(np.linalg.inv(shot_b.b_to_scene) @ shot_a.a_to_scene, grid)
        return float(((in_b >= 0) & (in_b < PHOTO_SIZE)).all(axis=1).mean())

    back = Shot(first.b_to_scene, first.a_to_scene)
    assert share_inside(back, back) > 0.97, "b shows a quarter of a"
    assert share_inside(first, second) < 0.01
    assert share_inside(second, first) < 0.01


def dotted(size: tuple[int, int]) -> np.ndarray:
    """Grey, with round white dots (standard deviation 3 px) on a grid, one of them missing."""
    width, height = size
    picture = np.full((height, width, 3), 0.3, np.float32)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    for centre_y in range(40, height - 20, 60):
        for centre_x in range(40, width - 20, 60):
            spot = np.exp(-((x - centre_x - 0.3) ** 2 + (y - centre_y + 0.2) ** 2) / 18.0)
            picture += 0.5 * spot[..., None]
    return picture


def brightness_centre(grey: np.ndarray, near: np.ndarray, reach: int = 9) -> np.ndarray:
    """Centroid of what is brighter than the surroundings in a window."""
    x0, y0 = np.rint(near).astype(int)
    window = grey[y0 - reach : y0 + reach + 1, x0 - reach : x0 + reach + 1].astype(float)
    weight = np.clip(window - np.quantile(window, 0.5) - 12.0, 0, None)
    y, x = np.mgrid[y0 - reach : y0 + reach + 1, x0 - reach : x0 + reach + 1]
    return np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()


def test_marked_dots_lie_in_both_files_where_the_truth_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    size = (480, 360)

    def draw_dots(scene_size: tuple[int, int], seed: int) -> SimpleNamespace:
        return SimpleNamespace(render=lambda season: dotted(scene_size))

    monkeypatch.setattr(photograph, "draw_scene", draw_dots)
    pairs = make_data_set(tmp_path, 5, size=size, frames=2)
    for frame, pair in enumerate(pairs):
        shot = aim(frame, np.random.default_rng([5, 20, frame]), size)
        x, y = np.meshgrid(np.arange(40, 640, 60) + 0.3, np.arange(40, 1000, 60) - 0.2)
        dots = np.column_stack([x.ravel(), y.ravel()])
        in_a, in_b = (project(np.linalg.inv(view), dots) for view in (shot.a_to_scene, shot.b_to_scene))
        seen = np.ones(len(dots), bool)
        for points in (in_a, in_b):
            seen &= ((points > 15) & (points < np.array(size) - 15)).all(axis=1)
        assert seen.sum() >= 9
        grey_a, grey_b = (cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) for path in (pair.path_a, pair.path_b))
        found_a = np.array([brightness_centre(grey_a, point) for point in in_a[seen]])
        found_b = np.array([brightness_centre(grey_b, point) for point in in_b[seen]])
        assert np.linalg.norm(found_a - in_a[seen], axis=1).max() < 0.3
        assert np.linalg.norm(found_b - in_b[seen], axis=1).max() < 0.3
        assert np.linalg.norm(project(pair.a_to_b, found_a) - found_b, axis=1).max() < 0.5


def test_truth_file_holds_the_geometry_and_files_have_the_standard_names(tmp_path: Path) -> None:
    folder = tmp_path / "시험 자료"
    pairs = make_data_set(folder, 2, size=SMALL, frames=2)
    truth = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    assert set(truth) == {"about", "pairs"}
    assert [(entry["a"], entry["b"]) for entry in truth["pairs"]] == [
        ("400.0001", "200.0001"),
        ("400.0002", "200.0002"),
    ]
    rule = NameRule.make(None, None)
    for entry, pair in zip(truth["pairs"], pairs, strict=True):
        np.testing.assert_array_equal(entry["homography_a_to_b"], pair.a_to_b)
        assert pair.a_to_b[2, 2] == 1.0
        for path, flight, key in ((pair.path_a, FLIGHT_A, pair.key_a), (pair.path_b, FLIGHT_B, pair.key_b)):
            assert path.parent.name == f"{flight.identity}_{flight.altitude}"
            found = rule.key_of(path.name)
            assert found is not None
            assert f"{found.altitude}.{found.frame}" == key
            pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
            assert pixels.shape == (SMALL[1], SMALL[0], 3)
            assert pixels.std() > 15, "a photograph without contrast"


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_seed_decides_everything(tmp_path: Path) -> None:
    for name, seed in (("first", 7), ("again", 7), ("other", 8)):
        make_data_set(tmp_path / name, seed, size=SMALL, frames=1)
    first, again, other = (files_of(tmp_path / name) for name in ("first", "again", "other"))
    assert len(first) == 3
    assert first == again
    assert set(first) == set(other)
    assert all(first[name] != other[name] for name in first)


def test_a_folder_that_cannot_be_made_is_a_plain_error(tmp_path: Path) -> None:
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(WorkError, match="taken"):
        make_data_set(taken, 1, size=SMALL, frames=1)
