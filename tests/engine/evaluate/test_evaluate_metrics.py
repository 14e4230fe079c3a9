"""Figures against cases worked out by hand."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.dataset import file_entry
from engine.evaluate.measure import measure_result, patch_size_px
from engine.evaluate.metrics import (
    Measured,
    area_under_success,
    match_errors,
    median_error,
    summarise,
    transfer_error_pct,
)
from engine.evaluate.report import write_report
from engine.evaluate.tables import aligned, percent
from engine.evaluate.truth import Case, TruthError
from engine.hooks import ModelKind
from engine.pairs import Pair
from engine.results import ImageRef, PairResult, Refinement, Verification
from engine.store.atomic import WriteError

IDENTITY = np.eye(3)


def shifted(x: float, y: float) -> np.ndarray:
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]])


def measured(error: float | None, time_ms: float = 1.0) -> Measured:
    return Measured("m", error, 10, 5, None, time_ms)


def test_a_shift_of_5_px_on_a_500_px_diagonal_is_1_percent() -> None:
    points = np.array([[0.0, 0], [10, 20], [299, 399]])
    assert transfer_error_pct(shifted(3, 4), IDENTITY, points, (300, 400)) == pytest.approx(1.0)
    assert transfer_error_pct(None, IDENTITY, points, (300, 400)) is None


def test_the_error_is_the_mean_over_the_points() -> None:
    # Doubling x moves (0, 0) by 0, (10, 0) by 10, (20, 5) by 20: 10 px on average.
    points = np.array([[0.0, 0], [10, 0], [20, 5]])
    assert transfer_error_pct(np.diag([2.0, 1, 1]), IDENTITY, points, (60, 80)) == pytest.approx(10.0)


def test_a_point_sent_to_infinity_makes_the_error_infinite() -> None:
    away = np.array([[1, 0, 0], [0, 1, 0], [-0.1, 0, 1.0]])
    assert transfer_error_pct(away, IDENTITY, np.array([[10.0, 3.0]]), (60, 80)) == math.inf


def test_matches_are_counted_in_patches_of_each_axis_and_the_median_in_pixels() -> None:
    # Patches of 20 x 10 px. Offsets of (10, 0): half a patch; (0, 10): one; (30, 0): one and a half; (0, 30): three.
    points_b = np.array([[10.0, 0], [0, 10], [30, 0], [0, 30]])
    found = match_errors(np.zeros((4, 2)), points_b, np.array([True, True, False, False]), IDENTITY, (20.0, 10.0))
    assert found is not None
    assert found.within == (0.25, 0.5, 0.75)
    assert found.median_px == 20.0
    assert found.median_inlier_px == 10.0


def test_matches_follow_the_truth_from_a_to_b() -> None:
    points_a = np.array([[1.0, 2], [5, 5]])
    found = match_errors(points_a, points_a + np.array([7, -3]), np.ones(2, bool), shifted(7, -3), (16.0, 16.0))
    assert found is not None
    assert found.within == (1.0, 1.0, 1.0)
    assert found.median_px == 0.0


def test_no_matches_have_no_errors_and_no_inliers_no_median() -> None:
    none = np.zeros((0, 2))
    assert match_errors(none, none, np.zeros(0, bool), IDENTITY, (16.0, 16.0)) is None
    one = match_errors(np.zeros((1, 2)), np.ones((1, 2)), np.zeros(1, bool), IDENTITY, (16.0, 16.0))
    assert one is not None
    assert one.median_inlier_px is None


def test_the_area_is_that_under_the_staircase() -> None:
    # Errors 1 and 3 of a limit of 4, and one failure: success is 0 to x = 1, 1/3 to 3, 2/3 to 4: (2/3 + 2/3) / 4 = 1/3.
    assert area_under_success([1.0, 3.0, None], 4.0) == pytest.approx(1 / 3)
    x = (np.arange(400_000) + 0.5) / 100_000
    steps = np.mean([x >= 1.0, x >= 3.0, np.zeros_like(x)], axis=0)
    assert area_under_success([1.0, 3.0, None], 4.0) == pytest.approx(steps.mean(), abs=1e-5)
    assert area_under_success([0.0, 0.0], 1.0) == 1.0
    with pytest.raises(ValueError, match="no pairs"):
        area_under_success([], 1.0)


def test_a_median_counts_no_model_as_infinitely_far_off() -> None:
    assert median_error([0.2, None, 0.4]) == 0.4
    assert median_error([0.2, 0.4, None, 0.3]) == pytest.approx(0.35)
    assert median_error([None, 0.1, None]) == math.inf
    assert median_error([None, None]) == math.inf
    assert median_error([0.1, None]) == math.inf


def test_a_summary_counts_success_at_each_limit_limits_included() -> None:
    found = summarise([measured(0.5, 10), measured(1.1, 30), measured(4.0, 20), measured(None, 90)])
    assert found.pairs == 4
    assert found.success == (0.25, 0.25, 0.5, 0.75)
    assert found.median_error_pct == pytest.approx(2.55)
    assert found.median_time_ms == 25.0
    assert found.median_match_px is None


def test_the_grid_counts_only_where_a_falls_inside_b_and_needs_some() -> None:
    entries = [file_entry(Path(f"/x/{name}.jpg")) for name in "ab"]
    pair = Pair(*entries)
    # a of 81 x 81 px has its grid at multiples of 10; moved by 40, five columns stay within b. The stretch found leaves
    # x = 0 .. 40 off by 0, 1, 2, 3, 4 px: 2 px on average, of a diagonal of 81 * sqrt(2).
    case = Case(pair, shifted(40, 0))
    found = shifted(40, 0) @ np.diag([1.1, 1, 1])
    assert case.error_pct(found, (81, 81), (81, 81)) == pytest.approx(100 * 2 / (81 * math.sqrt(2)))
    with pytest.raises(TruthError, match=r"x/a - x/b: by its true homography.*shares no ground"):
        Case(pair, shifted(200, 0)).error_pct(found, (81, 81), (81, 81))


def test_a_report_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="file where a folder is needed"):
        write_report(tmp_path / "file" / "x.json", {})


def test_tables_are_aligned_and_say_none_for_no_model() -> None:
    assert aligned([["pair", "n"], ["a - b", "12"]]) == "pair    n\n-----  --\na - b  12"
    assert [percent(value) for value in (None, 0.123, math.inf)] == ["none", "0.12 %", "far off"]


def test_a_patch_is_that_of_the_upright_photograph() -> None:
    # 1080 x 1620 px at 336: encoded at 336 x 512 (504 is between 31 and 32 patches), 21 x 32 patches.
    assert patch_size_px((1080, 1620), 336, 16) == pytest.approx((1080 / 21, 1620 / 32))


def test_refined_matches_are_measured_on_their_own() -> None:
    image = ImageRef("k", "k", Path("/x/k.jpg"), (160, 160), (160, 160), (10, 10), 1, 1)
    points = np.array([[10.0, 10], [50, 90], [70, 20], [30, 120]])
    fine = Refinement((), None, points[:3], points[:3] + np.array([[0.0, 3], [4, 0], [0, 9]]))
    result = PairResult(
        image, image, 1.0, np.arange(4, dtype=np.int32), np.arange(4, dtype=np.int32), points, points + 16.0,
        np.ones(4, np.float32), 100, 100,
        Verification("homography", ModelKind.POINT_MAP, {}, "encoded", shifted(1, 0), np.array([1, 1, 0, 0], bool)),
        {"total": 7.0}, refinement=fine,
    )  # fmt: skip
    case = Case(Pair(file_entry(Path("/x/a.jpg")), file_entry(Path("/x/b.jpg"))), IDENTITY)
    found = measure_result(case, result, "ours", (16.0, 16.0))
    assert found.refined == (3, 4.0)
    assert found.errors is not None
    assert found.errors.median_px == pytest.approx(16 * math.sqrt(2))
    assert found.error_pct == pytest.approx(100 / math.hypot(160, 160))
    assert (found.matches, found.inliers, found.time_ms) == (4, 2, 7.0)
    assert summarise([found, measured(1.0)]).median_refined_px == 4.0
    epipolar = replace(result, verification=replace(result.verification, kind=ModelKind.EPIPOLAR))
    assert measure_result(case, epipolar, "ours", (16.0, 16.0)).error_pct is None
