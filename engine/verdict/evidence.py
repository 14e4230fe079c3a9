"""What speaks for the geometry found on a pair, in figures that do not depend on the backbone.

The first is how improbable so many inliers are by chance. With n matches whose ends lie anywhere, of which each fits a
given model with probability p, the expected number of models through s matches that k of them fit is at most
`(n - s) C(n, k) C(k, s) p^(k - s)`, the number of false alarms of L. Moisan and B. Stival, "A probabilistic criterion
to detect rigid point matches between two images and estimate the fundamental matrix", IJCV 57(3), 2004, here times the
views searched. Neighbouring patches look alike, so real matches are not independent; what the number is worth is
therefore calibrated (see `engine.verdict.judge`).
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.hooks import ModelKind
from engine.results import ImageRef, PairResult, Refinement, Verification
from engine.verdict.geometry import Overlap, covered_share, is_collapsed, is_mirrored, overlap_of
from engine.verification import ENCODED, residuals_px

TOO_FEW, COLLINEAR, COLLAPSED, MIRRORED = "too_few", "collinear", "collapsed_scale", "mirrored"
FLAGS = (TOO_FEW, COLLINEAR, COLLAPSED, MIRRORED)
IMPOSSIBLE = frozenset((COLLAPSED, MIRRORED))
"""Geometries that no two photographs of one place have: their inliers speak for nothing."""
FEWEST_INLIERS = 8
"""Twice the matches that determine a homography."""
_SAMPLES = {"similarity": 2, "affine": 3, "homography": 4, "fundamental": 7}
"""Matches that determine a model; of models not listed, as many as a homography or an epipolar geometry takes."""


@dataclass(frozen=True)
class Evidence:
    """What the verdict rests on.

    Attributes:
        matches: of the pair.
        inliers: matches that fit the model; 0 without one.
        log10_false_alarms: decimal logarithm of the number of such models expected by chance; at most 0.
        inlier_ratio: share of inliers among the matches that lie in the overlap, 0 to 1.
        covered: share of the overlap (of photograph a where the model tells no overlap) that inliers are spread over.
        overlap_a, overlap_b: share of each photograph that the model maps into the other; None for epipolar models.
        alignment: likeness of both photographs' structure under the refined model, -1 to 1; None without refinement.
        structure: share of the blocks of the common frame, compared at the coarsest step of structure, that agree on
            the refined model, 0 to 1; 0 where that step was not taken, None without refinement.
        flags: what is degenerate, of `FLAGS`.
    """

    matches: int
    inliers: int
    log10_false_alarms: float
    inlier_ratio: float
    covered: float
    overlap_a: float | None
    overlap_b: float | None
    alignment: float | None
    structure: float | None
    flags: tuple[str, ...]


def gather(result: PairResult) -> Evidence | None:
    """The evidence of a pair's result; None where its filter looks at no geometry.

    A tenth of a millisecond or so: meant to be called on every pair.
    """
    found = result.verification
    if found.kind is ModelKind.NONE:
        return None
    if found.inlier_count < FEWEST_INLIERS:
        result = _by_structure(result)
        found = result.verification
    count = len(result.similarity)
    if found.matrix is None or not found.inlier_count:
        return Evidence(count, 0, 0.0, 0.0, 0.0, None, None, None, None, (TOO_FEW,))
    frame = _Frame.of(result)
    a, b = result.points_a_px * frame.scale_a, result.points_b_px * frame.scale_b
    inliers_a, inliers_b = a[found.inliers], b[found.inliers]
    flags = [TOO_FEW] if len(inliers_a) < FEWEST_INLIERS else []
    if _narrowest(inliers_a) < frame.tolerance or _narrowest(inliers_b) < frame.tolerance:
        flags.append(COLLINEAR)
    overlap: Overlap | None = None
    considered = count
    if found.kind is ModelKind.POINT_MAP:
        matrix = np.diag([*frame.scale_b, 1.0]) @ found.matrix @ np.diag([*(1 / frame.scale_a), 1.0])
        middle = inliers_a.mean(axis=0)
        if is_collapsed(matrix, middle, frame.size_a, frame.size_b):
            flags.append(COLLAPSED)
        if is_mirrored(matrix, middle):
            flags.append(MIRRORED)
        overlap = overlap_of(matrix, frame.size_a, frame.size_b, middle)
        considered = max(len(inliers_a), overlap.count_inside(a))
        chance = frame.chance_of_point(matrix, middle)
    else:
        chance = frame.chance_of_line()
    samples = _SAMPLES.get(found.model or found.filter, 7 if found.kind is ModelKind.EPIPOLAR else 4)
    refined = result.refinement
    return Evidence(
        matches=count,
        inliers=len(inliers_a),
        log10_false_alarms=log10_false_alarms(count, len(inliers_a), samples, chance, result.views_tried),
        inlier_ratio=len(inliers_a) / considered,
        covered=covered_share(inliers_a, frame.size_a, overlap),
        overlap_a=overlap.share_a if overlap else None,
        overlap_b=overlap.share_b if overlap else None,
        alignment=None if refined is None else _alignment(refined),
        structure=None if refined is None else _structure(refined),
        flags=tuple(flags),
    )


def _alignment(refined: Refinement) -> float:
    """The alignment under the final model; of results of a version that did not give it, that of the last step."""
    if refined.alignment_after is not None:
        return refined.alignment_after
    taken = [step.alignment for step in refined.steps if step.accepted and step.alignment is not None]
    return [refined.alignment_before or 0.0, *taken][-1]


def _structure(refined: Refinement) -> float:
    """Of the start that was taken last."""
    taken = [step for step in refined.steps if step.accepted and step.name.startswith("structure")]
    starts = [step.name.partition("_from_")[2] for step in taken]
    if not taken:
        return 0.0
    first = taken[starts.index(starts[-1])]
    return first.inliers / first.matches


def _by_structure(result: PairResult) -> PairResult:
    """The result with the refined matches in place of its patches', where structure took over from too few of those.

    A step of structure is taken only if many of its matches agree; between different places it never was.
    """
    refined = result.refinement
    taken = refined is not None and any(s.accepted and s.name.startswith(("structure", "tiles")) for s in refined.steps)
    if refined is None or not taken or len(refined.points_a_px) <= result.verification.inlier_count:
        return result
    count = len(refined.points_a_px)
    return replace(
        result,
        verification=replace(result.verification, inliers=np.ones(count, bool)),
        similarity=np.ones(count, np.float32),
        points_a_px=refined.points_a_px,
        points_b_px=refined.points_b_px,
    )


def log10_false_alarms(matches: int, inliers: int, samples: int, chance: float, views: int = 1) -> float:
    """Decimal logarithm of the number of models with so many inliers expected by chance, 0 where it is above 1.

    Args:
        matches: n; `inliers` k of them.
        samples: s, matches that determine the model.
        chance: p, probability that a match that means nothing fits a model, 0 to 1.
        views: how many times a model was looked for.
    """
    if inliers <= samples or matches <= samples:
        return 0.0
    tests = math.log10(views * (matches - samples)) + _log10_binomial(matches, inliers)
    tests += _log10_binomial(inliers, samples)
    return min(0.0, tests + (inliers - samples) * math.log10(min(1.0, chance)))


def _log10_binomial(n: int, k: int) -> float:
    return (math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)) / math.log(10)


def _narrowest(points: NDArray[np.float64]) -> float:
    """Standard deviation of points [K, 2] across the direction they are spread least in, pixels."""
    x, y = (points - points.mean(axis=0)).T
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    smallest = (xx + yy - math.hypot(xx - yy, 2 * xy)) / 2
    return math.sqrt(max(0.0, smallest) / len(points))


@dataclass(frozen=True, eq=False)
class _Frame:
    """The pixels that the tolerance is meant in.

    Attributes:
        scale_a, scale_b: [2] pixels of the frame per original pixel, along x and y.
        size_a, size_b: [2] width and height in pixels of the frame.
        tolerance: largest error of an inlier.
    """

    scale_a: NDArray[np.float64]
    scale_b: NDArray[np.float64]
    size_a: NDArray[np.float64]
    size_b: NDArray[np.float64]
    tolerance: float

    @classmethod
    def of(cls, result: PairResult) -> "_Frame":
        found = result.verification
        sizes = [np.array(image.size, np.float64) for image in (result.image_a, result.image_b)]
        shown = [image.encoded_size if found.reproj_unit == ENCODED else image.size for image in _images(result)]
        frame = [np.array(size, np.float64) for size in shown]
        scale_a, scale_b = frame[0] / sizes[0], frame[1] / sizes[1]
        tolerance = _tolerance(found, result, float(np.sqrt(scale_b.prod())))
        return cls(scale_a, scale_b, frame[0], frame[1], tolerance)

    def chance_of_point(self, matrix: NDArray[np.float64], middle: NDArray[np.float64]) -> float:
        """Share of a photograph within the tolerance of a point; of b, or of a where that is the larger share."""
        disc = math.pi * self.tolerance**2
        w = float(matrix[2] @ (*middle, 1.0))
        growth = abs(float(np.linalg.det(matrix)) / w**3)
        shares = disc / float(self.size_b.prod()), disc / (max(growth, 1e-12) * float(self.size_a.prod()))
        return min(1.0, max(shares))

    def chance_of_line(self) -> float:
        """Share of a photograph within the tolerance of a line across it, at most."""
        shares = [2 * self.tolerance * np.hypot(*size) / size.prod() for size in (self.size_a, self.size_b)]
        return float(min(1.0, max(shares)))


def _images(result: PairResult) -> tuple[ImageRef, ImageRef]:
    return result.image_a, result.image_b


def _tolerance(found: Verification, result: PairResult, scale_b: float) -> float:
    """The filter's threshold; of a filter without one, the largest error of an inlier (at least half a pixel)."""
    threshold = found.options.get("reproj_th")
    if isinstance(threshold, int | float):
        return float(threshold)
    residuals = residuals_px(found, result.points_a_px, result.points_b_px)
    largest = float(np.max(residuals[found.inliers])) if residuals is not None else 0.0
    return max(0.5, largest * scale_b)
