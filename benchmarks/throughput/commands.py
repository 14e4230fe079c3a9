"""Runs of the program in a process of their own, with the time and memory they took."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

MEASURED = """
import json, sys, time
started = time.perf_counter()
if __name__ == "__main__":
    from engine.__main__ import main
    figures = sys.argv.pop(1)
    try:
        main()
    except SystemExit as end:
        code = end.code
    with open(figures, "w") as file:
        json.dump({"code": code, "seconds": time.perf_counter() - started}, file)
"""
"""The command and its cost; a file of its own, as the processes that verify import it again."""


LOOK_EVERY_S = 0.05
"""Between two looks at the processes' peaks, which only grow."""


@dataclass(frozen=True)
class Cost:
    """What a command took.

    Attributes:
        seconds: on the clock, imports included.
        peak_mib: peak resident memory of the command and of every process that it started, each at its own time,
            added up; 0 where there is no /proc.
        output: what it printed.
    """

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
    peaks: dict[int, float] = {}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        process = subprocess.Popen(
            [sys.executable, str(script), str(figures), *arguments],
            cwd=folder,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None:
            for number in (process.pid, *_children(process.pid)):
                # Not the largest seen: until a new process has loaded its program, it shows its parent's memory.
                peaks[number] = _peak_mib(number) or peaks.get(number, 0.0)
            time.sleep(LOOK_EVERY_S)
        out.seek(0)
        printed = out.read()
    cost = json.loads(figures.read_text("utf-8")) if process.returncode == 0 and figures.is_file() else {"code": -1}
    if cost["code"]:
        raise RuntimeError(f"engine {' '.join(arguments)} failed:\n{printed}")
    return Cost(cost["seconds"], sum(peaks.values()), printed)


def _children(number: int) -> list[int]:
    with contextlib.suppress(OSError):
        return [int(word) for word in Path(f"/proc/{number}/task/{number}/children").read_text("ascii").split()]
    return []


def _peak_mib(number: int) -> float:
    """Peak resident memory of a process so far; 0 where it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{number}/status").read_text("utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0
