"""Every built-in filter with every robust method on known geometry, and on matches that determine nothing."""

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from engine import Estimate, FilterRecord, ModelKind, UsageError, WorkError
from engine.plugin_options import check_ransac_method, parse_options
from engine.plugin_registry import load_registry
from plugins import BUILTINS, homography, poselib, robust

Points = NDArray[np.float64]

# `auto` fits with the others, and has tests of its own.
FILTERS = {
    name: record for name, record in load_registry(BUILTINS, entry_points=False).filters.items() if name != "auto"
}
HAS_POSELIB = importlib.util.find_spec("poselib") is not None
WIDTH, HEIGHT = 672.0, 448.0
CORNERS = np.array([[0.0, 0.0], [WIDTH, 0.0], [WIDTH, HEIGHT], [0.0, HEIGHT]])
TRUE_MAPS = {
    "homography": np.array([[0.71, -0.28, 150.0], [0.25, 0.66, 40.0], [2e-4, -1e-4, 1.0]]),
    "affine": np.array([[0.80, -0.35, 120.0], [0.20, 0.60, 60.0], [0.0, 0.0, 1.0]]),
    "similarity": np.array([[0.72, -0.21, 90.0], [0.21, 0.72, 30.0], [0.0, 0.0, 1.0]]),
}
COMBINATIONS = [
    pytest.param(
        record,
        method,
        id=f"{record.name}-{method}",
        marks=[pytest.mark.skipif(method == poselib.METHOD and not HAS_POSELIB, reason="poselib is not installed")],
    )
    for record in FILTERS.values()
    for method in record.ransac_methods
]
every_combination = pytest.mark.parametrize(("record", "method"), COMBINATIONS)
every_point_map = pytest.mark.parametrize(
    ("record", "method"), [entry for entry in COMBINATIONS if entry.values[0].kind is ModelKind.POINT_MAP]
)


def by_hand(matrix: NDArray[np.float64], points: Points) -> Points:
    mapped = [matrix @ (x, y, 1.0) for x, y in points]
    return np.array([(x / w, y / w) for x, y, w in mapped])


def epipolar_by_hand(matrix: NDArray[np.float64], a: Points, b: Points) -> list[float]:
    """Larger distance of each pair to its epipolar lines."""
    errors = []
    for (xa, ya), (xb, yb) in zip(a, b, strict=True):
        in_b, in_a = matrix @ (xa, ya, 1.0), matrix.T @ (xb, yb, 1.0)
        dot = abs(in_b @ (xb, yb, 1.0))
        errors.append(max(dot / np.hypot(in_b[0], in_b[1]), dot / np.hypot(in_a[0], in_a[1])))
    return errors


def scene(name: str, count: int, right_share: float, noise_px: float, seed: int) -> tuple[Points, Points, Any, Points]:
    """Matches of a scene with wrong ones among them, better ones nearer the front; which are right; b without noise."""
    rng = np.random.default_rng(seed)
    if name == "fundamental":
        ground = np.column_stack(
            [rng.uniform(-1.2, 1.2, count), rng.uniform(-0.8, 0.8, count), rng.uniform(3, 5, count)]
        )
        camera = np.array([[900.0, 0, WIDTH / 2], [0, 900.0, HEIGHT / 2], [0, 0, 1]])
        turn = cv2.Rodrigues(np.array([0.05, 0.1, 0.3]))[0]
        seen_a, seen_b = ground @ camera.T, (ground @ turn.T + (0.6, 0.2, 0.3)) @ camera.T
        a, exact = seen_a[:, :2] / seen_a[:, 2:], seen_b[:, :2] / seen_b[:, 2:]
    else:
        a = rng.uniform(0, (WIDTH, HEIGHT), (count, 2))
        exact = by_hand(TRUE_MAPS[name], a)
    right = np.arange(count) < round(right_share * count)
    b = exact + rng.normal(0, noise_px, exact.shape)
    b[~right] = rng.uniform(0, (WIDTH, HEIGHT), (np.count_nonzero(~right), 2))
    order = np.argsort(-np.where(right, 0.65, 0.5) - rng.normal(0, 0.1, count))
    return a[order], b[order], right[order], exact[order]


