import numpy as np
import pytest

from engine.coordinates import project
from engine.hooks import Estimate, FilterRecord, ModelKind
from engine.plugin_registry import load_registry
from engine.results import Verification
from engine.verification import residuals_px, verify_matches
from plugins import BUILTINS

SIZE_A, ENCODED_A = (1000, 800), (420, 336)
SIZE_B, ENCODED_B = (600, 900), (336, 512)
TRUE = np.array([[0.5, -0.1, 40.0], [0.12, 0.6, 30.0], [2e-5, -1e-5, 1.0]])


def points(count: int = 120) -> tuple[np.ndarray, np.ndarray]:
    a = np.random.default_rng(0).uniform((0, 0), SIZE_A, (count, 2))
    return a, project(TRUE, a)


@pytest.mark.parametrize("unit", ["encoded", "original"])
def test_model_is_given_in_original_pixels_whatever_the_frame(unit: str) -> None:
    registry = load_registry(BUILTINS, entry_points=False)
    record = registry.filter("homography")
    a, b = points()
    found = verify_matches(record, record.options(), a, b, SIZE_A, ENCODED_A, SIZE_B, ENCODED_B, unit)
    assert found.matrix is not None
    assert np.abs(project(found.matrix, a) - b).max() < 1e-3
    assert found.inliers.all()
    assert found.reproj_unit == unit


def test_threshold_counts_pixels_of_the_encoded_image() -> None:
    registry = load_registry(BUILTINS, entry_points=False)
    record = registry.filter("homography")
    options = record.options(reproj_th=3.0)
    a, b = points()
    # 4 original pixels are 2.2 encoded ones in b: inside 3 px of the encoded frame, outside 3 px of the original.
    b[:20, 0] += 4.0
    arguments = (a, b, SIZE_A, ENCODED_A, SIZE_B, ENCODED_B)
    assert verify_matches(record, options, *arguments, "encoded").inliers[:20].all()
    assert not verify_matches(record, options, *arguments, "original").inliers[:20].any()


def test_epipolar_models_are_brought_back_too() -> None:
    registry = load_registry(BUILTINS, entry_points=False)
    record = registry.filter("fundamental")
    rng = np.random.default_rng(1)
    space = np.column_stack([rng.uniform(-1, 1, (200, 2)), rng.uniform(3, 6, 200)])
    turn = np.array([[0.98, 0.0, 0.199], [0.0, 1.0, 0.0], [-0.199, 0.0, 0.98]])
    moved = space @ turn.T + [0.6, 0.1, 0.0]
    a = space[:, :2] / space[:, 2:] * 900 + 450
    b = moved[:, :2] / moved[:, 2:] * 700 + 300
    found = verify_matches(record, record.options(), a, b, SIZE_A, ENCODED_A, SIZE_B, ENCODED_B)
    distance = residuals_px(found, a, b)
    assert distance is not None
    assert distance.max() < 0.05
    assert found.inliers.all()


def test_too_few_matches_give_no_model_and_do_not_reach_the_filter() -> None:
    def never(*_: object) -> Estimate:
        raise AssertionError("must not be called")

    record = FilterRecord("f", "help", type(None), lambda: never, ModelKind.POINT_MAP, min_matches=4)
    registry_options = load_registry(BUILTINS, entry_points=False).filter("off").options()
    a, b = points(3)
    found = verify_matches(record, registry_options, a, b, SIZE_A, ENCODED_A, SIZE_B, ENCODED_B)
    assert found.matrix is None
    assert found.inliers.tolist() == [False] * 3


def test_off_keeps_every_match() -> None:
    record = load_registry(BUILTINS, entry_points=False).filter("off")
    a, b = points(2)
    found = verify_matches(record, record.options(), a, b, SIZE_A, ENCODED_A, SIZE_B, ENCODED_B)
    assert found.matrix is None
    assert found.inliers.all()


def test_residual_of_a_point_map_is_the_distance_to_the_projection() -> None:
    found = Verification("h", ModelKind.POINT_MAP, {}, "original", np.eye(3), np.ones(1, bool))
    distance = residuals_px(found, np.array([[1.0, 2.0]]), np.array([[4.0, 6.0]]))
    assert distance is not None
    assert distance.tolist() == [5.0]
