"""Evidence and verdict on made-up matches whose geometry is known."""

import json
import math
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.coordinates import project, token_centres_px
from engine.hooks import ModelKind
from engine.results import ImageRef, PairResult, Refinement, RefinementStep, Verdict, Verification
from engine.verdict.evidence import COLLAPSED, COLLINEAR, MIRRORED, TOO_FEW, gather, log10_false_alarms
from engine.verdict.judge import COARSE, REFINED, features, models, verdict_of, with_verdict

SIZE, ENCODED, GRID = (1008, 1008), (336, 336), (21, 21)
TURNED = np.array([[0.6, -0.5, 300.0], [0.5, 0.6, -60.0], [0.0, 0.0, 1.0]])


def pair(matrix: np.ndarray, right: int, wrong: int) -> PairResult:
    """A result with at most `right` matches of a map and `wrong` ones; inliers lie within 8 px of the encoded image."""
    rng = np.random.default_rng(0)
    a, b = (ImageRef(key, key, Path(f"{key}.jpg"), SIZE, ENCODED, GRID, 1, 1) for key in ("400.1", "200.1"))
    points = token_centres_px(rng.permutation(GRID[0] * GRID[1]), GRID, SIZE)
    seen = points[(np.abs(project(matrix, points) - 503.5) < 504).all(axis=1)][:right]
    points_a = np.vstack([seen, rng.uniform(0, 1008, (wrong, 2))])
    points_b = np.vstack([project(matrix, seen), rng.uniform(0, 1008, (wrong, 2))])
    inliers = np.linalg.norm(project(matrix, points_a) - points_b, axis=1) <= 8.0 * 3
    found = Verification("homography", ModelKind.POINT_MAP, {"reproj_th": 8.0}, "encoded", matrix, inliers)
    count = len(points_a)
    return PairResult(
        image_a=a,
        image_b=b,
        cosine=0.5,
        token_a=np.zeros(count, np.int32),
        token_b=np.zeros(count, np.int32),
        points_a_px=points_a,
        points_b_px=points_b,
        similarity=np.ones(count, np.float32),
        selected_a=441,
        selected_b=441,
        verification=found,
        time_ms={"total": 1.0},
    )


def aligned(result: PairResult, alignment: float, structure: float = 0.0) -> PairResult:
    """The result refined: how alike both photographs then are, and the share of blocks that agreed (0: too few)."""
    blocks = round(200 * structure)
    steps = (
        RefinementStep("dense_336px", 90, 80, 1.0, alignment, True),
        RefinementStep("structure_288px", 200, blocks, 0.5, alignment, blocks > 0),
    )
    nothing = np.empty((0, 2))
    return replace(result, refinement=Refinement(steps, 0.1, nothing, nothing, alignment_after=alignment))


def test_false_alarms_follow_the_formula() -> None:
    n, k, s, p = 50, 12, 4, 0.01
    expected = 3 * (n - s) * math.comb(n, k) * math.comb(k, s) * p ** (k - s)
    assert log10_false_alarms(n, k, s, p, views=3) == pytest.approx(math.log10(expected))
    assert log10_false_alarms(50, 4, 4, 0.01) == 0.0
    assert log10_false_alarms(50, 5, 4, 0.5) == 0.0


def test_chance_gives_no_more_alarms_than_expected() -> None:
    """Shifts through one random match each: of 2000 pairs, at most a tenth has a shift of 0.1 alarms or fewer."""
    rng = np.random.default_rng(0)
    n, tolerance, side = 40, 8.0, 336.0
    p = math.pi * tolerance**2 / side**2
    alarms = []
    for _ in range(2000):
        shift = np.subtract(*rng.uniform(0, side, (2, n, 2)))
        fitting = np.linalg.norm(shift[:, None] - shift[None], axis=2) <= tolerance
        alarms.append(log10_false_alarms(n, int(fitting.sum(axis=1).max()), 1, p))
    assert np.mean(np.array(alarms) <= -1) <= 0.1
    assert min(alarms) > -4


def test_a_clear_pair_is_one_place_and_chance_is_not() -> None:
    same = verdict_of(pair(TURNED, 150, 60))
    assert same is not None
    assert same.same_place
    assert same.flags == ()
    assert same.log10_false_alarms < -50
    other = verdict_of(pair(TURNED, 0, 120))
    assert other is not None
    assert not other.same_place
    assert other.probability < 0.1


def test_the_overlap_is_that_of_the_map() -> None:
    """A shift by a quarter and a half of the side leaves 3/8 of both; known to a twelfth of the side."""
    evidence = gather(pair(np.array([[1.0, 0, 252], [0, 1, 504], [0, 0, 1]]), 160, 20))
    assert evidence is not None
    assert evidence.overlap_a == pytest.approx(0.375, abs=0.05)
    assert evidence.overlap_b == pytest.approx(0.375, abs=0.05)
    assert evidence.covered > 0.9


def test_inliers_in_one_corner_cover_little() -> None:
    result = pair(np.eye(3), 441, 0)
    corner = (result.points_a_px < 340).all(axis=1)
    found = replace(result.verification, inliers=corner)
    evidence = gather(replace(result, verification=found))
    assert evidence is not None
    assert evidence.covered == pytest.approx(1 / 9, abs=0.05)