def estimate(record: FilterRecord, a: Points, b: Points, **options: Any) -> Estimate:
    return record.factory()(a, b, replace(record.options(), **options))


def test_the_filters_and_methods_on_offer() -> None:
    usac = {f"cv2_usac_{name}" for name in ("default", "accurate", "fast", "prosac", "magsac")}
    both = {"cv2_ransac", "cv2_lmeds"}
    offered = {name: set(record.ransac_methods) for name, record in FILTERS.items()}
    assert offered == {
        "homography": both | usac | {"poselib_ransac"},
        "affine": both | usac,
        "similarity": both,
        "fundamental": both | usac | {"poselib_ransac"},
        "off": set(),
    }
    defaults = {name: getattr(record.options(), "ransac_method", None) for name, record in FILTERS.items()}
    magsac = "cv2_usac_magsac"
    assert defaults == {
        "homography": magsac,
        "affine": magsac,
        "similarity": "cv2_ransac",
        "fundamental": magsac,
        "off": None,
    }


@every_combination
@pytest.mark.parametrize("seed", range(3))
def test_known_geometry_is_found_among_outliers(record: FilterRecord, method: str, seed: int) -> None:
    """70 % of 200 matches right to 0.5 px: corners within 1 px; for epipolar lines, exact points within 2 px."""
    a, b, right, exact = scene(record.name, 200, 0.7, 0.5, seed)
    found = estimate(record, a, b, ransac_method=method, reproj_th=3.0)
    assert found.matrix is not None
    assert found.inliers[right].mean() > 0.97
    if record.kind is ModelKind.POINT_MAP:
        assert np.count_nonzero(found.inliers & ~right) <= 2
        assert found.matrix[2, 2] == pytest.approx(1.0)
        error = np.linalg.norm(by_hand(found.matrix, CORNERS) - by_hand(TRUE_MAPS[record.name], CORNERS), axis=1)
        assert error.max() < 1.0
    else:
        # A line of 448 to 672 px passes within 3 px of a wrong point by chance: about one in fifty.
        assert np.count_nonzero(found.inliers & ~right) <= 6
        assert np.linalg.norm(found.matrix) == pytest.approx(1.0)
        assert np.median(epipolar_by_hand(found.matrix, a[right], exact[right])) < 2.0
        assert abs(np.linalg.det(found.matrix / np.abs(found.matrix).max())) < 1e-9


@every_combination
def test_the_mask_is_what_matrix_and_threshold_say(record: FilterRecord, method: str) -> None:
    a, b, _, _ = scene(record.name, 150, 0.7, 3.0, seed=11)
    for threshold_px in (2.0, 8.0):
        found = estimate(record, a, b, ransac_method=method, reproj_th=threshold_px)
        assert found.matrix is not None
        if record.kind is ModelKind.POINT_MAP:
            error = np.linalg.norm(by_hand(found.matrix, a) - b, axis=1)
        else:
            error = np.array(epipolar_by_hand(found.matrix, a, b))
        clear = np.abs(error - threshold_px) > 1e-6
        assert np.array_equal(found.inliers[clear], (error <= threshold_px)[clear])


@every_point_map
def test_positions_rounded_to_tokens_lose_no_inliers(record: FilterRecord, method: str) -> None:
    """Positions rounded to 16 px, a third right: nine tenths of what the true map explains are found at 8 px."""
    if method == "cv2_lmeds":
        pytest.skip("least median needs more than half of the matches right")
    found_total = explained_total = 0
    for seed in range(5):
        a, b, _, _ = scene(record.name, 400, 0.33, 0.0, seed)
        a, b = (np.floor(points / 16) * 16 + 7.5 for points in (a, b))
        explained_total += np.count_nonzero(np.linalg.norm(by_hand(TRUE_MAPS[record.name], a) - b, axis=1) <= 8)
        found_total += np.count_nonzero(estimate(record, a, b, ransac_method=method).inliers)
    assert found_total > 0.9 * explained_total


