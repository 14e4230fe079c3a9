"""From a run to its report: list the pairs, reduce the photographs, write pages and data."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from engine import __version__
from engine.drawing.palette import SCALE
from engine.errors import Dinov3MatchError, WorkError
from engine.photographs import Photographs
from engine.progress import progress_bar
from engine.report.data_file import data_script, rounded
from engine.report.detail import detail_document
from engine.report.folder import MARKER, ReportFolder, check_replaceable, replace_folder
from engine.report.listing import Listing, choose_detailed, list_pairs
from engine.report.pictures import PictureOutcome, Problem, file_name, write_pictures
from engine.report.source import ResultSource, SourcePair
from engine.report.tokens import Encode, TokenSource, TokenWriter

FORMAT = 1
"""Version of the data that the pages read."""

Draw = Callable[[SourcePair, Path], None]
"""(pair, PNG file) draws the pair as the run found it; raises a `WorkError` where it cannot."""


@dataclass(frozen=True)
class ReportLimits:
    """How much goes into a report; every pair is listed in any case.

    Attributes:
        details: pairs with a page of their own, the best.
        heat_pairs: of these, pairs with a patch-similarity map.
        pictures: of these, pairs with their picture (PNG, some megabytes each).
    """

    details: int = 2000
    heat_pairs: int = 50
    pictures: int = 12


@dataclass(frozen=True)
class ReportSummary:
    """What was written.

    Attributes:
        index: the page to open.
        bytes: size of the folder.
        problems: what is missing in it and why, one line each.
    """

    index: Path
    pairs: int
    images: int
    details: int
    bytes: int
    problems: list[str]


def write_report(
    source: ResultSource,
    out: Path,
    photographs: Photographs,
    embed_root: Path,
    limits: ReportLimits | None = None,
    draw: Draw | None = None,
    encode: Encode | None = None,
) -> ReportSummary:
    """Writes a report; a report at `out` is replaced as a whole, anything else there is left alone.

    Args:
        source: the pairs.
        out: the report's folder.
        photographs: finds the photographs.
        embed_root: folder of the feature maps, for the patch-similarity maps.
        limits: how much of it goes in.
        draw: draws the PNG pictures of pairs; None to go without.
        encode: encodes photographs whose feature maps are not stored; None to go without.

    Raises:
        UsageError: `out` is something else than a report.
        WorkError: there is no pair.
        WriteError: a file cannot be written; what was at `out` is still there.
    """
    limits = limits or ReportLimits()
    check_replaceable(out)
    listing = list_pairs(progress_bar(source.pairs(), len(source), "pair"))
    if not len(listing):
        told = f" ({source.problems[0]})" if source.problems else ""
        raise WorkError(f"there is no pair to report{told}. Run 'engine match' first")
    chosen = choose_detailed(listing, limits.details)
    with replace_folder(out) as folder:
        write_pages(folder)
        with_copy = set(listing.images_of(chosen))
        made = write_pictures(listing.images, with_copy, photographs, folder)
        stored = TokenSource(embed_root, source.description)
        tokens = TokenWriter(folder, stored, encode)
        maps = _write_details(folder, source, listing, chosen, limits, tokens, draw)
        unread = [_unread(line, "pairs") for line in source.problems]
        problems = [*unread, *made.problems, *(_unread(line, "features") for line in stored.problems)]
        if tokens.no_graph:
            problems.append(Problem(tokens.no_graph, "graph"))
        folder.write("data/pairs.js", data_script("pairs", pairs_document(listing, chosen)))
        folder.write("data/run.js", data_script("run", run_document(source, listing, made, maps, problems)))
        folder.write(MARKER, f"Report of dinov3-match {__version__}. Open index.html.\n".encode())
        size = folder.bytes_written
    return ReportSummary(
        out / "index.html", len(listing), len(listing.images), len(chosen), size, [problem.text for problem in problems]
    )


def write_pages(folder: ReportFolder) -> None:
    """Writes what is the same in every report: the page, its scripts and its styles."""
    shipped = resources.files("engine.report") / "assets"
    for entry in shipped.iterdir():
        folder.write(entry.name if entry.name == "index.html" else f"assets/{entry.name}", entry.read_bytes())


def _write_details(
    folder: ReportFolder,
    source: ResultSource,
    listing: Listing,
    chosen: list[int],
    limits: ReportLimits,
    tokens: TokenWriter,
    draw: Draw | None,
) -> int:
    """Writes the data of the pairs shown in detail; returns how many of them have a patch-similarity map."""
    wanted, with_map = set(chosen), set(chosen[: limits.heat_pairs])
    with_picture = set(chosen[: limits.pictures])
    maps = 0
    for row, pair in enumerate(progress_bar(source.pairs(), len(source), "page")):
        if row not in wanted:
            continue
        names = tokens.names(pair, (int(listing.a[row]), int(listing.b[row]))) if row in with_map else None
        maps += names is not None
        files = _write_files(folder, row, pair, draw if row in with_picture else None)
        folder.write(f"data/pair/{row}.js", data_script(f"pair/{row}", detail_document(pair.result, files, names)))
    return maps


def _write_files(folder: ReportFolder, row: int, pair: SourcePair, draw: Draw | None) -> dict[str, str]:
    """Writes what can be downloaded of a pair, under the row's number, as labels may repeat; names of what there is.

    Pictures that lie in VIS_ROOT are not taken: nothing tells which run and which options they were drawn with.
    """
    place = f"files/{row}/{pair.file.stem}"
    files = {"json": f"{place}.json"}
    folder.write(files["json"], pair.as_json())
    if draw is None:
        return files
    picture = folder.path / f"{place}.png"
    try:
        draw(pair, picture)
    except Dinov3MatchError:
        return files  # The photograph is missing or altered: the overview says so already.
    files["png"] = f"{place}.png"
    folder.bytes_written += picture.stat().st_size
    return files


def pairs_document(listing: Listing, chosen: list[int]) -> dict[str, Any]:
    """The columns of the table and the map, JSON-ready. Inliers are -1 where there is no model, and `p`, the verdicts'
    probabilities, is null where the run has no verdict.

    Args:
        chosen: rows of the pairs that have a page of their own.
    """
    detailed = np.zeros(len(listing), np.int8)
    detailed[chosen] = 1
    return {
        "a": listing.a.tolist(),
        "b": listing.b.tolist(),
        "m": listing.matches.tolist(),
        "i": np.where(listing.has_model, listing.inliers, -1).tolist(),
        "e": rounded(listing.error_px, 2),
        "c": rounded(listing.cosine, 4),
        "d": "".join(map(str, detailed.tolist())),
        "p": rounded(listing.same_place, 6) if np.isfinite(listing.same_place).any() else None,
    }


def run_document(
    source: ResultSource, listing: Listing, made: PictureOutcome, maps: int, problems: list[Problem]
) -> dict[str, Any]:
    """What is known of the run and its photographs, JSON-ready.

    Args:
        maps: how many pairs have a patch-similarity map.
    """
    run = source.description
    return {
        "format": FORMAT,
        "program": f"dinov3-match {__version__}",
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": {
            "name": run.name,
            "weights": run.weights,
            "provider": run.provider,
            "mode": run.matching_mode,
            "filter": run.filter,
            "graph": run.graph,
            "checkpoint": run.checkpoint,
            "images": run.image_root,
            "size": run.image_size,
            "settings": run.settings,
            "versions": run.versions,
        },
        "speed": {
            "forward": _median(listing.forward_ms),
            "total": _median(listing.total_ms),
        },
        "problems": [asdict(problem) for problem in problems[:200]],
        "problem_count": len(problems),
        "maps": maps,
        "scale": ["#" + bytes(colour).hex() for colour in SCALE],
        "images": [
            {
                "key": image.ref.key,
                "file": file_name(image.ref.path),
                "group": image.group,
                "size": list(image.ref.size),
                "picture": row in made.present,
            }
            for row, image in enumerate(listing.images)
        ],
    }


def _unread(line: str, code: str) -> Problem:
    """The problem of a stored file that could not be read: a line of the store, which begins with file and colon."""
    file, colon, _ = line.partition(": ")
    return Problem(line, code, {"file": file}) if colon else Problem(line)


def _median(values: list[float]) -> float | None:
    finite = [value for value in values if np.isfinite(value) and value > 0]
    return round(float(np.median(finite)), 2) if finite else None
