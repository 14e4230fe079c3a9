"""Matched pairs to figures: each result, and each reference on the same pair, against the truth."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from engine.evaluate.metrics import Measured, match_errors
from engine.evaluate.references import Found, Reference
from engine.evaluate.truth import Case
from engine.hooks import ModelKind
from engine.resampling import encoded_size
from engine.results import PairResult


@dataclass(frozen=True)
class Row:
    """One pair: the method under test first, the references after it."""

    case: Case
    measured: tuple[Measured, ...]


def measure_pairs(
    cases: Sequence[Case],
    results: Sequence[PairResult],
    name: str,
    references: Sequence[Reference],
    image_size: int,
    stride: int,
) -> Iterator[Row]:
    """Measures results in the order of their cases, and runs the references on the same photographs.

    Args:
        name: what the method under test is called.
        image_size, stride: shorter side of the encoded image, and side of a patch in it, in pixels: what a patch is.

    Raises:
        TruthError: the photographs of a case share no ground.
        ImageReadError: a photograph cannot be read.
    """
    for case, result in zip(cases, results, strict=True):
        patch_px = patch_size_px(result.image_b.size, image_size, stride)
        own = measure_result(case, result, name, patch_px)
        sizes = (result.image_a.size, result.image_b.size)
        others = [
            measure_found(case, reference(case.pair.a, case.pair.b), sizes, reference.name, patch_px)
            for reference in references
        ]
        yield Row(case, (own, *others))


def measure_result(case: Case, result: PairResult, name: str, patch_b_px: tuple[float, float]) -> Measured:
    """Figures of the pipeline's result on a pair. A model that is no point map counts as none."""
    verification = result.verification
    matrix = verification.matrix if verification.kind is ModelKind.POINT_MAP else None
    inliers = np.asarray(verification.inliers, bool) if matrix is not None else np.zeros(len(result.similarity), bool)
    refined, fine = None, result.refinement
    if fine is not None and len(fine.points_a_px):
        every = np.ones(len(fine.points_a_px), bool)
        errors = match_errors(fine.points_a_px, fine.points_b_px, every, case.a_to_b, patch_b_px)
        refined = None if errors is None else (len(every), errors.median_px)
    return Measured(
        method=name,
        error_pct=case.error_pct(matrix, result.image_a.size, result.image_b.size),
        matches=len(result.similarity),
        inliers=int(inliers.sum()),
        errors=match_errors(result.points_a_px, result.points_b_px, inliers, case.a_to_b, patch_b_px),
        time_ms=result.time_ms["total"],
        refined=refined,
    )


def measure_found(
    case: Case,
    found: Found,
    sizes: tuple[tuple[int, int], tuple[int, int]],
    name: str,
    patch_b_px: tuple[float, float],
) -> Measured:
    """Figures of a reference on a pair; `sizes`: (width, height) of a and b."""
    errors = None
    if found.points_a_px is not None and found.points_b_px is not None and found.inlier_mask is not None:
        errors = match_errors(found.points_a_px, found.points_b_px, found.inlier_mask, case.a_to_b, patch_b_px)
    return Measured(name, case.error_pct(found.matrix, *sizes), found.matches, found.inliers, errors, found.time_ms)


def patch_size_px(size: tuple[int, int], image_size: int, stride: int) -> tuple[float, float]:
    """(width, height) of a patch in original pixels, of a photograph of `size` encoded upright and at scale 1.

    A result may come from a turned or scaled view; what is called a patch stays the same.
    """
    encoded = encoded_size(size, image_size, stride)
    return size[0] * stride / encoded[0], size[1] * stride / encoded[1]
