"""Matches all pairs in every way: `python -m benchmarks.matching [--aerial DIR] [--write]`."""

import argparse
import datetime
import os
import sys
from pathlib import Path

from benchmarks.matching.measure import compare, int8_share
from benchmarks.page import PAGE, ROOT, machine, write_between


def main(arguments: list[str]) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser("python -m benchmarks.matching", description=__doc__)
    parser.add_argument(
        "--aerial", type=Path, metavar="DIR", help="data set of real photographs, for the share of int8"
    )
    parser.add_argument("--quick", action="store_true", help="a tenth of the work")
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    load = os.getloadavg()[0]
    said = f"Measured {datetime.date.today().isoformat()} on {machine()}; load of the machine before: {load:.1f}."
    text = f"{said} {compare(options.quick).table()}"
    if options.aerial is not None:
        text += f"\n\n{int8_share(options.aerial)}"
    print(text)
    if options.write:
        print(f"wrote {write_between('matching', text)}")


if __name__ == "__main__":
    main(sys.argv[1:])
