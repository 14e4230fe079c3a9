"""A pair seen from its other side: what matching b with a would tell, without doing it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project
from engine.features import Matches
from engine.hooks import ModelKind
from engine.results import PairResult, Refinement, RefinementStep, Verdict, Verification


def mirrored_matches(matches: Matches) -> Matches:
    """The matches from b to a, in their order: best first, ties by index in b."""
    return Matches.best_first(matches.index_b, matches.index_a, matches.similarity)


def mirrored(result: PairResult) -> PairResult:
    """The result of (b, a) that belongs to a result of (a, b).

    Inliers stay: those of the estimate from a to b. A point map is inverted, M' = M^-1; of an epipolar model,
    b^T F a = 0, the transposed one holds. A refined position's uncertainty is brought to pixels of a by the model's
    local scale. Each photograph keeps the view it was matched in, so that a may then be the one that was turned.
    """
    order = np.lexsort((result.token_a, result.token_b, -result.similarity))
    found = result.verification
    matrix = _inverse(found)
    refinement = result.refinement
    time_ms = dict(result.time_ms)
    time_ms["forward_a"], time_ms["forward_b"] = result.time_ms["forward_b"], result.time_ms["forward_a"]
    return replace(
        result,
        image_a=result.image_b,
        image_b=result.image_a,
        token_a=result.token_b[order],
        token_b=result.token_a[order],
        points_a_px=result.points_b_px[order],
        points_b_px=result.points_a_px[order],
        similarity=result.similarity[order],
        selected_a=result.selected_b,
        selected_b=result.selected_a,
        verification=replace(found, matrix=matrix, inliers=found.inliers[order]),
        time_ms=time_ms,
        view_a=result.view_b,
        view_b=result.view_a,
        refinement=None if refinement is None else _mirrored_refinement(refinement, matrix),
        verdict=None if result.verdict is None else _mirrored_verdict(result.verdict),
    )


def _inverse(found: Verification) -> NDArray[np.float64] | None:
    """The model from b to a; None where there is none, or none that can be inverted."""
    if found.matrix is None:
        return None
    if found.kind is ModelKind.EPIPOLAR:
        return np.ascontiguousarray(found.matrix.T)
    try:
        inverse = np.linalg.inv(found.matrix)
    except np.linalg.LinAlgError:
        return None
    return np.asarray(inverse / inverse[2, 2] if inverse[2, 2] else inverse)


def _mirrored_refinement(refinement: Refinement, to_a: NDArray[np.float64] | None) -> Refinement:
    points_a, points_b = refinement.points_a_px, refinement.points_b_px
    scale = np.ones(len(points_b))
    if to_a is not None and len(points_b):
        moved = [project(to_a, points_b + offset) for offset in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
        sides = np.stack([moved[1] - moved[0], moved[2] - moved[0]], axis=1)
        scale = np.sqrt(np.abs(np.linalg.det(sides)))
    typical = float(np.median(scale)) if len(scale) else 1.0

    def step_in_a(step: RefinementStep) -> RefinementStep:
        known = step.uncertainty_px
        return replace(step, uncertainty_px=None if known is None else known * typical)

    sigma = refinement.uncertainty_px
    return replace(
        refinement,
        steps=tuple(step_in_a(step) for step in refinement.steps),
        points_a_px=points_b,
        points_b_px=points_a,
        uncertainty_px=sigma * scale if len(sigma) == len(scale) else sigma,
    )


def _mirrored_verdict(verdict: Verdict) -> Verdict:
    return replace(verdict, overlap_a=verdict.overlap_b, overlap_b=verdict.overlap_a)
