"""Measures and writes the table: `python -m benchmarks.throughput --graph vits16-fp32.onnx [--write]`."""

import argparse
import datetime
import os
import platform
import sys
import tempfile
from pathlib import Path

from benchmarks.throughput.measure import MEASUREMENTS, Bench, Line
from engine.context import installed_versions
from engine.runtime import usable_cores

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "benchmarks.md"
BEGIN, END = "<!-- throughput -->", "<!-- end of throughput -->"


def machine() -> str:
    """Processor, cores and versions, in a line."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        processor = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    return f"{processor}, {usable_cores()} cores, Python {platform.python_version()}, {versions}"


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
    parser.add_argument("--write", action="store_true", help=f"put the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args(arguments)
    sources = sorted(options.photographs.rglob("*.jpg")) if options.photographs else []
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), options.graph, sources, options.quick)
        lines = []
        for name in options.only:
            print(f"{name} ...", file=sys.stderr, flush=True)
            lines += MEASUREMENTS[name](bench)
            print(lines[-1].row(), file=sys.stderr, flush=True)
    text = table(lines, load)
    print(text)
    if options.write:
        page = PAGE.read_text("utf-8")
        before, after = page.partition(BEGIN)[0], page.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}", "utf-8")
        print(f"wrote {PAGE}")


if __name__ == "__main__":
    main(sys.argv[1:])
