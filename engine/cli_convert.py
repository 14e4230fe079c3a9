"""`engine convert`: stored matches in the formats of hloc and COLMAP, and as arrays and tables."""

from dataclasses import dataclass
from pathlib import Path

from engine.cli_options import option
from engine.context import Context
from engine.convert import arrays, colmap, hloc, tables
from engine.convert.runs import choose_run, stored_runs
from engine.convert.source import MATCHES, PATCHES, Source
from engine.convert.target import check_target
from engine.errors import UsageError
from engine.settings import tagged

FORMATS = {"hloc": hloc.FILES, "colmap": colmap.FILES, "npy": arrays.FILES, "csv": tables.FILES}
"""Each format and the files it consists of."""


@dataclass(frozen=True)
class ConvertOptions:
    """Options of `engine convert`."""

    to: str | None = option(None, "--to", type=str, choices=tuple(FORMATS), help="format to write")
    out: str | None = option(None, "--out", type=str, metavar="DIR", help="folder to write to; made if missing")
    weights: str | None = option(
        None, "-w", "--weights", type=str, metavar="ALIAS", help="backbone, where several have stored matches"
    )
    run: str | None = option(
        None,
        "--run",
        type=str,
        metavar="NAME",
        help="stored run, where several settings were used, else the newest; its first letters do; 'list' lists them",
    )
    tag: str | None = option(None, "--tag", type=str, metavar="NAME", help="read from MATCH_ROOT-NAME")
    keypoints_only: bool = option(
        False, "--keypoints-only", help="hloc: no descriptors, so that no stored feature maps are needed"
    )
    cameras: str = option(
        "folder", "--cameras", type=str, choices=colmap.CAMERAS, help="colmap: images of one size that share a camera"
    )
    matches: str = option(
        PATCHES,
        "--matches",
        type=str,
        choices=MATCHES,
        help="patches: the same keypoints in all pairs of a photograph, good for tracks; refined: the matches that "
        "--refine ended with, where a pair has any, with keypoints of their own in each pair",
    )
    overwrite: bool = option(False, "--overwrite", help="replace files of an earlier conversion")


def run_convert(options: ConvertOptions, context: Context) -> int:
    """Converts one stored run, or lists them."""
    root = tagged(context.roots.matches, options.tag)
    runs = stored_runs(root)
    if options.run == "list":
        print("\n".join(run.line() for run in runs) or f"no matches are stored below {root}")
        return 0
    if options.to is None or options.out is None:
        raise UsageError(f"give --to ({', '.join(FORMATS)}) and --out DIR, or --run list")
    out = Path(options.out)
    check_target(out, FORMATS[options.to], options.overwrite)
    chosen = choose_run(runs, root, options.weights, options.run)
    source = Source(chosen.folder, chosen.settings, context.roots.embeds, options.matches)
    said = _convert(source, out, options)
    if source.outdated_pairs:
        said.append(
            f"{source.outdated_pairs} pair(s) left out: matched before one of their photographs was replaced. "
            "Match them again to have them"
        )
    print("\n".join([*said, f"{len(source.images)} photographs written to {out} ({options.to})"]))
    return 0


def _convert(source: Source, out: Path, options: ConvertOptions) -> list[str]:
    match options.to:
        case "hloc":
            return hloc.convert_to_hloc(source, out, options.keypoints_only)
        case "colmap":
            return colmap.convert_to_colmap(source, out, options.cameras)
        case "npy":
            return arrays.convert_to_npy(source, out)
        case _:
            return tables.convert_to_csv(source, out)
