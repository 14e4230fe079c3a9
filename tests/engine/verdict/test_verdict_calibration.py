"""The fit behind the verdict's weights, on labels drawn from known probabilities."""

import numpy as np

from benchmarks.verdict.__main__ import half_of, tables
from benchmarks.verdict.fit import fit_logistic, reliability


def test_known_weights_come_back_and_probabilities_hold() -> None:
    rng = np.random.default_rng(0)
    strong, weak = rng.uniform(0, 3, 20_000), rng.uniform(0, 1, 20_000)
    truth = 1 / (1 + np.exp(-(2.0 * strong + 1.0 * weak - 3.5)))
    same = rng.random(20_000) < truth
    model = fit_logistic({"strong": strong, "weak": weak}, same)
    assert abs(model.weights["strong"] - 2.0) < 0.2
    assert abs(model.weights["weak"] - 1.0) < 0.2
    said = np.array([model.probability({"strong": s, "weak": w}) for s, w in zip(strong, weak, strict=True)])
    # Both labels weigh alike in the fit, so they must in the comparison.
    balance = (~same).sum() / same.sum()
    for entry in reliability(said, same):
        if entry.pairs > 300 and entry.true not in (None, 1.0):
            odds = entry.true / (1 - entry.true) * balance
            assert abs(odds / (1 + odds) - entry.said) < 0.05


def test_evidence_that_speaks_the_wrong_way_gets_no_weight() -> None:
    rng = np.random.default_rng(1)
    same = rng.random(500) < 0.4
    model = fit_logistic({"right": same + rng.normal(0, 0.5, 500), "wrong": rng.normal(0, 0.5, 500) - same}, same)
    assert model.weights["right"] > 1
    assert model.weights["wrong"] == 0


def test_pairs_that_can_be_told_apart_leave_the_room_that_their_number_asks_for() -> None:
    same = np.arange(60) < 20
    model = fit_logistic({"x": same.astype(float)}, same)
    assert model.probability({"x": 50.0}) == 1 - 1 / 22
    assert model.probability({"x": -50.0}) == 1 / 42


def test_no_photograph_is_on_both_sides() -> None:
    sources = ["a", "a", "b", "b", "c", "a", "c"]
    held = half_of(sources)
    assert held.tolist() == [False, False, True, True, False, False, False]


def test_the_table_has_a_line_for_each_bin() -> None:
    said, same = np.array([0.05, 0.95, 0.6]), np.array([False, True, True])
    entry = {
        "bins": [vars(line) for line in reliability(said, same)],
        "wrong_of_same": 0,
        "same": 2,
        "wrong_of_other": 0,
        "other": 1,
        "brier": 0.05,
    }
    lines = tables({"reliability": {"patches": entry, "refined": entry}}).splitlines()
    assert lines[2] == "| 0 to 0.1 | 1 | 0.05 | 0.00 | 1 | 0.05 | 0.00 |"
    assert lines[7] == "| 0.9 to 1 | 1 | 0.95 | 1.00 | 1 | 0.95 | 1.00 |"
