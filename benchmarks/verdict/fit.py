"""Fits and tests the logistic model of the verdict."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.verdict.judge import LogisticModel

_PENALTY = 1e-3
"""Of the squared weights, a match: keeps them finite where the pairs can be told apart without a mistake."""
_ROUNDS = 4000
BINS = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)


@dataclass(frozen=True)
class Bin:
    """One line of a reliability table: pairs whose probability lies between two limits.

    Attributes:
        said: their mean probability.
        true: share of them that show one place.
    """

    low: float
    high: float
    pairs: int
    said: float | None
    true: float | None


def fit_logistic(values: dict[str, NDArray[np.float64]], same: NDArray[np.bool_]) -> LogisticModel:
    """Weights that make the labels likeliest, none negative; true and false pairs count alike in sum.

    Args:
        values: features by name, [P] each.
        same: [P] whether a pair shows one place and its geometry is right.
    """
    names = list(values)
    raw = np.column_stack([values[name] for name in names])
    scale = np.maximum(raw.std(axis=0), 1e-9)
    x = np.column_stack([raw / scale, np.ones(len(raw))])
    importance = np.where(same, 0.5 / max(1, same.sum()), 0.5 / max(1, (~same).sum()))
    penalty = np.append(np.full(len(names), _PENALTY), 0.0)
    theta = np.zeros(len(names) + 1)
    free = np.ones(len(theta), bool)
    for _ in range(_ROUNDS):
        p = 1 / (1 + np.exp(-np.clip(x @ theta, -500, 500)))
        gradient = x.T @ (importance * (p - same)) + penalty * theta
        # A weight at 0 that would have to fall stays there (projected Newton steps).
        free[:-1] = (theta[:-1] > 0) | (gradient[:-1] < 0)
        hessian = (x[:, free] * (importance * np.maximum(p * (1 - p), 1e-9))[:, None]).T @ x[:, free]
        hessian += np.diag(penalty[free] + 1e-9)
        step = np.zeros(len(theta))
        step[free] = np.linalg.solve(hessian, gradient[free])
        theta = theta - 0.5 * step
        theta[:-1] = np.maximum(theta[:-1], 0.0)
        if np.abs(step).max() < 1e-9:
            break
    counts = int(same.sum()), int((~same).sum())
    return LogisticModel(
        bias=float(theta[-1]),
        weights={name: float(weight) for name, weight in zip(names, theta[:-1] / scale, strict=True)},
        lowest=1 / (counts[1] + 2),
        highest=1 - 1 / (counts[0] + 2),
    )


def reliability(probability: NDArray[np.float64], same: NDArray[np.bool_]) -> list[Bin]:
    """What was said against what is, over bins of the probability."""
    made = []
    for low, high in pairwise(BINS):
        inside = (probability >= low) & ((probability < high) | (high == BINS[-1]))
        count = int(inside.sum())
        said = float(probability[inside].mean()) if count else None
        made.append(Bin(low, high, count, said, float(same[inside].mean()) if count else None))
    return made
