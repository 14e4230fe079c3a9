"""The table that ends a demonstration."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """A pair of photographs, by dinov3-match and by ORB.

    Attributes:
        has_truth: whether the true geometry is known; without, errors are not shown.
        error_pct, orb_error_pct: distance from the true geometry in percent of b's diagonal; None for no model.
    """

    pair: str
    has_truth: bool
    matches: int
    inliers: int
    error_pct: float | None
    seconds: float
    orb_matches: int
    orb_inliers: int
    orb_error_pct: float | None
    orb_seconds: float


def rows_as_text(rows: Sequence[Row]) -> str:
    """Aligned columns: matches, inliers, error and seconds of both methods."""
    with_errors = any(row.has_truth for row in rows)
    columns = ["matches", "inliers", *(["error"] if with_errors else []), "seconds"]
    lines = [["pair", *columns, *columns]]
    for row in rows:
        ours = [str(row.matches), str(row.inliers)]
        orb = [str(row.orb_matches), str(row.orb_inliers)]
        if with_errors:
            ours.append(_percent(row.error_pct))
            orb.append(_percent(row.orb_error_pct))
        lines.append([row.pair, *ours, f"{row.seconds:.2f}", *orb, f"{row.orb_seconds:.2f}"])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    half = 1 + len(columns)
    groups = (slice(0, 1), slice(1, half), slice(half, None))
    text = [" | ".join(_cells(line[group], widths[group]) for group in groups) for line in lines]
    spans = [sum(widths[group]) + 2 * (len(widths[group]) - 1) for group in groups]
    titles = " | ".join(("", "dinov3-match", "ORB")[index].ljust(span) for index, span in enumerate(spans))
    rule = "-+-".join("-" * span for span in spans)
    note = "\nerror: mean distance from the true geometry, in percent of the picture's diagonal" if with_errors else ""
    return "\n".join([titles.rstrip(), text[0], rule, *text[1:]]) + note


def _cells(cells: Sequence[str], widths: Sequence[int]) -> str:
    if len(cells) == 1:
        return cells[0].ljust(widths[0])
    return "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))


def _percent(error: float | None) -> str:
    return "none" if error is None else f"{error:.2f} %"
