"""Where structure takes over from too few patches, the verdict rests on the refined matches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.hooks import ModelKind
from engine.results import ImageRef, PairResult, Refinement, RefinementStep, Verification
from engine.verdict.evidence import gather
from engine.verdict.judge import verdict_of

SIZE = (800, 600)


def refined_pair(accepted: bool) -> PairResult:
    """No patch fits the model; 400 refined matches do, of a step of structure that was accepted or not."""
    rng = np.random.default_rng(0)
    points = rng.uniform((50, 50), (700, 500), (400, 2))
    images = [ImageRef(f"{n}.1", f"{n}.1", Path(f"{n}.jpg"), SIZE, (448, 336), (21, 28), 1, 1) for n in (1, 2)]
    step = RefinementStep("structure_288px", 500, 400, 0.4, 0.7, accepted)
    kept = points if accepted else points[:0]
    tokens = np.arange(30, dtype=np.int32)
    patches = rng.uniform((0, 0), SIZE, (30, 2))
    return PairResult(
        *images,
        0.9,
        tokens,
        tokens,
        patches,
        patches[::-1],
        np.linspace(0.9, 0.5, 30).astype(np.float32),
        588,
        588,
        Verification("homography", ModelKind.POINT_MAP, {"reproj_th": 8.0}, "encoded", np.eye(3), np.zeros(30, bool)),
        {"forward_a": 1.0, "forward_b": 1.0, "total": 2.0},
        refinement=Refinement((step,), 0.1, kept, kept + np.array([1.0, -1.0]), np.full(len(kept), 0.4)),
    )


@pytest.mark.parametrize("accepted", [True, False])
def test_accepted_structure_speaks_for_one_place(accepted: bool) -> None:
    verdict = verdict_of(refined_pair(accepted))
    assert verdict is not None
    assert verdict.same_place == accepted
    assert ("too_few" in verdict.flags) != accepted


def test_the_structure_that_counts_is_that_of_the_start_taken_last() -> None:
    steps = (
        RefinementStep("structure_288px", 100, 36, 0.4, 0.1, True),
        RefinementStep("structure_288px_from_keypoints", 100, 90, 0.4, 0.7, True),
        RefinementStep("structure_480px_from_keypoints", 200, 120, 0.4, 0.7, True),
    )
    pair = refined_pair(True)
    assert pair.refinement is not None
    evidence = gather(replace(pair, refinement=replace(pair.refinement, steps=steps)))
    assert evidence is not None
    assert evidence.structure == 0.9
