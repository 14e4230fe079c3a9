"""Calibrates the verdict: `python -m benchmarks.verdict --photographs DIR --out DIR --write`.

Makes pairs that do and do not show one place (see `pairs`), matches them as does `engine match --rotations 12
--scales auto --refine dense`, fits the weights on half of the photographs, tests them on the other half, then fits them
on all. `--write` puts them into `engine/verdict/weights.json`, which the program reads, and the reliability into
`docs/accuracy.md`; without it both are only printed. A pair counts as the same place where the geometry found is right
as well: off by at most 5 % of b's diagonal on average.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.matched import matched
from benchmarks.page import write_between
from benchmarks.verdict.fit import fit_logistic, reliability
from benchmarks.verdict.pairs import RANGES, CalibrationPair, make_calibration_pairs
from engine.cli_match_options import MatchOptions
from engine.context import installed_versions
from engine.plugin_registry import load_registry
from engine.results import PairResult
from engine.store.atomic import write_text
from engine.verdict.evidence import gather
from engine.verdict.judge import COARSE, REFINED, WEIGHTS_FILE, features
from engine.verification import verify_matches
from plugins import BUILTINS

WEIGHTS = Path(__file__).resolve().parents[2] / "engine" / "verdict" / WEIGHTS_FILE
PAGE = Path(__file__).resolve().parents[2] / "docs" / "accuracy.md"
RIGHT_PCT = 5.0
USED = {COARSE: ("chance", "ratio", "covered"), REFINED: ("chance", "ratio", "covered", "alignment", "structure")}
Row = tuple[dict[str, float], bool, str]
"""Features of a pair, whether it shows one place, and the photograph it stems from."""


def main(arguments: list[str] | None = None) -> int:
    """Calibrates and prints; 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict", description=__doc__)
    parser.add_argument("--photographs", type=Path, required=True, help="pictures of single places, as aerial tiles")
    parser.add_argument("--out", type=Path, required=True, help="folder for pairs and results")
    parser.add_argument("--every", type=int, default=1, help="take every so-many-th picture by name")
    parser.add_argument("--weights", default="vitt16", help="the backbone (default: vitt16)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--write", action="store_true", help=f"write {WEIGHTS_FILE}")
    asked = parser.parse_args(arguments)
    pairs = make_calibration_pairs(asked.photographs, asked.out, asked.seed, asked.every)
    options = MatchOptions(weights=[asked.weights], rotations=12, scales="auto", refine="dense")
    found = matched([entry.pair for entry in pairs], asked.out, options)
    content = calibrated(pairs, found.results)
    content["provenance"] = {
        "command": f"python -m benchmarks.verdict --every {asked.every} --seed {asked.seed} --weights {asked.weights}",
        "photographs": len({pair.source for pair in pairs}),
        "ranges": asdict(RANGES),
        "backbone": {"alias": asked.weights, "graph_sha256": found.graph_sha256},
        "versions": installed_versions(),
    }
    for name, model in content["models"].items():
        print(f"{name}: bias {model['bias']:.3f}, {model['weights']}")
    print(tables(content))
    if asked.write:
        write_text(WEIGHTS, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        write_between("verdict", tables(content), PAGE)
        print(f"wrote {WEIGHTS} and {PAGE}")
    return 0


def calibrated(pairs: Sequence[CalibrationPair], results: Sequence[PairResult]) -> dict[str, Any]:
    """Weights and reliability of both models."""
    content: dict[str, Any] = {"models": {}, "reliability": {}, "pairs": {}}
    for name, rows in rows_of(pairs, results).items():
        held = half_of([source for _, _, source in rows])
        learned = fit_logistic(*columns(rows, ~held, USED[name]))
        values, same = columns(rows, held, USED[name])
        probability = np.array(
            [learned.probability({key: column[at] for key, column in values.items()}) for at in range(len(same))]
        )
        content["reliability"][name] = {
            "pairs": len(same),
            "wrong_of_same": int(np.count_nonzero(probability[same] < 0.5)),
            "same": int(same.sum()),
            "wrong_of_other": int(np.count_nonzero(probability[~same] >= 0.5)),
            "other": int((~same).sum()),
            "brier": float(np.mean((probability - same) ** 2)),
            "bins": [asdict(entry) for entry in reliability(probability, same)],
        }
        content["models"][name] = asdict(fit_logistic(*columns(rows, np.ones(len(rows), bool), USED[name])))
        content["pairs"][name] = len(rows)
    return content


def rows_of(pairs: Sequence[CalibrationPair], results: Sequence[PairResult]) -> dict[str, list[Row]]:
    """Features and labels for the model on patches (all pairs) and for the refined one (pairs that were refined)."""
    rows: dict[str, list[Row]] = {COARSE: [], REFINED: []}
    for pair, result in zip(pairs, results, strict=True):
        for name, seen in ((COARSE, unrefined(result)), (REFINED, result)):
            evidence = gather(seen)
            if evidence is None or (name == REFINED and evidence.alignment is None):
                continue
            rows[name].append((features(evidence), is_right(pair, seen), pair.source))
    return rows


def is_right(pair: CalibrationPair, result: PairResult) -> bool:
    """Whether a pair shows one place, and the geometry found is that of the place."""
    if pair.truth is None:
        return False
    error = pair.truth.error_pct(result.verification.matrix, result.image_a.size, result.image_b.size)
    return error is not None and error <= RIGHT_PCT


def unrefined(result: PairResult) -> PairResult:
    """The result as it was before refinement: the filter's on the same matches."""
    if result.refinement is None:
        return result
    found, a, b = result.verification, result.image_a, result.image_b
    record = load_registry(BUILTINS, entry_points=False).filter(found.filter)
    again = verify_matches(
        record,
        record.options(**found.options),
        result.points_a_px,
        result.points_b_px,
        a.size,
        a.encoded_size,
        b.size,
        b.encoded_size,
        found.reproj_unit,
    )
    return replace(result, verification=again, refinement=None)


def half_of(sources: Sequence[str]) -> NDArray[np.bool_]:
    """[P] bool: every second photograph, so that no photograph is on both sides."""
    place = {source: at for at, source in enumerate(dict.fromkeys(sources))}
    return np.array([place[source] % 2 == 1 for source in sources])


def columns(
    rows: Sequence[Row], chosen: NDArray[np.bool_], names: Sequence[str]
) -> tuple[dict[str, NDArray[np.float64]], NDArray[np.bool_]]:
    """Features by name, [P] each, and labels [P], of the rows chosen."""
    kept = [row for row, taken in zip(rows, chosen, strict=True) if taken]
    return {name: np.array([row[0][name] for row in kept]) for name in names}, np.array([row[1] for row in kept], bool)


def tables(content: dict[str, Any]) -> str:
    """The reliability of both models on the half held out, as Markdown."""
    found = content["reliability"]
    lines = [
        "| probability | pairs (patches) | said | true | pairs (refined) | said | true |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for coarse, fine in zip(found[COARSE]["bins"], found[REFINED]["bins"], strict=True):
        cells = [f"{coarse['low']:g} to {coarse['high']:g}"]
        for entry in (coarse, fine):
            said, true = ("" if entry[key] is None else f"{entry[key]:.2f}" for key in ("said", "true"))
            cells += [str(entry["pairs"]), said, true]
        lines.append(f"| {' | '.join(cells)} |")
    lines.append("")
    for name, words in ((COARSE, "on patches"), (REFINED, "refined")):
        entry = found[name]
        lines.append(
            f"- {words}: {entry['wrong_of_same']} of {entry['same']} right geometries missed, "
            f"{entry['wrong_of_other']} of {entry['other']} others taken for the same place; "
            f"Brier score {entry['brier']:.3f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
