import numpy as np
import pytest

from engine.errors import UsageError
from engine.search import SearchPlan, likely_similarities, parse_scales, rank_views, sides, view_score
from engine.views import View


def test_score_counts_the_matches_of_one_similarity() -> None:
    rng = np.random.default_rng(0)
    a = rng.uniform(0, 336, (150, 2))
    angle, scale = np.deg2rad(20), 1.3
    turned = a @ (scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])).T + [40, -30]
    b = np.where(np.arange(150)[:, None] < 60, turned + rng.normal(0, 1, a.shape), rng.uniform(0, 400, a.shape))
    assert 55 <= view_score(a, b, 8.0) <= 75
    assert view_score(a, rng.uniform(0, 400, a.shape), 8.0) < 20


def test_score_ignores_what_the_view_itself_should_have_turned() -> None:
    a = np.random.default_rng(1).uniform(0, 336, (100, 2))
    assert view_score(a, a @ np.array([[0.0, 1.0], [-1.0, 0.0]]), 8.0) < 20


def test_score_of_too_few_and_coinciding_matches() -> None:
    assert view_score(np.zeros((2, 2)), np.zeros((2, 2)), 8.0) == 0
    assert view_score(np.zeros((9, 2)), np.zeros((9, 2)), 8.0) == 0


def scored(peak_deg: float, width_deg: float = 40.0) -> tuple[list[View], object]:
    asked: list[View] = []

    def score(view: View) -> int:
        asked.append(view)
        off = abs((view.rotation_deg - peak_deg + 180) % 360 - 180)
        return int(8 + 100 * np.exp(-((off / width_deg) ** 2)) * (view.scale == 1.0))

    return asked, score


@pytest.mark.parametrize("peak", range(0, 360, 15))
def test_the_best_of_twelve_rotations_is_found(peak: int) -> None:
    asked, score = scored(float(peak))
    best = rank_views(SearchPlan(12), (1.0,), score).views[0]  # type: ignore[arg-type]
    off = abs((best.rotation_deg - peak + 180) % 360 - 180)
    assert off <= 15
    assert len(asked) == len(set(asked)) <= 12


def test_a_clear_winner_saves_the_other_views() -> None:
    asked, score = scored(90.0)
    rank_views(SearchPlan(12, (1.0, 0.5)), (1.0, 0.5), score)  # type: ignore[arg-type]
    assert len(asked) == 6
    assert {view.scale for view in asked} == {1.0}


def test_without_a_winner_everything_is_tried_once() -> None:
    asked: list[View] = []

    def flat(view: View) -> int:
        asked.append(view)
        return 10

    ranked = rank_views(SearchPlan(8, (1.0, 0.5)), (1.0, 0.5), flat)
    assert len(asked) == len(set(asked)) == 16
    assert len(ranked.to_verify) == 3


def test_only_views_near_the_best_are_verified() -> None:
    scores = {0.0: 40, 90.0: 19, 180.0: 21, 270.0: 5}
    ranked = rank_views(SearchPlan(4), (1.0,), lambda view: scores[view.rotation_deg])
    assert [view.rotation_deg for view in ranked.to_verify] == [0.0, 180.0]


@pytest.mark.parametrize(("rotations", "scales"), [(3, (1.0,)), (4, ()), (4, (0.0,))])
def test_wrong_plans(rotations: int, scales: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match=r"^(rotations|scales) "):
        SearchPlan(rotations, scales)


def test_a_photograph_is_only_ever_turned_or_made_smaller_and_few_views_stand_for_all() -> None:
    plan = SearchPlan(12, (1.0, 0.5, 2.0))
    seen_a, seen_b = set(), set()
    for scale in plan.scales:
        for angle in plan.angles_deg:
            a, b = sides(View(angle, scale))
            assert max(a.scale, b.scale) == 1.0
            assert b.scale / a.scale == scale
            assert (b.rotation_deg - a.rotation_deg - angle) % 360.0 == 0.0
            seen_a.add(a)
            seen_b.add(b)
    # Twelve besides the upright view that plain matching needs, on whatever side an image is.
    assert len(seen_a | seen_b) - 1 == 12


def test_the_likely_similarity_is_found_among_three_times_as_many_wrong_matches() -> None:
    rng = np.random.default_rng(5)
    a = rng.uniform(0, 336, (100, 2))
    angle = np.deg2rad(12.0)
    true = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * 1.1
    b = a @ true.T + (20.0, -35.0) + rng.normal(0, 4, (100, 2))
    b[25:] = rng.uniform(0, 336, (75, 2))
    order = rng.permutation(100)
    first, *_ = likely_similarities(a[order], b[order], 12.0)
    corners = np.array([[0.0, 0.0], [335.0, 0.0], [335.0, 335.0], [0.0, 335.0]])
    expected = corners @ true.T + (20.0, -35.0)
    found = corners @ first[:2, :2].T + first[:2, 2]
    assert np.linalg.norm(found - expected, axis=1).max() < 12.0
    assert likely_similarities(a[:2], b[:2], 12.0) == []


def test_scale_1_is_always_tried() -> None:
    assert parse_scales("0.5,2") == (1.0, 0.5, 2.0)
    assert parse_scales("2,1") == (2.0, 1.0)
