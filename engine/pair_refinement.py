"""Refinement of a pair's result: whether it is worth it, where it starts, and what becomes of the result.

Looking below a patch takes a hundred times as long as matching patches, so only pairs are refined that look like one
place: the verdict on their patches accepts them, or their tokens support a map, or keypoints propose one. The last two
also say where to start, as the largest group of inliers is not always the right one.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.candidate import Candidate, stride_of
from engine.hooks import FilterRecord, ModelKind
from engine.pairs import Pair
from engine.plugin_calls import call_filter
from engine.refine.attempts import attempts
from engine.refine.local_features import keypoint_map
from engine.refine.steps import Start, refine
from engine.refine.support import similarity_of, support
from engine.results import PairResult
from engine.source import Source
from engine.verdict.judge import with_verdict
from engine.verification import with_matrix

NO_REFINEMENT, SOFT_ARGMAX, DENSE = "none", "softargmax", "dense"
REFINEMENTS = (NO_REFINEMENT, SOFT_ARGMAX, DENSE)
SOFT_INLIERS = 8
"""The soft arg-max alone takes pairs of so many inliers: twice what determines a homography."""
SUPPORTED = 0.55
"""A map that so many of the overlap's tokens support is worth refining. Right ones mostly exceed it, wrong ones seldom
do; those cost a step of structure, which turns them down."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Refiner:
    """Refines results with the filter that verified them.

    Attributes:
        wanted: one of `REFINEMENTS`.
        image_size: shorter side of the encoded image in pixels.
        min_inliers: pairs of fewer matches are left alone, and a refined map counts only with so many inliers among the
            patches or so many refined matches.
    """

    wanted: str
    image_size: int
    filter: FilterRecord
    filter_options: Any
    min_inliers: int = 0

    def __call__(self, result: PairResult, pair: Pair, source: Source, candidates: Sequence[Candidate]) -> PairResult:
        """The result with its point map refined, where that is asked for and worth it; judged in any case.

        Args:
            result: matched and verified.
            candidates: what was verified, that of the result first. The refined map may be that of another.

        Raises:
            ImageReadError: a photograph cannot be decoded.
            PluginError: the filter failed.
        """
        judged, found = with_verdict(result), result.verification
        if self.wanted == NO_REFINEMENT or found.kind is not ModelKind.POINT_MAP:
            return judged
        if max(len(seen.matches) for seen in candidates) < self.min_inliers:
            return judged
        began = time.perf_counter()
        stride = stride_of(candidates[0].a)
        starts: Iterator[Start] = iter(())
        if self.wanted == DENSE:
            starts = self._starts(judged, pair, source, candidates)
            first = next(starts, None)
            if first is None:
                return _timed(judged, began)
            starts = chain([first], starts)
        elif found.matrix is None or found.inlier_count < SOFT_INLIERS:
            return judged
        matrix, refinement = refine(
            source.photograph(pair, "a"),
            source.photograph(pair, "b"),
            starts,
            self._estimate,
            source.tokens,
            attempts(self.image_size, stride) if self.wanted == DENSE else (),
            stride,
            verified=found.matrix,
            soft=candidates[0].soft,
        )
        if matrix is not None:
            result = _supporting(result, candidates, matrix)
            if max(result.verification.inlier_count, len(refinement.points_a_px)) < self.min_inliers:
                return _timed(judged, began)
        return _timed(with_verdict(replace(result, refinement=refinement)), began)

    def _starts(
        self, judged: PairResult, pair: Pair, source: Source, candidates: Sequence[Candidate]
    ) -> Iterator[Start]:
        """Where to start from, likeliest first; nothing where the pair does not look like one place."""
        verified = judged.verification.matrix
        best, share = _most_supported(verified, candidates)
        supported = best is not None and share >= SUPPORTED
        if best is not None and supported:
            yield best
        accepted = judged.verdict is not None and judged.verdict.same_place
        if verified is not None and accepted and not (supported and best is not None and best.matrix is verified):
            yield Start("", verified)
        proposed = keypoint_map(source.keypoints(pair, "a"), source.keypoints(pair, "b"))
        if proposed is not None:
            yield Start("keypoints", proposed)

    def _estimate(
        self, points_a: NDArray[np.float64], points_b: NDArray[np.float64], threshold_px: float
    ) -> tuple[Matrix | None, NDArray[np.bool_]]:
        """The filter on points of a common frame, with another threshold."""
        record, options = self.filter, self.filter_options
        if len(points_a) < record.min_matches:
            return None, np.zeros(len(points_a), bool)
        if "reproj_th" in {entry.name for entry in fields(options)}:
            options = replace(options, reproj_th=threshold_px)
        estimate = call_filter(record, points_a, points_b, options)
        if estimate.kind is ModelKind.EPIPOLAR:  # of a filter that chooses: no map of points to go on with
            return None, np.zeros(len(points_a), bool)
        return estimate.matrix, np.asarray(estimate.inliers, bool)


def _most_supported(verified: Matrix | None, candidates: Sequence[Candidate]) -> tuple[Start | None, float]:
    """The map that most of the tokens in the overlap support, and their share: the filter's, or one that the matches
    of a candidate vote for."""
    best: Start | None = None
    most = 0.0
    for number, seen in enumerate(candidates):
        a, b = seen.a.features, seen.b.features
        similarity = similarity_of(a, b)
        starts = [Start(f"patches_{number}", matrix) for matrix in seen.starts]
        if verified is not None and number == 0:
            starts.insert(0, Start("", verified))
        for start in starts:
            share = support(a, b, start.matrix, similarity)
            if share > most:
                best, most = start, share
    return best, most


def _supporting(result: PairResult, candidates: Sequence[Candidate], matrix: Matrix) -> PairResult:
    """The result of the candidate whose matches speak most for a refined map, with that map."""
    supported = []
    for found in candidates:
        seen = replace(result, **found.described)
        points, image_b = (seen.points_a_px, seen.points_b_px), seen.image_b
        old = replace(seen.verification, inliers=np.zeros(len(seen.similarity), bool))
        if found is candidates[0]:
            old = seen.verification
        verification = with_matrix(old, matrix, *points, image_b.size, image_b.encoded_size)
        supported.append(replace(seen, verification=verification))
    return max(supported, key=lambda seen: seen.verification.inlier_count)


def _timed(result: PairResult, began: float) -> PairResult:
    spent_ms = (time.perf_counter() - began) * 1e3
    times = {**result.time_ms, "refine": spent_ms}
    return replace(result, time_ms={**times, "total": times["total"] + spent_ms})
