"""`engine demo`: options, and the choice between the rendered data set and a folder of the user's."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.cli_options import option
from engine.cli_types import whole_number

if TYPE_CHECKING:  # rendering takes a while to load, and the command line needs the options only
    from engine.demo.run import Draw, Match


@dataclass(frozen=True)
class DemoOptions:
    """Options of `engine demo`."""

    out: str = option(
        "demo",
        "-o",
        "--out",
        type=str,
        metavar="DIR",
        help="folder for photographs, results and pictures, whatever EXPORT_ROOT says",
    )
    images: str | None = option(
        None,
        "--images",
        type=str,
        metavar="DIR",
        help="match the photographs of this folder instead of a rendered scene",
    )
    seed: int = option(1, "--seed", type=whole_number(0), help="another number renders another scene")
    image_size: int = option(
        448, "-i", "--image-size", type=whole_number(16, 16384), help="shorter side of the encoded image, pixels"
    )


def run_demo(options: DemoOptions, match: "Match", draw: "Draw") -> int:
    """Runs the demonstration; returns its exit code. `match` and `draw` are those of the program (see `DemoTools`)."""
    from engine.demo.run import DemoTools, demonstrate, demonstrate_with

    tools = DemoTools(match, draw, print)
    out = Path(options.out)
    if options.images is not None:
        return demonstrate_with(Path(options.images), out, tools)
    return demonstrate(out, options.seed, tools)
