"""A pair from its other side."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.coordinates import project, token_centres_px
from engine.features import Matches
from engine.hooks import ModelKind
from engine.mirroring import mirrored, mirrored_matches
from engine.results import ImageRef, PairResult, Refinement, RefinementStep, Verdict, Verification
from engine.views import View

A = ImageRef("400.1", "400.1", Path("/a.jpg"), (640, 480), (320, 240), (15, 20), 10, 11)
B = ImageRef("200.1", "200.1", Path("/b.jpg"), (320, 480), (160, 240), (15, 10), 20, 21)
SCALE_2 = np.array([[2.0, 0, 5], [0, 2, -3], [0, 0, 1]])


def result(kind: ModelKind = ModelKind.POINT_MAP, matrix: np.ndarray | None = SCALE_2) -> PairResult:
    token_a, token_b = np.array([7, 1, 9, 3], np.int32), np.array([2, 8, 4, 6], np.int32)
    points = np.array([[10.0, 20.0], [30.0, 5.0]])
    refinement = Refinement(
        (RefinementStep("dense", 9, 8, 3.0, 0.5, True),), 0.4, points, project(SCALE_2, points), np.array([1.0, 4.0])
    )
    return PairResult(
        image_a=A,
        image_b=B,
        cosine=0.5,
        token_a=token_a,
        token_b=token_b,
        points_a_px=token_centres_px(token_a, A.grid, A.size),
        points_b_px=token_centres_px(token_b, B.grid, B.size),
        similarity=np.array([0.9, 0.8, 0.8, 0.7], np.float32),
        selected_a=300,
        selected_b=150,
        verification=Verification("f", kind, {}, "encoded", matrix, np.array([True, False, True, False])),
        time_ms={"forward_a": 1.0, "forward_b": 2.0, "match": 3.0, "total": 6.0},
        refinement=refinement,
        verdict=Verdict(0.9, (), 0.25, 0.75, 0.5, -9.0),
    )


def test_everything_changes_sides_and_the_order_holds() -> None:
    there = result()
    back = mirrored(there)
    assert (back.image_a, back.image_b, back.selected_a, back.selected_b) == (B, A, 150, 300)
    assert back.token_a.tolist() == [2, 4, 8, 6]
    assert back.token_b.tolist() == [7, 9, 1, 3]
    assert back.verification.inliers.tolist() == [True, True, False, False]
    assert np.array_equal(back.points_a_px, token_centres_px(back.token_a, B.grid, B.size))
    assert np.array_equal(back.points_b_px, token_centres_px(back.token_b, A.grid, A.size))
    assert back.time_ms == {"forward_a": 2.0, "forward_b": 1.0, "match": 3.0, "total": 6.0}
    assert back.verdict is not None
    assert (back.verdict.overlap_a, back.verdict.overlap_b) == (0.75, 0.25)


def test_a_point_map_is_inverted_and_uncertainties_follow_its_scale() -> None:
    back = mirrored(result())
    assert back.verification.matrix is not None
    np.testing.assert_allclose(back.verification.matrix @ SCALE_2, np.eye(3), atol=1e-12)
    assert back.refinement is not None
    np.testing.assert_allclose(
        project(back.verification.matrix, back.refinement.points_a_px), back.refinement.points_b_px, atol=1e-9
    )
    np.testing.assert_allclose(back.refinement.uncertainty_px, [0.5, 2.0])
    assert back.refinement.steps[0].uncertainty_px == pytest.approx(1.5)


def test_an_epipolar_model_is_transposed() -> None:
    matrix = np.arange(9.0).reshape(3, 3)
    back = mirrored(result(ModelKind.EPIPOLAR, matrix)).verification.matrix
    assert back is not None
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=3), rng.normal(size=3)
    assert a @ back @ b == pytest.approx(b @ matrix @ a)


@pytest.mark.parametrize("matrix", [None, np.zeros((3, 3))])
def test_no_model_stays_none(matrix: np.ndarray | None) -> None:
    assert mirrored(result(matrix=matrix)).verification.matrix is None


def test_twice_is_the_same() -> None:
    there = result()
    again = mirrored(mirrored(there))
    for name in ("token_a", "token_b", "points_a_px", "points_b_px", "similarity"):
        assert np.array_equal(getattr(again, name), getattr(there, name))
    assert np.array_equal(again.verification.inliers, there.verification.inliers)
    assert again.time_ms == there.time_ms


def test_each_photograph_keeps_its_view() -> None:
    there = replace(result(), view_a=View(90.0), view_b=View(0.0, 0.5))
    back = mirrored(there)
    assert (back.view_a, back.view_b) == (there.view_b, there.view_a)
    assert (mirrored(back).view_a, mirrored(back).view_b) == (there.view_a, there.view_b)


def test_matches_are_sorted_by_b() -> None:
    similarity = np.array([0.9, 0.8, 0.8], np.float32)
    back = mirrored_matches(Matches(np.array([5, 1, 2], np.int32), np.array([0, 7, 3], np.int32), similarity))
    assert (back.index_a.tolist(), back.index_b.tolist()) == ([0, 3, 7], [5, 2, 1])
    assert np.array_equal(back.similarity, similarity)