@pytest.mark.parametrize(
    ("matrix", "flag"),
    [
        (np.array([[-1.0, 0, 1007], [0, 1, 0], [0, 0, 1]]), MIRRORED),
        (np.array([[0.05, 0, 400], [0, 0.05, 400], [0, 0, 1.0]]), COLLAPSED),
        (np.array([[1.0, 0, 0], [0, 0.1, 400], [0, 0, 1.0]]), COLLAPSED),
    ],
)
def test_impossible_geometry_is_flagged_and_speaks_for_nothing(matrix: np.ndarray, flag: str) -> None:
    result = pair(matrix, 200, 20)
    evidence, verdict = gather(result), verdict_of(result)
    assert evidence is not None
    assert verdict is not None
    assert flag in verdict.flags
    assert set(features(evidence).values()) == {0.0}
    assert not verdict.same_place
    sound = gather(pair(TURNED, 200, 20))
    assert sound is not None
    assert sound.flags == ()


def test_few_inliers_and_a_line_of_them_are_flagged() -> None:
    few = gather(pair(TURNED, 5, 0))
    assert few is not None
    assert few.flags == (TOO_FEW,)
    line = pair(np.eye(3), 441, 0)
    row = np.abs(line.points_a_px[:, 1] - 503.5) < 20
    evidence = gather(replace(line, verification=replace(line.verification, inliers=row)))
    assert evidence is not None
    assert evidence.flags == (COLLINEAR,)


def test_without_a_model_or_a_geometry() -> None:
    result = pair(TURNED, 50, 0)
    none = replace(result.verification, matrix=None, inliers=np.zeros(len(result.similarity), bool))
    verdict = verdict_of(replace(result, verification=none))
    assert verdict is not None
    assert (verdict.same_place, verdict.flags, verdict.overlap_a) == (False, (TOO_FEW,), None)
    off = replace(result.verification, kind=ModelKind.NONE, matrix=None)
    assert verdict_of(replace(result, verification=off)) is None


def test_an_epipolar_geometry_tells_no_overlap_and_needs_more_inliers() -> None:
    """A point falls within 8 px of a line by chance more often than of a point: the same inliers prove less."""
    flat = pair(TURNED, 80, 60)
    skew = np.array([[0, -0.1, 0.2], [0.1, 0, -0.3], [-0.2, 0.3, 0]])
    line = replace(flat.verification, kind=ModelKind.EPIPOLAR, filter="fundamental", matrix=skew)
    epipolar, point = gather(replace(flat, verification=line)), gather(flat)
    assert epipolar is not None
    assert point is not None
    assert (epipolar.overlap_a, epipolar.overlap_b) == (None, None)
    assert epipolar.log10_false_alarms > point.log10_false_alarms


def test_more_evidence_never_lowers_the_probability() -> None:
    for name, model in models().items():
        assert name in (COARSE, REFINED)
        assert min(model.weights.values()) >= 0
        assert 0 < model.lowest < 0.5 < model.highest < 1
    probabilities = [verdict_of(pair(TURNED, count, 60)) for count in (5, 10, 20, 40, 80, 160)]
    values = [verdict.probability for verdict in probabilities if verdict]
    assert values == sorted(values)
    # With refinement, how well the photographs align counts as well, and how many blocks of their structure agree.
    kinds = ((0.0, 0.0), (0.6, 0.0), (0.6, 0.8))
    refined = [verdict_of(aligned(pair(TURNED, 60, 60), *kind)) for kind in kinds]
    weak, alike, strong = (verdict.probability for verdict in refined if verdict)
    assert weak < 0.3 < alike < strong
    assert strong > 0.9


def test_patches_that_agree_are_outvoted_by_structure_that_does_not() -> None:
    """Two pictures of bare ground: patches match by their position, and no block of either is found in the other."""
    verdict = verdict_of(aligned(pair(np.eye(3), 90, 60), 0.05))
    assert verdict is not None
    assert not verdict.same_place


def test_it_does_not_depend_on_the_size_of_the_files_nor_on_their_frame() -> None:
    """The same scene in files of three times the size, encoded alike, is the same evidence."""
    small = pair(TURNED, 100, 60)
    grow = np.diag([3.0, 3.0, 1.0])
    large = replace(
        small,
        image_a=replace(small.image_a, size=(3024, 3024)),
        image_b=replace(small.image_b, size=(3024, 3024)),
        points_a_px=3 * small.points_a_px,
        points_b_px=3 * small.points_b_px,
        verification=replace(small.verification, matrix=grow @ TURNED @ np.linalg.inv(grow)),
    )
    first, second = gather(small), gather(large)
    assert first is not None
    assert second is not None
    assert second.log10_false_alarms == pytest.approx(first.log10_false_alarms)
    assert second.covered == pytest.approx(first.covered, abs=0.06)


def test_words() -> None:
    verdict = Verdict(0.9999, (), 0.5, 0.5, 0.5, -20.0)
    assert str(verdict) == "same place 0.99"
    assert str(replace(verdict, probability=0.03)) == "other place 0.97"
    assert json.loads(json.dumps(verdict.as_json()))["same_place"] is True


def test_results_and_verdicts_cross_process_borders() -> None:
    result = with_verdict(pair(TURNED, 80, 60))
    assert pickle.loads(pickle.dumps(result)).verdict == result.verdict


def test_the_weights_say_where_they_come_from() -> None:
    path = Path(__file__).resolve().parents[3] / "engine" / "verdict" / "weights.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["provenance"]["command"].startswith("python -m benchmarks.verdict")
    assert set(content["reliability"]) == set(content["models"]) == {COARSE, REFINED}
