"""The accuracy measure against hand-computed cases, and the ORB yardstick on known geometry."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from engine.demo.accuracy import mean_transfer_error_pct
from engine.demo.camera import sample
from engine.demo.orb import OrbMatcher
from engine.demo.scene import draw_scene
from engine.demo.season import SUMMER
from engine.errors import ImageReadError

IDENTITY = np.eye(3)
SIZE = (301, 401)
DIAGONAL = float(np.hypot(301, 401))


def shift(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def test_the_true_geometry_has_no_error() -> None:
    assert mean_transfer_error_pct(shift(3, 4), shift(3, 4), SIZE, SIZE) == pytest.approx(0.0, abs=1e-12)


def test_a_shift_by_3_4_is_5_pixels_off() -> None:
    error = mean_transfer_error_pct(shift(3, 4), IDENTITY, SIZE, SIZE)
    assert error == pytest.approx(100 * 5 / DIAGONAL)


def test_the_scale_of_a_matrix_does_not_matter() -> None:
    error = mean_transfer_error_pct(-7.0 * shift(3, 4), 2.0 * IDENTITY, SIZE, SIZE)
    assert error == pytest.approx(100 * 5 / DIAGONAL)


def test_points_outside_b_do_not_count() -> None:
    """a is 9 px wide, so its grid is its pixels; a stretch errs by 0.5 x there; the shift leaves x = 0 to 4 in b."""
    stretch = np.diag([1.5, 1.0, 1.0])
    error = mean_transfer_error_pct(shift(4, 0) @ stretch, shift(4, 0), (9, 9), (9, 9))
    assert error == pytest.approx(100 * 0.5 * (0 + 1 + 2 + 3 + 4) / 5 / np.hypot(9, 9))


def test_no_model_has_no_error_figure() -> None:
    assert mean_transfer_error_pct(None, IDENTITY, SIZE, SIZE) is None


def test_a_model_that_sends_a_point_to_infinity_is_infinitely_wrong() -> None:
    horizon = np.array([[1, 0, 0], [0, 1, 0], [1.0, 0, 0]])
    assert mean_transfer_error_pct(horizon, IDENTITY, SIZE, SIZE) == float("inf")


def test_photographs_without_overlap_are_refused() -> None:
    with pytest.raises(ValueError, match="overlap"):
        mean_transfer_error_pct(IDENTITY, shift(1000, 0), SIZE, SIZE)


def written(path: Path, picture: np.ndarray) -> Path:
    cv2.imencode(".png", np.rint(picture[..., ::-1] * 255).astype(np.uint8))[1].tofile(path)
    return path


def test_orb_finds_the_geometry_between_two_views_of_one_date(tmp_path: Path) -> None:
    scene = draw_scene((700, 600), 1).render(SUMMER)
    turn = np.vstack([cv2.getRotationMatrix2D((300, 250), 14.0, 0.85), [0, 0, 1]])
    size = (520, 440)
    a_to_scene, b_to_scene = shift(80, 70), shift(90, 60) @ turn
    path_a = written(tmp_path / "가.png", sample(scene, a_to_scene, size))
    path_b = written(tmp_path / "나.png", sample(scene, b_to_scene, size))
    orb = OrbMatcher()
    found = orb(path_a, path_b)
    error = mean_transfer_error_pct(found.matrix, np.linalg.inv(b_to_scene) @ a_to_scene, size, size)
    assert error is not None
    assert error < 0.3
    assert 50 < found.inliers <= found.matches
    assert found.seconds > 0
    again = orb(path_a, path_b)
    assert (again.matches, again.inliers) == (found.matches, found.inliers)


def test_orb_on_pictures_without_features_reports_no_model(tmp_path: Path) -> None:
    flat = written(tmp_path / "flat.png", np.full((200, 200, 3), 0.5, np.float32))
    found = OrbMatcher()(flat, flat)
    assert (found.matches, found.inliers, found.matrix) == (0, 0, None)


def test_orb_on_a_broken_file_is_a_plain_error(tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"")
    with pytest.raises(ImageReadError, match=r"broken\.jpg"):
        OrbMatcher()(broken, broken)
