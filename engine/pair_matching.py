"""One pair: matched in the view of b that suits a, pruned, verified."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engine.candidate import Candidate, Prepared, stride_of
from engine.features import Matches
from engine.hooks import FilterRecord, MatcherRecord, ModelKind
from engine.pairs import Pair
from engine.plugin_calls import call_filter, call_matcher, made
from engine.refine.attempts import attempts
from engine.refine.steps import refine
from engine.results import MatchSettings, PairResult, Verification
from engine.search import SearchPlan, order_of_scales, rank_views, sides, view_score
from engine.selection import prune_matches
from engine.verdict.judge import with_verdict
from engine.verification import with_matrix
from engine.verify_pool import VerifyJob, VerifyTask
from engine.views import UPRIGHT, View

NO_REFINEMENT, SOFT_ARGMAX, DENSE = "none", "softargmax", "dense"
REFINEMENTS = (NO_REFINEMENT, SOFT_ARGMAX, DENSE)
REFINED_INLIERS = 8
"""Only pairs of so many inliers are refined: twice what determines a homography. Pictures of different places reach
that by chance; refinement ends with its first structure step there."""


@dataclass(frozen=True)
class Procedure:
    """How a pair is matched and verified: settings, and the plugins they name with their options."""

    settings: MatchSettings
    matcher: MatcherRecord
    matcher_options: Any
    filter: FilterRecord
    filter_options: Any

    @property
    def search(self) -> SearchPlan:
        """The views that may be tried."""
        return SearchPlan(self.settings.rotations, tuple(self.settings.scales))


class Source(Protocol):
    """Gives what a pair's photographs hold; raises ImageReadError where one cannot be decoded."""

    def __call__(self, pair: Pair, side: str, view: View, /) -> Prepared:
        """The prepared view of a side, `a` or `b`."""
        ...

    def photograph(self, pair: Pair, side: str, /) -> NDArray[np.uint8]:
        """The photograph of a side, [H, W, 3] uint8 RGB in original pixels."""
        ...

    def tokens(self, picture: NDArray[np.uint8], /) -> NDArray[np.float32]:
        """L2-normalised tokens [N, D] of a picture [H, W, 3] whose sides are multiples of the stride."""
        ...


