import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.features import FeatureMap, Matches
from engine.selection import prune_matches, select_tokens


def features_of(norms: list[float]) -> FeatureMap:
    count = len(norms)
    return FeatureMap(
        "k",
        np.eye(count, 8, dtype=np.float16),
        np.array(norms, np.float32),
        np.arange(count, dtype=np.int32),
        np.ones(8, np.float32),
        (1, count),
        (16 * count, 16),
        (16 * count, 16),
    )


def test_norms_are_min_max_scaled_within_the_image() -> None:
    chosen = select_tokens(features_of([10, 12, 20, 15, 11]), 0.5, 100)
    assert chosen.token_index.tolist() == [2, 3]


def test_equal_norms_keep_every_token() -> None:
    assert len(select_tokens(features_of([3, 3, 3]), 0.9, 100)) == 3


def test_threshold_zero_keeps_the_weakest_token() -> None:
    assert len(select_tokens(features_of([1, 2, 3]), 0.0, 100)) == 3


def test_above_max_features_an_even_sample_stays() -> None:
    chosen = select_tokens(features_of([5.0] * 101), 0.0, 11)
    assert chosen.token_index.tolist() == list(range(0, 101, 10))


def test_selected_tokens_keep_their_place_in_the_grid() -> None:
    full = features_of([1, 5, 1, 5])
    assert np.allclose(select_tokens(full, 0.5, 10).points_px, full.points_px[[1, 3]])


def matches_of(rows: list[tuple[int, int, float]]) -> Matches:
    a, b, s = (np.array(column) for column in zip(*rows, strict=True))
    return Matches.best_first(a, b, s)


def test_both_thresholds_are_inclusive() -> None:
    matches = matches_of([(0, 0, 0.8), (1, 1, 0.4), (2, 2, 0.3), (3, 3, 0.05)])
    assert prune_matches(matches, 0.1, 0.5).index_a.tolist() == [0, 1]
    assert prune_matches(matches, 0.25, 0.0).index_a.tolist() == [0, 1, 2]


def test_one_to_one_keeps_the_best_and_breaks_ties_by_index() -> None:
    matches = matches_of([(0, 5, 0.9), (1, 5, 0.9), (1, 6, 0.5), (0, 6, 0.7)])
    kept = prune_matches(matches, 0.0, 0.0)
    assert list(zip(kept.index_a.tolist(), kept.index_b.tolist(), strict=True)) == [(0, 5), (1, 6)]


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.floats(-1, 1)), min_size=1, max_size=60))
def test_result_is_one_to_one_sorted_and_maximal(rows: list[tuple[int, int, float]]) -> None:
    matches = matches_of(rows)
    kept = prune_matches(matches, -1.0, 0.0) if matches.similarity.max() > 0 else None
    if kept is None:
        return
    assert len(set(kept.index_a.tolist())) == len(kept) == len(set(kept.index_b.tolist()))
    assert (np.diff(kept.similarity) <= 0).all()
    taken_a, taken_b = set(kept.index_a.tolist()), set(kept.index_b.tolist())
    allowed = matches.similarity >= 0.0
    for a, b in zip(matches.index_a[allowed].tolist(), matches.index_b[allowed].tolist(), strict=True):
        assert a in taken_a or b in taken_b
