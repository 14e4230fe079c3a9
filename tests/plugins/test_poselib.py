"""PoseLib beside OpenCV on matches whose truth is known, and without it."""

import sys

import numpy as np
import pytest
from test_filters import CORNERS, FILTERS, TRUE_MAPS, by_hand, epipolar_by_hand, estimate, scene

from engine import UsageError
from engine.plugin_calls import require_filter
from engine.plugin_registry import load_registry
from plugins import BUILTINS, poselib
from plugins.robust import ProjectiveOptions


@pytest.mark.parametrize("right_share", [0.7, 0.3])
def test_homographies_of_both_are_near_the_truth(right_share: float) -> None:
    """Corners within 1.5 px at 1 px of noise, for both; neither more than twice as far off as the other on average."""
    pytest.importorskip("poselib")
    errors: dict[str, list[float]] = {"cv2_usac_magsac": [], poselib.METHOD: []}
    for seed in range(6):
        a, b, _, _ = scene("homography", 300, right_share, 1.0, seed)
        for method, found in errors.items():
            matrix = estimate(FILTERS["homography"], a, b, ransac_method=method, reproj_th=4.0).matrix
            assert matrix is not None
            truth = by_hand(TRUE_MAPS["homography"], CORNERS)
            found.append(float(np.linalg.norm(by_hand(matrix, CORNERS) - truth, axis=1).mean()))
    means = {method: np.mean(found) for method, found in errors.items()}
    assert max(means.values()) < 1.5
    assert max(means.values()) < 2 * min(means.values())


def test_epipolar_geometries_of_both_are_near_the_truth() -> None:
    pytest.importorskip("poselib")
    for seed in range(4):
        a, b, right, exact = scene("fundamental", 300, 0.5, 0.5, seed)
        for method in ("cv2_usac_magsac", poselib.METHOD):
            matrix = estimate(FILTERS["fundamental"], a, b, ransac_method=method, reproj_th=2.0).matrix
            assert matrix is not None
            assert np.median(epipolar_by_hand(matrix, a[right], exact[right])) < 0.7, (method, seed)


def test_where_it_is_not_installed_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "poselib", None)
    a, b, _, _ = scene("homography", 30, 1.0, 0.1, 0)
    options = ProjectiveOptions(ransac_method=poselib.METHOD)
    with pytest.raises(UsageError, match=r"needs the package poselib .*pip install 'dinov3-match\[poselib\]'"):
        FILTERS["homography"].factory()(a, b, options)


@pytest.mark.parametrize("name", ["homography", "fundamental", "auto"])
def test_where_it_is_not_installed_that_is_said_before_any_work(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "poselib", None)
    record = load_registry(BUILTINS, entry_points=False).filter(name)
    require_filter(record, ProjectiveOptions())
    with pytest.raises(UsageError, match="needs the package poselib"):
        require_filter(record, ProjectiveOptions(ransac_method=poselib.METHOD))
