"""One pair: matched in the view of b that suits a, pruned, verified."""

import time
from dataclasses import dataclass
from typing import Any

from engine.candidate import Candidate, Prepared
from engine.features import Matches
from engine.hooks import FilterRecord, MatcherRecord
from engine.pair_refinement import Refiner
from engine.pairs import Pair
from engine.plugin_calls import call_matcher, made
from engine.results import MatchSettings, PairResult, Verification
from engine.search import SearchPlan, order_of_scales, rank_views, sides, view_score
from engine.selection import prune_matches
from engine.source import Source
from engine.verify_pool import VerifyJob, VerifyTask
from engine.views import UPRIGHT, View


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


class PairMatcher:
    """Matches pairs by a procedure."""

    def __init__(self, procedure: Procedure) -> None:
        self._procedure = procedure
        self._match = made(procedure.matcher, procedure.matcher.factory)
        self._plan = procedure.search
        settings = procedure.settings
        self._refine = Refiner(
            settings.refine, settings.image_size, procedure.filter, procedure.filter_options, settings.min_inliers
        )
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
            return self._refine(result, pair, source, [found])
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
        return self._refine(result, pair, source, [best, *others])

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
        return self._refine(self._result(found, verification, 1, clock), pair, source, [found])

    def pruned(self, matches: Matches) -> Matches:
        """The matches that the thresholds keep."""
        settings = self._procedure.settings
        return prune_matches(matches, settings.match_threshold, settings.line_threshold)

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
            **found.described,
            verification=verification,
            time_ms={**forward, **clock.spent_ms, "total": sum(forward.values()) + spent},
            views_tried=tried,
        )


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
