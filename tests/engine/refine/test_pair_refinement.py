"""Which pairs are refined, and from which map."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_support import GRID, IMAGE, SIZE, feature_map, ground

from engine import pair_refinement
from engine.candidate import Candidate, Prepared
from engine.features import Matches
from engine.hooks import ModelKind
from engine.pair_refinement import DENSE, NO_REFINEMENT, SOFT_ARGMAX, Refiner
from engine.pairs import Pair, file_entries
from engine.plugin_registry import load_registry
from engine.refine.local_features import Keypoints
from engine.refine.steps import Start
from engine.results import ImageRef, PairResult, Refinement, Verification
from engine.views import UPRIGHT
from plugins import BUILTINS

RIGHT = np.array([[1.0, 0, 5 * 32], [0, 1, 3 * 32], [0, 0, 1]])
WRONG = np.array([[0.0, -1, 700], [1, 0, -40], [0, 0, 1]])
RECORD = load_registry(BUILTINS, entry_points=False).filter("homography")
NO_KEYPOINTS = Keypoints(np.empty((0, 2)), np.empty((0, 128), np.float32), 1.0)


@dataclass
class FakeSource:
    """Gives keypoints, and notes what was asked for."""

    found: tuple[Keypoints, Keypoints] = (NO_KEYPOINTS, NO_KEYPOINTS)
    asked: list[str] = field(default_factory=list)

    def photograph(self, pair: Pair, side: str) -> np.ndarray:
        self.asked.append("photograph")
        return np.zeros((*IMAGE[::-1], 3), np.uint8)

    def keypoints(self, pair: Pair, side: str) -> Keypoints:
        self.asked.append("keypoints")
        return self.found["ab".index(side)]

    def tokens(self, picture: np.ndarray) -> np.ndarray:
        raise AssertionError("nothing is refined here")


def maps(same: bool) -> tuple[Prepared, Prepared]:
    """Feature maps of one ground, b 5 tokens to the right and 3 down; or of two."""
    rng = np.random.default_rng(0)
    places = ground(rng)
    b = places if same else ground(rng)
    features = (feature_map(places[3:23, 5:29]), feature_map(b[:20, :24]))
    images = [ImageRef(f"{n}.1", f"{n}.1", Path(f"{n}.jpg"), IMAGE, SIZE, GRID, 1, 1) for n in (1, 2)]
    return Prepared(images[0], features[0], 0.0), Prepared(images[1], features[1], 0.0)


def candidate(same: bool) -> Candidate:
    a, b = maps(same)
    similarity = a.features.descriptors.astype(np.float32) @ b.features.descriptors.astype(np.float32).T
    best = similarity.argmax(axis=1)
    rows = np.flatnonzero(similarity.argmax(axis=0)[best] == np.arange(len(best)))
    matches = Matches.best_first(rows, best[rows], similarity[rows, best[rows]])
    return Candidate(a, b, UPRIGHT, UPRIGHT, matches)


def result(found: Candidate, matrix: np.ndarray | None, kind: ModelKind = ModelKind.POINT_MAP) -> PairResult:
    """As verification leaves it: with a map, matches that it sends where they are found are inliers."""
    inliers = np.zeros(len(found.matches), bool)
    points_a, points_b = found.described["points_a_px"], found.described["points_b_px"]
    if matrix is not None:
        sent = np.column_stack([points_a, np.ones(len(points_a))]) @ matrix.T
        inliers = np.linalg.norm(sent[:, :2] / sent[:, 2:] - points_b, axis=1) < 16
    verification = Verification("homography", kind, {"reproj_th": 8.0}, "encoded", matrix, inliers)
    return PairResult(**found.described, verification=verification, time_ms={"total": 1.0})


def constellation() -> tuple[Keypoints, Keypoints]:
    """Keypoints of two photographs that agree on the right map."""
    rng = np.random.default_rng(1)
    points = rng.uniform((0, 0), (500, 400), (60, 2))
    words = rng.normal(0, 1, (60, 128)).astype(np.float32)
    words /= np.linalg.norm(words, axis=1, keepdims=True)
    return Keypoints(points, words, 1.0), Keypoints(points + RIGHT[:2, 2], words, 1.0)


@pytest.fixture
def refined(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Refines, and returns the names of the starts with the result; every start that is offered is asked for."""

    def run(
        wanted: str, seen: PairResult, found: Candidate, source: FakeSource, least: int = 0, refined_matches: int = 0
    ) -> tuple[list[str] | None, PairResult]:
        taken: list[list[Start]] = []

        def record(_a: Any, _b: Any, starts: Iterable[Start], *_: Any, **named: Any) -> Any:
            taken.append(list(starts))
            kept = np.full((refined_matches, 2), 100.0)
            return taken[0][0].matrix if taken[0] else named["verified"], Refinement((), None, kept, kept)

        monkeypatch.setattr(pair_refinement, "refine", record)
        pair = Pair(*file_entries([Path("1.jpg"), Path("2.jpg")]))
        refiner = Refiner(wanted, 320, RECORD, RECORD.options(), least)
        after = refiner(seen, pair, source, [found])
        return ([start.name for start in taken[0]] if taken else None), after

    return run


def test_a_pair_that_nothing_speaks_for_is_not_refined(refined: Any) -> None:
    found, source = candidate(same=False), FakeSource()
    for matrix in (None, WRONG):
        starts, after = refined(DENSE, result(found, matrix), found, source)
        assert starts is None
        assert after.refinement is None
        assert after.verdict is not None
        assert not after.verdict.same_place
        assert after.time_ms["refine"] >= 0
    assert "photograph" not in source.asked, "deciding needs no photograph"


def test_the_verified_map_comes_first_where_tokens_support_it(refined: Any) -> None:
    found = candidate(same=True)
    starts, after = refined(DENSE, result(found, RIGHT), found, FakeSource())
    assert starts == [""]
    assert after.refinement is not None


def test_a_map_that_matches_vote_for_comes_before_a_wrong_one(refined: Any) -> None:
    found = candidate(same=True)
    for matrix in (WRONG, None):
        starts, _ = refined(DENSE, result(found, matrix), found, FakeSource())
        assert starts is not None
        assert starts[0] == "patches_0"


def test_keypoints_propose_what_patches_do_not_find(refined: Any) -> None:
    found = candidate(same=False)
    starts, _ = refined(DENSE, result(found, None), found, FakeSource(constellation()))
    assert starts == ["keypoints"]


def test_what_has_no_map_of_points_or_is_not_asked_for_is_only_judged(refined: Any) -> None:
    found, source = candidate(same=True), FakeSource(constellation())
    assert refined(NO_REFINEMENT, result(found, RIGHT), found, source)[0] is None
    assert refined(DENSE, result(found, RIGHT, ModelKind.NONE), found, source)[0] is None
    assert refined(SOFT_ARGMAX, result(found, None), found, source)[0] is None
    assert source.asked == []
    assert refined(SOFT_ARGMAX, result(found, RIGHT), found, source)[0] == []


def test_geometries_of_fewer_inliers_than_asked_for_do_not_count(refined: Any) -> None:
    found, source = candidate(same=False), FakeSource(constellation())
    starts, after = refined(DENSE, result(found, None), found, source, least=len(found.matches) + 1)
    assert starts is None, "too few matches to reach so many"
    starts, after = refined(DENSE, result(found, None), found, source, least=50, refined_matches=49)
    assert starts == ["keypoints"]
    assert after.verification.matrix is None
    starts, after = refined(DENSE, result(found, None), found, source, least=50, refined_matches=50)
    np.testing.assert_allclose(after.verification.matrix, RIGHT, atol=0.01)
