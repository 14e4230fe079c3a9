"""`engine vis`: options with their defaults from `VIS_*`, and the run from result files to pictures."""

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from engine.cli_options import option
from engine.cli_types import number, whole_number
from engine.cli_vis_choice import chosen_results
from engine.drawing import MODES, Strokes
from engine.errors import UsageError, WorkError
from engine.photographs import Photographs
from engine.plugin_registry import Registry
from engine.result_picker import PickingStopped
from engine.runtime import AUTO, check_provider
from engine.settings import Roots, read_environment, tagged
from engine.vis import LINES_ONLY, NewVerification, PictureMaker, picture_path
from engine.vis_pairs import DrawablePair
from engine.vis_tokens import TokenFinder

_LINES = whole_number(0)
_AUTO_OR_PX = whole_number(-1, 200)
_BYTE = whole_number(0, 255)
_ITERS = whole_number(1)
_THRESHOLD = number(0)
_CONFIDENCE = number(0, 1)
_COORDINATE = number(-0.5)


def _point(text: str) -> tuple[float, float]:
    words = text.split(",")
    if len(words) != 2:
        raise argparse.ArgumentTypeError(f"'{text}' is no point: write X,Y, for example 1200,850")
    x, y = (_COORDINATE(word.strip()) for word in words)
    return x, y


@dataclass(frozen=True)
class VisOptions:
    """Options of `engine vis`."""

    files: list[str] = option(
        (), "files", nargs="*", type=str, metavar="JSON", help="result files to draw, at any place"
    )
    pair: list[str] = option(
        (),
        "-p",
        "--pair",
        nargs="+",
        type=str,
        metavar="IMAGE",
        help="draw the pair of these two photographs (ALT.FRAME or ID:ALT.FRAME), whether or not it has a result file",
    )
    weights: str | None = option(
        None, "-w", "--weights", type=str, metavar="ALIAS", help="with --pair: the backbone, where several matched it"
    )
    run: str | None = option(
        None, "--run", type=str, metavar="NAME", help="with --pair: the stored run, else the newest; first letters do"
    )
    mode: list[str] = option(
        (),
        "--mode",
        nargs="+",
        type=str,
        choices=MODES,
        help="what to draw, several in one picture: lines (matches), overlay (b warped onto a), checkerboard (both in "
        "turn), heatmap (similarity of b's patches to one of a), pca (main components of the patches as colours) "
        "(default: lines)",
    )
    point: tuple[float, float] | None = option(
        None,
        "--point",
        type=_point,
        metavar="X,Y",
        help="with heatmap: the point of a, in its original pixels (default: the best match's)",
    )
    provider: str = option(
        AUTO, "--provider", type=str, help="for heatmap and pca where feature maps are not stored: auto, cuda, cpu, …"
    )
    root: str | None = option(None, "-r", "--root", type=str, metavar="DIR", help="result files, else MATCH_ROOT")
    out: str | None = option(None, "-o", "--out", type=str, metavar="DIR", help="folder of the pictures, else VIS_ROOT")
    tag: str | None = option(
        None, "--tag", type=str, metavar="NAME", help="draw MATCH_ROOT-NAME, by default to VIS_ROOT-NAME"
    )
    all: bool = option(False, "-a", "--all", help="draw all result files, without asking")
    ransac: str | None = option(
        None,
        "-R",
        "--ransac",
        type=str,
        metavar="FILTER",
        help="verify again with this filter: off, affine, homography or another (see 'engine plugins'); "
        "else VIS_RANSAC, else the stored verification is drawn",
    )
    ransac_method: str | None = option(
        None,
        "-m",
        "--ransac-method",
        type=str,
        metavar="NAME",
        help="verify again with this robust method ('engine plugins' lists them)",
    )
    reproj_th: float | None = option(
        None,
        "-t",
        "--reproj-th",
        type=_THRESHOLD,
        metavar="PX",
        help="verify again with this largest reprojection error, in pixels of the encoded image "
        "(of the original where the pair was matched with --reproj-unit original)",
    )
    confidence: float | None = option(
        None, "-c", "--confidence", type=_CONFIDENCE, metavar="P", help="verify again with this confidence"
    )
    iters: int | None = option(
        None, "-i", "--iters", type=_ITERS, metavar="N", help="verify again with at most so many iterations"
    )
    max_lines: int | None = option(
        None,
        "-xl",
        "--max-lines",
        type=_LINES,
        metavar="N",
        help="most lines drawn, best first; 0: none (default: 1000)",
    )
    linewidth: int | None = option(
        None, "-lw", "--linewidth", type=_AUTO_OR_PX, metavar="PX", help="of the picture; -1: automatic (default: 3)"
    )
    alpha: int | None = option(
        None, "-al", "--alpha", type=_BYTE, metavar="0-255", help="opacity of the lines (default: 180)"
    )
    draw_points: bool = option(False, "-dp", "--draw-points", help="mark match ends (default)")
    no_points: bool = option(False, "-xp", "--no-points", help="do not mark match ends")
    point_radius: int | None = option(
        None,
        "-pr",
        "--point-radius",
        type=_AUTO_OR_PX,
        metavar="PX",
        help="of the picture; -1: automatic (default: -1)",
    )


