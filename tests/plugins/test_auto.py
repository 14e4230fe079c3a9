"""The filter `auto`: which model it takes for scenes made by a known one, and what becomes of its result."""

import numpy as np
import pytest
from test_filters import by_hand, scene

from engine import ModelKind
from engine.coordinates import project
from engine.plugin_registry import load_registry
from engine.verification import model_name, verify_matches, with_matrix
from plugins import BUILTINS, auto
from plugins.choice import rounding_px
from plugins.robust import ProjectiveOptions

RECORD = load_registry(BUILTINS, entry_points=False).filter("auto")
MODELS = ("similarity", "affine", "homography", "fundamental")


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("count", "right_share", "noise_px", "threshold_px"),
    [(200, 0.9, 0.5, 3.0), (200, 0.4, 2.0, 8.0), (500, 0.25, 2.0, 8.0), (60, 0.6, 0.5, 3.0)],
)
def test_the_model_that_made_the_scene_is_taken(
    name: str, count: int, right_share: float, noise_px: float, threshold_px: float
) -> None:
    for seed in range(3):
        a, b, right, _ = scene(name, count, right_share, noise_px, seed)
        found = auto.verify(a, b, ProjectiveOptions(reproj_th=threshold_px))
        assert found.model == name
        assert found.kind is (ModelKind.EPIPOLAR if name == "fundamental" else ModelKind.POINT_MAP)
        assert found.inliers[right].mean() > 0.8


def test_flat_ground_is_no_relief_however_many_matches_are_wrong() -> None:
    """Any fundamental matrix through the plane fits flat ground, and more wrong matches by chance than the plane."""
    for seed in range(5):
        a, b, _, _ = scene("homography", 500, 0.2, 2.0, seed)
        assert auto.verify(a, b, ProjectiveOptions()).model == "homography"


def test_a_few_tall_things_on_flat_ground_leave_a_plane_and_many_do_not() -> None:
    rng = np.random.default_rng(4)
    for share, expected in ((0.03, "homography"), (0.5, "fundamental")):
        camera = np.array([[900.0, 0, 336], [0, 900.0, 224], [0, 0, 1]])
        height = np.where(rng.random(300) < share, rng.uniform(0.3, 1.2, 300), 0.0)
        ground = np.column_stack([rng.uniform(-1.2, 1.2, 300), rng.uniform(-0.8, 0.8, 300), 4 - height])
        tilt = np.array([[1, 0, 0], [0, np.cos(0.2), -np.sin(0.2)], [0, np.sin(0.2), np.cos(0.2)]])
        seen_a, seen_b = ground @ camera.T, (ground @ tilt.T + (0.5, 0.6, 0.3)) @ camera.T
        a, b = (seen[:, :2] / seen[:, 2:] + rng.normal(0, 1.0, (300, 2)) for seen in (seen_a, seen_b))
        assert auto.verify(a, b, ProjectiveOptions(reproj_th=4.0)).model == expected


def patch_scene(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat ground as patches match it: rounded to centres 16 px apart, half of the matches taken for a neighbour."""
    rng = np.random.default_rng(seed)
    true = np.array([[0.8, -0.35, 120.0], [0.3, 0.85, -20.0], [1e-4, -5e-5, 1.0]])
    col, row = np.meshgrid(np.arange(28), np.arange(21))
    a = np.column_stack([col.ravel(), row.ravel()]) * 16 + 7.5
    a = a[rng.choice(len(a), 180, replace=False)]
    b = by_hand(true, a)
    missed = rng.random(len(a)) < 0.5
    b[missed] += rng.normal(0, 30, (int(missed.sum()), 2))
    b[rng.random(len(a)) < 0.2] = rng.uniform(0, 400, 2)
    return a, np.round((b - 7.5) / 16) * 16 + 7.5


def test_patches_taken_for_their_neighbours_are_no_relief() -> None:
    for seed in range(6):
        a, b = patch_scene(seed)
        assert auto.verify(a, b, ProjectiveOptions()).kind is ModelKind.POINT_MAP


def test_rounding_is_that_of_a_grid_in_both_pictures() -> None:
    a, b = patch_scene(0)
    assert rounding_px(a, b) == pytest.approx(16 * np.sqrt(2 / 12), rel=0.4)
    turn = np.array([[0.8, -0.6], [0.6, 0.8]])
    assert rounding_px(a @ turn.T, b) == pytest.approx(rounding_px(a, b), rel=0.5)
    placed = b + np.random.default_rng(0).normal(0, 2, b.shape)
    assert rounding_px(a, placed) < 0.1, "places between the centres were not rounded"
    assert rounding_px(a[:1], b[:1]) < 0.1


@pytest.mark.parametrize("name", MODELS)
def test_the_choice_reaches_the_verification_in_original_pixels(name: str) -> None:
    a, b, right, _ = scene(name, 200, 0.8, 0.2, seed=7)
    size, encoded = (672, 448), (336, 224)
    found = verify_matches(RECORD, RECORD.options(reproj_th=2.0), a, b, size, encoded, size, encoded)
    assert (found.filter, found.model) == ("auto", name)
    assert found.matrix is not None
    if name == "fundamental":
        assert found.kind is ModelKind.EPIPOLAR
        return
    assert found.kind is ModelKind.POINT_MAP
    assert np.linalg.norm(by_hand(found.matrix, a[right]) - b[right], axis=1).max() < 2.0


def test_nothing_is_found_in_nothing() -> None:
    found = auto.verify(np.full((9, 2), 3.0), np.full((9, 2), 4.0), ProjectiveOptions())
    assert (found.matrix, found.model) == (None, None)
    assert not found.inliers.any()


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        ([[0.8, -0.6, 5], [0.6, 0.8, 7], [0, 0, 1]], "similarity"),
        ([[0.8, -0.3, 5], [0.6, 0.8, 7], [0, 0, 1]], "affine"),
        ([[0.8, -0.6, 5], [0.6, 0.8, 7], [1e-4, 0, 1]], "homography"),
    ],
)
def test_a_refined_map_is_named_by_what_it_is(matrix: list[list[float]], name: str) -> None:
    points = np.random.default_rng(0).uniform(0, 1000, (50, 2))
    exact = np.array(matrix, float)
    assert model_name(3.0 * exact, points) == name
    size = (1000, 1000)
    start = verify_matches(RECORD, RECORD.options(), points, project(exact, points), size, size, size, size)
    assert start.model == name
    other = with_matrix(start, np.diag([2.0, 3.0, 1.0]), points, points * (2, 3), size, size)
    assert other.model == "affine"
    assert other.inliers.all()
