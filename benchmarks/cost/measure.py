"""Every photograph a of a truth file with every photograph b, matched plainly, searched, and refined."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.matched import Matched, matched
from engine.cli_match_options import MatchOptions
from engine.dataset import scan
from engine.evaluate.truth import find_cases, load_truth
from engine.pairs import Pair
from engine.results import PairResult

SUCCESS_PCT = 1.0


@dataclass(frozen=True)
class Cost:
    """What was measured.

    Attributes:
        pairs, photographs: how many; true_pairs of the pairs show one place.
        encoded_plain, encoded_searched: pictures encoded for all pairs.
        plain_ms, searched_ms: matching and verifying a pair, without encodings, on average over all pairs.
        looked_ms: what deciding on a pair costs where it is not refined, median.
        refined_ms: of the pairs that were refined, each.
        refined_true: how many of them show one place.
        succeeded: true pairs within 1 % of the truth after refinement.
        errors_pct: of the true pairs; infinite without a geometry.
        mistakes: pairs of which the verdict is wrong.
        lowest_true, highest_false: probabilities of the verdict.
    """

    pairs: int
    true_pairs: int
    photographs: int
    encoded_plain: int
    encoded_searched: int
    plain_ms: float
    searched_ms: float
    looked_ms: float
    refined_ms: list[float]
    refined_true: int
    succeeded: int
    errors_pct: list[float]
    mistakes: int
    lowest_true: float
    highest_false: float

    @property
    def search_ms(self) -> float:
        """What searching adds to a pair, on average."""
        return self.searched_ms - self.plain_ms


def measure(aerial: Path, weights: str, out: Path) -> Cost:
    """Matches all pairs of the truth file's photographs three times.

    Args:
        aerial: a data set with a `truth.json`.
        out: folder of results.
    """
    truth = aerial / "truth.json"
    cases = find_cases(load_truth(truth), scan(aerial), truth)
    true = {(case.pair.a.key, case.pair.b.key): case for case in cases}
    pairs = [Pair(one.pair.a, other.pair.b) for one in cases for other in cases]
    plain, searched, refined = (
        matched(pairs, out / name, options)
        for name, options in (
            ("plain", MatchOptions(weights=[weights])),
            ("searched", MatchOptions(weights=[weights], rotations=12, scales="auto")),
            ("refined", MatchOptions(weights=[weights], rotations=12, scales="auto", refine="dense")),
        )
    )
    shown = [(_key(result) in true, result) for result in refined.results]
    errors = []
    for same, result in shown:
        if same:
            error = true[_key(result)].error_pct(result.verification.matrix, result.image_a.size, result.image_b.size)
            errors.append(float("inf") if error is None else error)
    probability = {same: [r.verdict.probability for s, r in shown if s == same and r.verdict] for same in (True, False)}
    return Cost(
        pairs=len(pairs),
        true_pairs=len(cases),
        photographs=2 * len(cases),
        encoded_plain=plain.encoded,
        encoded_searched=searched.encoded,
        plain_ms=_matching_ms(plain),
        searched_ms=_matching_ms(searched),
        looked_ms=float(np.median([r.time_ms["refine"] for _, r in shown if r.refinement is None])),
        refined_ms=[r.time_ms["refine"] for _, r in shown if r.refinement is not None],
        refined_true=sum(same for same, r in shown if r.refinement is not None),
        succeeded=sum(error <= SUCCESS_PCT for error in errors),
        errors_pct=errors,
        mistakes=sum(r.verdict is None or r.verdict.same_place != same for same, r in shown),
        lowest_true=min(probability[True]),
        highest_false=max(probability[False], default=0.0),
    )


def _key(result: PairResult) -> tuple[str, str]:
    return result.image_a.key, result.image_b.key


def _matching_ms(run: Matched) -> float:
    return float(np.mean([result.time_ms["match"] + result.time_ms["verify"] for result in run.results]))
