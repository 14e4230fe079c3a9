"""Runs of the program in a process of their own, with the time and memory they took."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MEASURED = """
import json, resource, sys, time
started = time.perf_counter()
if __name__ == "__main__":
    from engine.__main__ import main
    figures = sys.argv.pop(1)
    try:
        main()
    except SystemExit as end:
        code = end.code
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open(figures, "w") as file:
        json.dump({"code": code, "seconds": time.perf_counter() - started, "peak_mib": usage.ru_maxrss / 1024}, file)
"""
"""The command and its cost; a file of its own, as the processes that verify import it again."""


@dataclass(frozen=True)
class Cost:
    """What a command took: seconds on the clock, imports included, and peak resident memory in MiB."""

    seconds: float
    peak_mib: float
    output: str


def run_engine(folder: Path, *arguments: str) -> Cost:
    """Runs `engine ARGUMENTS` on the data set, graphs and results below `folder`.

    Raises:
        RuntimeError: it failed; the message is its output.
    """
    script, figures = folder / "measured.py", folder / "cost.json"
    script.write_text(MEASURED, "utf-8")
    figures.unlink(missing_ok=True)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.endswith(("_ROOT", "_HOST"))},
        "IMG_ROOT": str(folder / "images"),
        "EXPORT_ROOT": str(folder / "exports"),
        "GRAPH_ROOT": str(folder / "graphs"),
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(script), str(figures), *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not figures.is_file():
        raise RuntimeError(f"engine {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    cost = json.loads(figures.read_text("utf-8"))
    if cost["code"]:
        raise RuntimeError(f"engine {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")
    return Cost(cost["seconds"], cost["peak_mib"], done.stdout)