@every_combination
def test_a_result_does_not_depend_on_opencvs_threads(record: FilterRecord, method: str) -> None:
    a, b, _, _ = scene(record.name, 300, 0.4, 1.0, seed=5)
    threads = cv2.getNumThreads()
    try:
        results = []
        for count in (1, 4, 4):
            cv2.setNumThreads(count)
            results.append(estimate(record, a, b, ransac_method=method))
    finally:
        cv2.setNumThreads(threads)
    for result in results[1:]:
        assert np.array_equal(result.inliers, results[0].inliers)
        assert np.array_equal(result.matrix, results[0].matrix)  # type: ignore[arg-type]


RNG = np.random.default_rng(3)
SPREAD = RNG.uniform(0, 600, (20, 2))
ONE_POINT = np.full((20, 2), 5.0)
TWO_POINTS = np.repeat([[3.0, 4.0], [100.0, 50.0]], 10, axis=0)
LINE = np.column_stack([np.arange(20) * 10.0, np.arange(20) * 5.0 + 3.0])
TOKEN_ROW = np.column_stack([np.arange(20) * 16 + 7.5, np.full(20, 23.5)])


@every_combination
@pytest.mark.parametrize("swap", [False, True], ids=["in a", "in b"])
@pytest.mark.parametrize("flat", [ONE_POINT, TWO_POINTS, LINE, TOKEN_ROW], ids=["one", "two", "line", "row"])
@pytest.mark.parametrize("other", ["same", "spread"])
def test_matches_that_determine_nothing_give_no_model(
    record: FilterRecord, method: str, swap: bool, flat: Points, other: str
) -> None:
    a, b = (flat, flat if other == "same" else SPREAD)[:: -1 if swap else 1]
    found = estimate(record, a, b, ransac_method=method)
    assert found.inliers.shape == (20,)
    if record.name == "similarity" and flat is not ONE_POINT:
        # Two points apart determine a similarity, so a line is enough; a spread may or may not fit one.
        if other == "same":
            np.testing.assert_allclose(found.matrix, np.eye(3), atol=1e-9)  # type: ignore[arg-type]
            assert found.inliers.all()
        return
    assert found.matrix is None
    assert not found.inliers.any()


@every_combination
def test_too_few_matches_give_no_model_and_the_least_give_one(record: FilterRecord, method: str) -> None:
    a, b, _, _ = scene(record.name, 15, 1.0, 0.0, seed=2)
    for count in range(record.min_matches):
        few = estimate(record, a[:count], b[:count], ransac_method=method)
        assert few.matrix is None
        assert few.inliers.tolist() == [False] * count
    # Below 15 matches, OpenCV's older fundamental methods minimise a median that seven exact matches make zero.
    older = record.name == "fundamental" and method in robust.RANSAC_AND_LMEDS
    count = 15 if older else record.min_matches
    least = estimate(record, a[:count], b[:count], ransac_method=method)
    assert least.matrix is not None
    assert least.inliers.all()


@pytest.mark.parametrize("name", ["homography", "affine"])
def test_a_collapse_onto_a_line_is_no_model(name: str) -> None:
    a = np.random.default_rng(1).uniform(0, 600, (50, 2))
    b = a * (1.0, 0.002) + (0.0, 300.0)
    found = estimate(FILTERS[name], a, b)
    assert found.matrix is None
    assert not found.inliers.any()


def test_points_beyond_the_horizon_are_no_inliers() -> None:
    tilted = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -0.002, 1.0]])
    a = np.array([[10.0, 10.0], [300.0, 200.0], [50.0, 400.0], [300.0, 900.0]])
    behind = by_hand(tilted, a)
    residuals = robust.point_map_residuals_px(tilted, a, behind)
    np.testing.assert_allclose(residuals[:3], 0, atol=1e-9)
    assert residuals[3] == np.inf