class PairMatcher:
    """Matches pairs by a procedure."""

    def __init__(self, procedure: Procedure) -> None:
        self._procedure = procedure
        self._match = made(procedure.matcher, procedure.matcher.factory)
        self._plan = procedure.search
        settings = procedure.settings
        self.job = VerifyJob(procedure.filter, procedure.filter_options, settings.reproj_unit, settings.min_inliers)

    def __call__(self, pair: Pair, source: Source) -> PairResult:
        """Matches and verifies a pair.

        Raises:
            ImageReadError: a photograph cannot be decoded.
            PluginError: the matcher or the filter failed.
        """
        clock = _Clock("match", "verify")
        if self._plan.is_trivial:
            found = self._candidate(pair, source, UPRIGHT, clock)
            result = self._result(found, self._verified(found, clock), 1, clock)
            return self._refined(result, pair, source, [found])
        candidates: dict[View, Candidate] = {}

        def score(hypothesis: View) -> int:
            found = candidates[hypothesis] = self._candidate(pair, source, hypothesis, clock)
            with clock("match"):
                return view_score(*found.placed)

        scales = order_of_scales(self._plan.scales, pair.a.altitude, pair.b.altitude)
        ranked = rank_views(self._plan, scales, score)
        verified = [(candidates[view], self._verified(candidates[view], clock)) for view in ranked.to_verify]
        # The first of equals is the better ranked.
        best, verification = max(verified, key=lambda entry: entry[1].inlier_count)
        result = self._result(best, verification, len(ranked.views), clock)
        others = [found for found, _ in verified if found is not best]
        return self._refined(result, pair, source, [best, *others])

    def complete(
        self,
        pair: Pair,
        source: Source,
        sides: tuple[Prepared, Prepared],
        matches: Matches,
        verification: Verification,
        spent_ms: dict[str, float],
    ) -> PairResult:
        """The result of upright photographs that were matched and verified elsewhere, refined where that is asked for.

        Args:
            matches: pruned, as `pruned` gives them.
            spent_ms: milliseconds of matching and verifying.
        """
        clock = _Clock()
        clock.spent_ms.update(spent_ms)
        found = Candidate(*sides, UPRIGHT, UPRIGHT, matches)
        return self._refined(self._result(found, verification, 1, clock), pair, source, [found])

    def pruned(self, matches: Matches) -> Matches:
        """The matches that the thresholds keep."""
        settings = self._procedure.settings
        return prune_matches(matches, settings.match_threshold, settings.line_threshold)

    def _refined(self, result: PairResult, pair: Pair, source: Source, candidates: Sequence[Candidate]) -> PairResult:
        """The result with its point map refined, where that is asked for and the patches speak for the pair.

        Args:
            candidates: what was verified, that of the result first. The refined map may be that of another.
        """
        found, wanted = result.verification, self._procedure.settings.refine
        if (
            wanted == NO_REFINEMENT
            or found.matrix is None
            or found.kind is not ModelKind.POINT_MAP
            or found.inlier_count < REFINED_INLIERS
        ):
            return with_verdict(result)
        clock = _Clock("refine")
        with clock("refine"):
            stride, size = stride_of(candidates[0].a), self._procedure.settings.image_size
            matrix, refinement = refine(
                source.photograph(pair, "a"),
                source.photograph(pair, "b"),
                found.matrix,
                self._estimate,
                source.tokens,
                attempts(size, stride) if wanted == DENSE else (),
                stride,
                soft=candidates[0].soft,
                hypotheses=[start for seen in candidates for start in seen.starts] if wanted == DENSE else (),
            )
            result = self._supporting(result, candidates, matrix)
        times = {**result.time_ms, **clock.spent_ms}
        times["total"] += clock.spent_ms["refine"]
        return with_verdict(replace(result, refinement=refinement, time_ms=times))

    def _supporting(
        self, result: PairResult, candidates: Sequence[Candidate], matrix: NDArray[np.float64]
    ) -> PairResult:
        """The result of the candidate whose matches speak most for a refined map, with that map."""
        supported = []
        for found in candidates:
            seen = replace(result, **self._matched(found))
            points, image_b = (seen.points_a_px, seen.points_b_px), seen.image_b
            old = replace(seen.verification, inliers=np.zeros(len(seen.similarity), bool))
            if found is candidates[0]:
                old = seen.verification
            verification = with_matrix(old, matrix, *points, image_b.size, image_b.encoded_size)
            supported.append(replace(seen, verification=verification))
        return max(supported, key=lambda seen: seen.verification.inlier_count)

    def _estimate(
        self, points_a: NDArray[np.float64], points_b: NDArray[np.float64], threshold_px: float
    ) -> tuple[NDArray[np.float64] | None, NDArray[np.bool_]]:
        """The filter on points of a common frame, with another threshold."""
        record, options = self._procedure.filter, self._procedure.filter_options
        if len(points_a) < record.min_matches:
            return None, np.zeros(len(points_a), bool)
        if "reproj_th" in {entry.name for entry in fields(options)}:
            options = replace(options, reproj_th=threshold_px)
        estimate = call_filter(record, points_a, points_b, options)
        if estimate.kind is ModelKind.EPIPOLAR:  # of a filter that chooses: no map of points to go on with
            return None, np.zeros(len(points_a), bool)
        return estimate.matrix, np.asarray(estimate.inliers, bool)

    def _candidate(self, pair: Pair, source: Source, hypothesis: View, clock: "_Clock") -> Candidate:
        view_a, view_b = sides(hypothesis)
        a, b = source(pair, "a", view_a), source(pair, "b", view_b)
        with clock("match"):
            matches = call_matcher(
                self._procedure.matcher, self._match, a.features, b.features, self._procedure.matcher_options
            )
            matches = self.pruned(matches)
        return Candidate(a, b, view_a, view_b, matches)

    def _verified(self, found: Candidate, clock: "_Clock") -> Verification:
        with clock("verify"):
            return self.job(self.task(found.a, found.b, found.matches))

    def task(self, a: Prepared, b: Prepared, matches: Matches) -> VerifyTask:
        """What verification needs of a pair."""
        return VerifyTask(
            a.points_px[matches.index_a],
            b.points_px[matches.index_b],
            a.image.size,
            a.image.encoded_size,
            b.image.size,
            b.image.encoded_size,
        )

    def _result(self, found: Candidate, verification: Verification, tried: int, clock: "_Clock") -> PairResult:
        a, b = found.a, found.b
        spent = sum(clock.spent_ms.values())
        forward = {"forward_a": a.forward_ms, "forward_b": b.forward_ms}
        return PairResult(
            **self._matched(found),
            verification=verification,
            time_ms={**forward, **clock.spent_ms, "total": sum(forward.values()) + spent},
            views_tried=tried,
        )

    def _matched(self, found: Candidate) -> dict[str, Any]:
        """What a result says of a candidate's photographs and matches."""
        a, b, matches = found.a, found.b, found.matches
        return {
            "image_a": a.image,
            "image_b": b.image,
            "cosine": float(np.dot(a.features.global_descriptor, b.features.global_descriptor)),
            "token_a": a.features.token_index[matches.index_a],
            "token_b": b.features.token_index[matches.index_b],
            "points_a_px": a.points_px[matches.index_a],
            "points_b_px": b.points_px[matches.index_b],
            "similarity": matches.similarity,
            "selected_a": len(a.features),
            "selected_b": len(b.features),
            "view_a": found.view_a,
            "view_b": found.view_b,
        }


class _Clock:
    """Adds up milliseconds by name: `with clock("match"): ...`."""

    def __init__(self, *names: str) -> None:
        self.spent_ms = dict.fromkeys(names, 0.0)
        self._name = ""
        self._since = 0.0

    def __call__(self, name: str) -> "_Clock":
        self._name = name
        return self

    def __enter__(self) -> None:
        self._since = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.spent_ms[self._name] += (time.perf_counter() - self._since) * 1e3
