"""Puts the figures of synthetic pairs into docs/accuracy.md: `python -m benchmarks.accuracy_page FILE`.

FILE is what `engine evaluate --synthetic … --json FILE` wrote.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.page import ROOT, machine, write_between
from engine.evaluate.factors import FACTORS

PAGE = ROOT / "docs" / "accuracy.md"
SUCCESS_PCT = 1.0
OURS = "this program"
METHODS = (OURS, "SIFT", "ORB", "earlier procedure")
Row = dict[str, Any]


def main(arguments: list[str] | None = None) -> int:
    """Writes the table and prints it; 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy_page", description=__doc__)
    parser.add_argument("file", type=Path, help="JSON file of engine evaluate --synthetic")
    asked = parser.parse_args(arguments)
    text = f"{table(json.loads(asked.file.read_text(encoding='utf-8'))['pairs'])}\n\nOn {machine()}."
    print(text)
    print(f"wrote {write_between('synthetic', text, PAGE)}")
    return 0


def table(pairs: Sequence[Row]) -> str:
    """Successes and median errors of every factor, Markdown."""
    lines = [
        f"| factor | pairs | success at 1 %: {' | '.join(METHODS)} | median error | SIFT's |",
        f"| --- | ---: |{' ---: |' * (len(METHODS) + 2)}",
    ]
    groups = {factor.name: [pair for pair in pairs if pair["factor"] == factor.name] for factor in FACTORS}
    named = {_title(name, found): found for name, found in groups.items() if found}
    scales = [pair for pair in groups["scale"] if 0.3 < float(pair["level"]) < 3.1]
    if scales:
        named["scale, of it 1/3 to 3"] = scales
    if groups["season"]:
        named["season, of it 0.75 and 1"] = [pair for pair in groups["season"] if float(pair["level"]) >= 0.75]
    named["all with an overlap of 40 % and more"] = [pair for pair in pairs if pair["overlap"] >= 0.399]
    return "\n".join([*lines, *(_line(name, found) for name, found in named.items())])


def _title(name: str, pairs: Sequence[Row]) -> str:
    levels = list(dict.fromkeys(str(pair["level"]) for pair in pairs))
    return name if len(levels) == 1 else f"{name}, {levels[0]} to {levels[-1]}"


def _line(name: str, pairs: Sequence[Row]) -> str:
    errors = {method: np.array([_error(pair, method) for pair in pairs]) for method in METHODS}
    shares = " | ".join(str(int((errors[method] <= SUCCESS_PCT).sum())) for method in METHODS)
    medians = " | ".join(f"{np.median(errors[method]):.3f} %" for method in (OURS, "SIFT"))
    return f"| {name} | {len(pairs)} | {shares} | {medians} |"


def _error(pair: Row, method: str) -> float:
    found = pair if method == OURS else pair["references"][method]
    error = found["mean_transfer_error_pct"]
    return float("inf") if error is None else float(error)


if __name__ == "__main__":
    sys.exit(main())
