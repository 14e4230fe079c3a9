"""Seconds, peak anonymous memory, file size and largest difference of exports (Linux: memory is read from /proc).

    python benchmarks/export/measure.py vit7b16 --folder /a/large/disk --precisions int8 bf16 fp32

makes a checkpoint of random values in the folder, exports one precision after the other (one on disk at a time), runs
one image of 336 px through each graph that the CPU can run, and prints a table. Everything it wrote is removed.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parents[1]), str(HERE)]

from figures import HEADER, keep, table_row  # noqa: E402 - the folder is known now

from models.catalogue import backbone  # noqa: E402
from models.random_checkpoint import write_large_checkpoint  # noqa: E402

_POLL_SECONDS = 0.02
_KILOBYTE = 1024
_RUN_SHARE = 0.4
"""Graphs of a larger share of the machine's memory are not run as a whole: packed weights are copies."""


@dataclass
class Measured:
    """What a process printed, and its peaks in bytes."""

    result: dict[str, Any]
    peaks: dict[str, int] = field(default_factory=dict)


def measured(script: str, *arguments: str) -> Measured:
    """Runs a script of this folder and watches its memory.

    Raises:
        RuntimeError: the script failed; the message is what it printed.
    """
    process = subprocess.Popen(
        [sys.executable, str(HERE / script), *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    peaks = {"RssAnon": 0, "VmHWM": 0}
    while process.poll() is None:
        for name, value in _memory(process.pid).items():
            peaks[name] = max(peaks[name], value)
        time.sleep(_POLL_SECONDS)
    out, err = process.communicate()
    if process.returncode != 0:
        raise RuntimeError(" ".join(err.split())[-500:] or f"exit code {process.returncode}")
    return Measured(json.loads(out.strip().splitlines()[-1]), peaks)


def _memory(pid: int) -> dict[str, int]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    found = (line.split() for line in lines if line.startswith(("RssAnon:", "VmHWM:")))
    return {words[0][:-1]: int(words[1]) * _KILOBYTE for words in found}


def _circumstances() -> dict[str, str]:
    """What the figures were measured on, with, and when."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("torch", "onnxruntime"))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {_memory_bytes() / 2**30:.0f} GiB"
    return {"machine": machine, "versions": versions, "date": datetime.date.today().isoformat()}


def _memory_bytes() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def measure(
    alias: str,
    precisions: list[str],
    folder: Path,
    photographs: str = "",
    checkpoint: Path | None = None,
    say: Any = print,
) -> list[dict[str, Any]]:
    """Prints a row per precision; returns all figures. Without a checkpoint, one of random values is made."""
    work = Path(tempfile.mkdtemp(prefix="export-benchmark-", dir=folder))
    rows = []
    try:
        checkpoint = checkpoint or write_large_checkpoint(backbone(alias), work)
        for precision in precisions:
            graphs = work / precision
            try:
                given = [photographs] if photographs and precision == "fp16" else []
                export = measured("export_once.py", alias, precision, str(checkpoint), str(graphs), *given)
                run = None
                if precision in ("fp32", "int8") and export.result["file_bytes"] < _RUN_SHARE * _memory_bytes():
                    run = measured("run_once.py", str(graphs / f"{alias}-{precision}.onnx"))
                row = {**export.result, **export.peaks, "run": run and {**run.result, **run.peaks}}
                rows.append({**row, **_circumstances()})
                say(table_row(rows[-1]), flush=True)
            except RuntimeError as error:
                say(f"| {alias} | {precision} | failed: {error} |", flush=True)
            finally:
                shutil.rmtree(graphs, ignore_errors=True)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("aliases", nargs="+", metavar="ALIAS")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--precisions", nargs="+", default=["int8", "bf16", "fp32"])
    parser.add_argument("--photographs", default="", metavar="DIR", help="fp16 is judged on photographs only")
    parser.add_argument("--checkpoint", type=Path, default=None, help="measure with this one, for a single alias")
    parser.add_argument("--json", type=Path, default=None, help="add the figures to those of that file")
    options = parser.parse_args()
    print(HEADER, flush=True)
    rows = [
        row
        for alias in options.aliases
        for row in measure(alias, options.precisions, options.folder, options.photographs, options.checkpoint)
    ]
    if options.json is not None:
        keep(rows, options.json)


if __name__ == "__main__":
    main()
