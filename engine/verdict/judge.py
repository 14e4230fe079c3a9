"""Evidence to a verdict: a logistic model of few weights, calibrated on pairs that do and do not show one place.

Its weights and where they come from stand in `weights.json`; `python -m benchmarks.verdict` writes that file. There are
two sets, one for geometries found on patches and one for refined ones, which know how well the photographs align. No
weight of evidence is negative: what speaks for a geometry never lowers its probability. Probabilities go no nearer to 0
and 1 than the number of pairs they were calibrated on can tell.
"""

import json
import math
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

from engine.results import PairResult, Verdict
from engine.verdict.evidence import IMPOSSIBLE, Evidence, gather

WEIGHTS_FILE = "weights.json"
COARSE, REFINED = "patches", "refined"


@dataclass(frozen=True)
class LogisticModel:
    """Probability `1 / (1 + exp(-(bias + sum of weight x feature)))`, within limits.

    Attributes:
        weights: by the names of `features`.
        lowest, highest: limits of the probability.
    """

    bias: float
    weights: dict[str, float]
    lowest: float
    highest: float

    def probability(self, values: dict[str, float]) -> float:
        score = self.bias + sum(weight * values[name] for name, weight in self.weights.items())
        return min(self.highest, max(self.lowest, 1.0 / (1.0 + math.exp(-max(-700.0, score)))))


def features(evidence: Evidence) -> dict[str, float]:
    """What the logistic model weighs; all 0 without a geometry, or with one that no two photographs of a place have."""
    if not evidence.inliers or IMPOSSIBLE.intersection(evidence.flags):
        return dict.fromkeys(("chance", "ratio", "covered", "alignment", "structure"), 0.0)
    return {
        "chance": math.log10(1.0 - evidence.log10_false_alarms),
        "ratio": evidence.inlier_ratio,
        "covered": evidence.covered,
        "alignment": max(0.0, evidence.alignment or 0.0),
        "structure": evidence.structure or 0.0,
    }


def judge(evidence: Evidence) -> Verdict:
    """The verdict on a pair's evidence."""
    model = models()[COARSE if evidence.alignment is None else REFINED]
    return Verdict(
        probability=model.probability(features(evidence)),
        flags=evidence.flags,
        overlap_a=evidence.overlap_a,
        overlap_b=evidence.overlap_b,
        covered=evidence.covered,
        log10_false_alarms=evidence.log10_false_alarms,
    )


def verdict_of(result: PairResult) -> Verdict | None:
    """Whether the photographs of a result show one place; None where its filter looks at no geometry."""
    evidence = gather(result)
    return None if evidence is None else judge(evidence)


def with_verdict(result: PairResult) -> PairResult:
    """The result with its verdict."""
    return replace(result, verdict=verdict_of(result))


@cache
def models() -> dict[str, LogisticModel]:
    """The calibrated models, `patches` and `refined`."""
    content: dict[str, Any] = json.loads(
        resources.files("engine.verdict").joinpath(WEIGHTS_FILE).read_text(encoding="utf-8")
    )
    return {name: LogisticModel(**content["models"][name]) for name in (COARSE, REFINED)}
