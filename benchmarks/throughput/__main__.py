"""Measures and writes tables: `python -m benchmarks.throughput --graph vits16-fp32.onnx [--only memory] [--write]`."""

import argparse
import datetime
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.page import PAGE, ROOT, machine, write_between
from benchmarks.throughput.measure import MEASUREMENTS, Bench, Line


def table(lines: list[Line], load: float) -> str:
    """The table in Markdown."""
    head = ["| what | measured | reference in the same run | ratio | bar | met |", "| --- " * 6 + "|"]
    said = f"Measured {datetime.date.today().isoformat()} on {machine()}; load of the machine before: {load:.1f}."
    return "\n".join([said, "", *head, *(line.row() for line in lines)])


def main(arguments: list[str]) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser("python -m benchmarks.throughput", description=__doc__)
    parser.add_argument("--graph", type=Path, required=True, help="exported graph of vits16, named vits16-fp32.onnx")
    parser.add_argument("--photographs", type=Path, help="folder of photographs to cut from (default: made-up ones)")
    parser.add_argument("--only", choices=list(MEASUREMENTS), nargs="+", default=list(MEASUREMENTS))
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument(
        "--many", type=int, default=2000, help="photographs that memory is measured with; 2000 take hours"
    )
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    sources = sorted(options.photographs.rglob("*.jpg")) if options.photographs else []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.graph, sources, options.quick, options.many)
        for name in options.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            load = os.getloadavg()[0]
            text = table(MEASUREMENTS[name](bench), load)
            print(text)
            if options.write:
                print(f"wrote {write_between(f'throughput: {name}', text)}")


if __name__ == "__main__":
    main(sys.argv[1:])