@pytest.mark.parametrize("name", [name for name, record in FILTERS.items() if record.ransac_methods])
def test_more_samples_find_more(name: str) -> None:
    totals = []
    for iters in (1, 10_000):
        scenes = [scene(name, 200, 0.45 if name == "fundamental" else 0.1, 0.5, seed) for seed in range(8)]
        options = {"ransac_method": "cv2_ransac", "iters": iters, "reproj_th": 3.0}
        totals.append(sum(estimate(FILTERS[name], a, b, **options).inliers.sum() for a, b, _, _ in scenes))
    assert totals[0] < 0.8 * totals[1]


@pytest.mark.parametrize(
    ("name", "function"),
    [
        ("homography", "findHomography"),
        ("affine", "estimateAffine2D"),
        ("similarity", "estimateAffinePartial2D"),
        ("fundamental", "findFundamentalMat"),
    ],
)
def test_method_threshold_confidence_and_iters_reach_opencv(
    name: str, function: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real: Callable[..., Any] = getattr(cv2, function)
    calls: list[list[Any]] = []

    def spy(a: Points, b: Points, *values: Any, **named: Any) -> Any:
        calls.append([*values, *named.values()])
        return real(a, b, *values, **named)

    monkeypatch.setattr(cv2, function, spy)
    a, b, _, _ = scene(name, 60, 0.8, 0.5, seed=1)
    estimate(FILTERS[name], a, b, ransac_method="cv2_ransac", reproj_th=2.25, confidence=0.987, iters=4321)
    assert sorted(map(float, calls[0])) == sorted([float(cv2.RANSAC), 2.25, 0.987, 4321.0])


def test_an_unsupported_method_is_refused_in_options_and_in_the_filter() -> None:
    record = FILTERS["similarity"]
    with pytest.raises(UsageError, match="one of cv2_ransac, cv2_lmeds"):
        parse_options(record.options, ["ransac_method=cv2_usac_magsac"], "-F")
    options = replace(record.options(), ransac_method="cv2_usac_magsac")
    with pytest.raises(UsageError, match="It supports: cv2_ransac, cv2_lmeds"):
        check_ransac_method(record, options)
    with pytest.raises(UsageError, match="choose one of cv2_ransac, cv2_lmeds"):
        record.factory()(SPREAD, SPREAD, options)


@pytest.mark.parametrize(
    "assignment",
    ["reproj_th=0", "reproj_th=-8", "reproj_th=nan", "confidence=1", "confidence=0", "iters=0", "ransac_method=ransac"],
)
def test_values_out_of_range_are_refused(assignment: str) -> None:
    with pytest.raises(UsageError):
        parse_options(FILTERS["homography"].options, [assignment], "-F")


def test_the_ends_of_every_range_work() -> None:
    a, b, _, _ = scene("homography", 40, 0.9, 0.1, seed=1)
    for confidence, iters, threshold_px in ((0.01, 1, 0.01), (0.999999, 1000, 10_000.0)):
        options = {"confidence": confidence, "iters": iters, "reproj_th": threshold_px}
        for name, record in FILTERS.items():
            for method in set(record.ransac_methods) - (set() if HAS_POSELIB else {poselib.METHOD}):
                assert estimate(record, a, b, ransac_method=method, **options).inliers.shape == (40,), name


def test_a_failure_of_opencv_is_told_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(*values: Any, **named: Any) -> Any:
        raise cv2.error("out of memory")

    monkeypatch.setattr(cv2, "findHomography", failing)
    with pytest.raises(WorkError, match=r"failed on 20 matches \(cv2_usac_magsac\): out of memory"):
        homography.verify(SPREAD, SPREAD, robust.RobustOptions())
