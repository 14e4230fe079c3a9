"""The demonstration from start to end: pictures, matches, drawings, the yardstick, a table, an exit code."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from engine.demo.accuracy import mean_transfer_error_pct
from engine.demo.orb import OrbMatcher
from engine.demo.photograph import FLIGHT_A, FLIGHT_B, TRUTH_NAME, TruePair, make_data_set
from engine.demo.table import Row, rows_as_text
from engine.errors import WorkError
from engine.results import PairResult

ERROR_LIMIT_PCT = 0.5
"""Largest distance from the true geometry, in percent of the diagonal of b, that is no failure."""
BEST_SHOWN = 12
"""Of a user's own pictures, this many pairs are listed and drawn: of one place first, then of most inliers."""
IMAGES_FOLDER = "images"


class Match(Protocol):
    """Matches and verifies pairs, and writes their result files."""

    def __call__(
        self, images_root: Path, exports_root: Path, pairs: Sequence[tuple[str, str]] | None, /
    ) -> list[PairResult]:
        """Results of pairs of image keys (a, b) of a data set, in their order; None: all pairs of the data set."""
        ...


class Draw(Protocol):
    """Draws results that `Match` returned, and returns the picture files in the same order."""

    def __call__(self, images_root: Path, exports_root: Path, results: Sequence[PairResult], /) -> list[Path]: ...


Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoTools:
    """What the demonstration needs of the rest of the program."""

    match: Match
    draw: Draw
    say: Say


def demonstrate(out: Path, seed: int, tools: DemoTools) -> int:
    """Makes the data set below `out`, matches it, and compares with the true geometry and with ORB.

    Returns:
        0; 1 when the geometry of a true pair was not found or is farther off than `ERROR_LIMIT_PCT`.

    Raises:
        WorkError: a file cannot be written, or matching failed.
    """
    images = out / IMAGES_FOLDER
    started = time.perf_counter()
    true_pairs = make_data_set(images, seed)
    tools.say(
        f"Rendered a scene (seed {seed}) and photographed it twice in {time.perf_counter() - started:.0f} s: "
        f"{FLIGHT_A.season.name} from {FLIGHT_A.altitude} m, {FLIGHT_B.season.name} from {FLIGHT_B.altitude} m, "
        f"{len(true_pairs)} places."
    )
    true_of = {(pair.key_a, pair.key_b): pair for pair in true_pairs}
    wrong = [(a.key_a, b.key_b) for a in true_pairs for b in true_pairs if a.key_a != b.key_a]
    results = _in_order(tools.match(images, out, [*true_of, *wrong]), [*true_of, *wrong])
    matched, mismatched = results[: len(true_of)], results[len(true_of) :]
    pictures = tools.draw(images, out, matched)
    orb = OrbMatcher()
    rows = [_row(result, orb, true_of[_keys(result)]) for result in matched]
    tools.say("\n" + rows_as_text(rows))
    tools.say(_verdicts_text(matched, mismatched))
    _say_files(tools.say, images, out, pictures)
    tools.say(f"True geometry: {images / TRUTH_NAME}")
    failed = [row for row in rows if row.error_pct is None or row.error_pct > ERROR_LIMIT_PCT]
    for row in failed:
        off = "no geometry was found" if row.error_pct is None else f"{row.error_pct:.2f} % of the diagonal off"
        tools.say(f"FAILED: {row.pair}: {off}; the limit is {ERROR_LIMIT_PCT:g} %")
    if not failed:
        tools.say(f"All {len(rows)} places were matched within {ERROR_LIMIT_PCT:g} % of the diagonal.")
    return 1 if failed else 0


def demonstrate_with(images: Path, out: Path, tools: DemoTools) -> int:
    """Matches all pairs of a user's folder, and lists and draws the best. There is no truth to compare with.

    Raises:
        WorkError: the folder holds no pair, or matching failed.
    """
    results = sorted(tools.match(images, out, None), key=_rank)
    if not results:
        raise WorkError(f"no two photographs below {images} could be matched: see the messages above")
    best = results[:BEST_SHOWN]
    pictures = tools.draw(images, out, best)
    orb = OrbMatcher()
    tools.say("\n" + rows_as_text([_row(result, orb, None) for result in best]))
    same = sum(_same_place(result) for result in results)
    tools.say(f"Verdict: {same} of {len(results)} pairs show the same place, the best of them listed first.")
    if len(results) > len(best):
        tools.say(f"These are the best {len(best)} pairs of {len(results)}.")
    _say_files(tools.say, images, out, pictures)
    return 0


def _in_order(results: Sequence[PairResult], wanted: Sequence[tuple[str, str]]) -> list[PairResult]:
    by_keys = {_keys(result): result for result in results}
    missing = [pair for pair in wanted if pair not in by_keys]
    if missing:
        raise WorkError(f"{missing[0][0]} and {missing[0][1]} were not matched: see the messages above")
    return [by_keys[pair] for pair in wanted]


def _keys(result: PairResult) -> tuple[str, str]:
    return result.image_a.key, result.image_b.key


def _row(result: PairResult, orb: OrbMatcher, true: TruePair | None) -> Row:
    yardstick = orb(result.image_a.path, result.image_b.path)
    error = orb_error = None
    if true is not None:
        error = mean_transfer_error_pct(result.verification.matrix, true.a_to_b, true.size_a, true.size_b)
        orb_error = mean_transfer_error_pct(yardstick.matrix, true.a_to_b, true.size_a, true.size_b)
    return Row(
        pair=f"{result.image_a.key} - {result.image_b.key}",
        has_truth=true is not None,
        matches=len(result.similarity),
        inliers=result.verification.inlier_count,
        error_pct=error,
        seconds=result.time_ms["total"] / 1000.0,
        orb_matches=yardstick.matches,
        orb_inliers=yardstick.inliers,
        orb_error_pct=orb_error,
        orb_seconds=yardstick.seconds,
    )


def _same_place(result: PairResult) -> bool:
    return result.verdict is not None and result.verdict.same_place


def _rank(result: PairResult) -> tuple[bool, int]:
    return not _same_place(result), -result.verification.inlier_count


def _verdicts_text(true: Sequence[PairResult], wrong: Sequence[PairResult]) -> str:
    """How often the verdict is right where the truth is known, and which wrong pair it likes best."""
    right = sum(map(_same_place, true))
    text = f"Verdict: {right} of {len(true)} pairs of one place are called the same place"
    if not wrong:
        return text + "."
    likeliest = max(wrong, key=lambda result: result.verdict.probability if result.verdict else 0.0)
    keys = f"{likeliest.image_a.key} - {likeliest.image_b.key}"
    return (
        f"{text}, and {sum(map(_same_place, wrong))} of {len(wrong)} pairs of different places.\n"
        f"The likeliest of these, {keys}, gets: {likeliest.verdict or 'none'}."
    )


def _say_files(say: Say, images: Path, out: Path, pictures: Sequence[Path]) -> None:
    say("")
    for picture in pictures:
        say(f"Picture: {picture}")
    say(f"Photographs: {images}")
    say(f"Results (JSON, HDF5): below {out}")
