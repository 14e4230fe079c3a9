"""Compares the backbones on this machine: `python -m benchmarks.backbones [ALIAS …] [--write]`.

Random weights of the official format serve, as speed does not depend on weights. For each backbone: images a second of
PyTorch eager, torch.compile, transformers, a bare session and this program's runtimes in every precision that runs
here, in turns; and pairs a second of the matcher beside the bare products. `--write` puts tables and picture into the
documents.
"""

import argparse
import datetime
import os
import sys
import tempfile
from importlib import metadata
from pathlib import Path

import cv2

from benchmarks.backbones.measure import SIDE_PX, Measured, measure
from benchmarks.backbones.plot import picture
from benchmarks.page import ROOT, machine, write_between
from models.catalogue import backbone
from models.errors import UsageError

ALIASES = ("vitt16", "vits16", "vits16+", "vitb16", "vitl16", "vitl16+", "cxTiny", "cxSmall", "cxBase", "cxLarge")
"""Those that a laptop runs; vitl16sat is vitl16 with other weights."""
PLOT = ROOT / "docs" / "images" / "throughput.png"


def tables(measured: list[Measured], load: float) -> str:
    """Markdown: images a second, and pairs a second."""
    names = list(dict.fromkeys(figure.way for one in measured for figure in one.figures))
    packages = ", ".join(f"{name} {metadata.version(name)}" for name in ("torch", "transformers"))
    lines = [
        f"Measured {datetime.date.today().isoformat()} on {machine()}, {packages}; load of the machine before: "
        f"{load:.1f}. One image of {SIDE_PX} px at a time, medians; in brackets the ratio to {names[0]}; ± is half of "
        "the range from 10 to 90 % of the turns.",
        "",
        "| images/s | " + " | ".join(names) + " |",
        "| --- " * (len(names) + 1) + "|",
    ]
    for one in measured:
        cells = {
            figure.way: f"{figure.images_s:.3g} ± {figure.spread:.0%} ({figure.ratio:.2f})" for figure in one.figures
        }
        lines.append(f"| {one.alias} | " + " | ".join(cells.get(name, "–") for name in names) + " |")
    lines += [
        "",
        "Matching all pairs, in brackets the time as a multiple of the bare fp32 products in ONNX Runtime:",
        "",
        "| pairs/s | tokens × dim | fp32 | int8 |",
        "| --- | --- | --- | --- |",
    ]
    for one in measured:
        match = one.matching
        cells = {name: f"{match.pairs_s[name]:.0f} ({match.ratio[name]:.2f})" for name in match.pairs_s}
        lines.append(f"| {one.alias} | {match.tokens} × {match.dim} | {cells['fp32']} | {cells['int8']} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser("python -m benchmarks.backbones", description=__doc__)
    parser.add_argument("aliases", nargs="*", default=list(ALIASES), metavar="ALIAS", help="backbones to compare")
    parser.add_argument("--seconds", type=float, default=30, help="turns of one backbone (default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="put tables and picture into the documents")
    options = parser.parse_args(arguments)
    try:
        chosen = [backbone(alias) for alias in options.aliases]
    except UsageError as error:
        parser.error(str(error))
    load, measured = os.getloadavg()[0], []
    for entry in chosen:
        print(f"{entry.alias} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            measured.append(measure(entry, Path(folder), options.seconds, lambda text: print(text, file=sys.stderr)))
    text = tables(measured, load)
    print(text)
    if options.write:
        print(f"wrote {write_between('backbones', text)}")
        cv2.imwrite(str(PLOT), picture(measured, f"Backbones at {SIDE_PX} px")[..., ::-1])
        print(f"wrote {PLOT}")


if __name__ == "__main__":
    main(sys.argv[1:])