def run_vis(
    options: VisOptions,
    roots: Roots,
    registry: Registry,
    stdin: TextIO,
    stdout: TextIO,
    values: Mapping[str, str] | None = None,
) -> int:
    """Draws result files; exit code 1 when one of them could not be drawn.

    Args:
        values: the environment with `VIS_*`; by default that of the process and `.env`.
    """
    values = read_environment() if values is None else values
    strokes = make_strokes(options, values)
    asked = new_verification(options, values)
    if asked is not None and asked.filter is not None:
        registry.filter(asked.filter)
    modes = tuple(dict.fromkeys(options.mode)) or LINES_ONLY
    if options.point is not None and "heatmap" not in modes:
        raise UsageError("--point chooses the patch of the heat map: add --mode heatmap")
    check_provider(options.provider)
    if options.tag is not None and (options.root or options.files):
        raise UsageError("--tag names the results, as --root and result files do: give one of them")
    try:
        chosen = chosen_results(options, tagged(roots.matches, options.tag), stdin, stdout)
    except PickingStopped:
        print("nothing drawn", file=stdout)
        return 0
    tokens = TokenFinder(roots, options.provider, lambda line: print(line, file=stdout, flush=True))
    maker = PictureMaker(Photographs(roots.images), registry, strokes, asked, modes, tokens, options.point)
    if asked is not None:
        print(f"verifying again, as asked by {', '.join(asked.sources.values())}", file=stdout)
    out = Path(options.out).expanduser() if options.out else tagged(roots.pictures, options.tag)
    return _draw_all(chosen, out, maker, stdout)


def _draw_all(chosen: list[Path | DrawablePair], picture_root: Path, maker: PictureMaker, stdout: TextIO) -> int:
    failed = 0
    for result in chosen:
        file = result.stored.file if isinstance(result, DrawablePair) else result
        picture = picture_path(file, picture_root, maker.modes, maker.point_px)
        try:
            maker.make(result, picture)
        except WorkError as error:
            failed += 1
            print(f"engine: {error}", file=sys.stderr)
        else:
            print(f"{file.name} -> {picture}", file=stdout, flush=True)
    drawn = len(chosen) - failed
    print(
        f"drew {drawn} picture(s) below {picture_root}" + (f"; {failed} could not be drawn" if failed else ""),
        file=stdout,
    )
    return 1 if failed else 0


def make_strokes(options: VisOptions, values: Mapping[str, str]) -> Strokes:
    """How matches are drawn: the options, else `VIS_*`, else the defaults.

    Raises:
        UsageError: a value of `VIS_*` is wrong, or both `-dp` and `-xp` are given.
    """
    if options.draw_points and options.no_points:
        raise UsageError("-dp and -xp contradict each other: give one of them")
    standard = Strokes()

    def chosen(given: int | None, variable: str, parse: Callable[[str], int], default: int) -> int:
        return given if given is not None else _from_values(values, variable, parse, default)

    points = _from_values(values, "VIS_DRAW_POINTS", _flag, standard.points)
    return Strokes(
        max_lines=chosen(options.max_lines, "VIS_MAX_LINES", _LINES, standard.max_lines),
        linewidth=chosen(options.linewidth, "VIS_LINEWIDTH", _AUTO_OR_PX, standard.linewidth),
        alpha=chosen(options.alpha, "VIS_ALPHA", _BYTE, standard.alpha),
        points=(points or options.draw_points) and not options.no_points,
        point_radius=chosen(options.point_radius, "VIS_POINT_RADIUS", _AUTO_OR_PX, standard.point_radius),
    )


def new_verification(options: VisOptions, values: Mapping[str, str]) -> NewVerification | None:
    """What is asked of a new verification by options, else by `VIS_*`; None when nothing is.

    Raises:
        UsageError: a value of `VIS_*` is wrong.
    """
    table: tuple[tuple[str, Any, str, str, Callable[[str], Any]], ...] = (
        ("filter", options.ransac, "--ransac", "VIS_RANSAC", str),
        ("ransac_method", options.ransac_method, "--ransac-method", "VIS_RANSAC_IMPL", str),
        ("reproj_th", options.reproj_th, "--reproj-th", "VIS_REPROJ_TH", _THRESHOLD),
        ("confidence", options.confidence, "--confidence", "VIS_CONFIDENCE", _CONFIDENCE),
        ("iters", options.iters, "--iters", "VIS_ITERS", _ITERS),
    )
    found: dict[str, Any] = {}
    sources: dict[str, str] = {}
    optional = set()
    for name, given, flag, variable, parse in table:
        value = given if given is not None else _from_values(values, variable, parse, None)
        if value is None:
            continue
        found[name] = value
        sources[name] = flag if given is not None else variable
        if given is None:
            optional.add(name)
    if not found:
        return None
    return NewVerification(found.pop("filter", None), found, sources, frozenset(optional))


def _from_values(values: Mapping[str, str], variable: str, parse: Callable[[str], Any], default: Any) -> Any:
    text = values.get(variable, "").strip()
    if not text:
        return default
    try:
        return parse(text)
    except argparse.ArgumentTypeError as error:
        raise UsageError(f"{variable}: {error}. Change it in the environment or in .env") from error


def _flag(text: str) -> bool:
    lowered = text.lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise argparse.ArgumentTypeError(f"'{text}' is neither yes nor no")
