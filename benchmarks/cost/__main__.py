"""Measures searching, refining and the verdict: `python -m benchmarks.cost --aerial DIR [--write]`.

DIR is a data set with a `truth.json`; every photograph a of it is matched with every b, so wrong partners are the most.
`--write` puts the figures into `docs/accuracy.md`.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.cost.measure import Cost, measure
from benchmarks.page import ROOT, machine, write_between

PAGE = ROOT / "docs" / "accuracy.md"


def main(arguments: list[str] | None = None) -> int:
    """Measures and prints; 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cost", description=__doc__)
    parser.add_argument("--aerial", type=Path, required=True, help="a data set with a truth.json")
    parser.add_argument("--weights", default="vitt16", help="the backbone (default: vitt16)")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)}")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        text = table(measure(asked.aerial, asked.weights, Path(folder)))
    print(text)
    if asked.write:
        print(f"wrote {write_between('cost', text, PAGE)}")
    return 0


def table(cost: Cost) -> str:
    """The figures as Markdown, with what is asked of them."""
    refined = np.array(cost.refined_ms or [0.0])
    others = len(cost.refined_ms) - cost.refined_true
    errors = f"{np.median(cost.errors_pct):.2f} and {max(cost.errors_pct):.2f} %"
    probabilities = f"{cost.lowest_true:.2f} and {cost.highest_false:.2f}"
    rows = [
        ("encodings of a photograph, searching", f"{cost.encoded_searched / cost.photographs:.1f}", "12 + upright"),
        ("encodings of a photograph, plainly", f"{cost.encoded_plain / cost.photographs:.1f}", ""),
        ("searching a pair, beyond plain matching", f"{cost.search_ms:.0f} ms", "60 ms"),
        ("deciding that a pair is not refined, median", f"{cost.looked_ms:.0f} ms", ""),
        ("pairs refined, of one place and of others", f"{cost.refined_true} and {others}", ""),
        ("refining a pair, median and longest", f"{np.median(refined):.0f} and {refined.max():.0f} ms", "1,500 ms"),
        ("true pairs within 1 % of the truth", f"{cost.succeeded} of {cost.true_pairs}", f"{cost.true_pairs}"),
        ("their median and largest error", errors, "0.4 %, 1 %"),
        ("mistakes of the verdict", f"{cost.mistakes} of {cost.pairs}", "0"),
        ("lowest probability of a true pair, highest of others", probabilities, ""),
    ]
    lines = ["| what | measured | at most, or asked for |", "| --- | --- | --- |"]
    lines += [f"| {name} | {value} | {bar} |" for name, value, bar in rows]
    return "\n".join([*lines, "", f"On {machine()}."])


if __name__ == "__main__":
    sys.exit(main())
