"""Figures as aligned text."""

import math
from collections.abc import Mapping, Sequence

from engine.evaluate.factors import Level
from engine.evaluate.measure import Row
from engine.evaluate.metrics import AREA_LIMITS_PCT, SUCCESS_LIMITS_PCT, Measured, Summary


def pairs_table(rows: Sequence[Row]) -> str:
    """One line per pair: all figures of the method under test, then the errors of the references."""
    own = rows[0].measured[0].method
    others = [item.method for item in rows[0].measured[1:]]
    head = ["pair", "matches", "inliers", "ratio", "≤½", "≤1", "≤2", "px", "refined", "error", "ms", *others]
    lines = [head]
    for row in rows:
        first = row.measured[0]
        lines.append(
            [
                row.case.name,
                str(first.matches),
                str(first.inliers),
                f"{first.inlier_ratio:.2f}",
                *(["-"] * 3 if first.errors is None else [f"{100 * share:.0f} %" for share in first.errors.within]),
                _pixels(first),
                "-" if first.refined is None else f"{first.refined[1]:.1f}",
                percent(first.error_pct),
                f"{first.time_ms:.0f}",
                *(percent(item.error_pct) for item in row.measured[1:]),
            ]
        )
    notes = [
        f"{own}; ratio: inliers per match; ≤½ ≤1 ≤2: share of matches within so many patches of the truth;",
        "px: median distance of inliers from the truth, pixels of b; refined: of the refined matches; error: mean",
        "transfer error of the geometry, % of b's diagonal; ms: features of both photographs, matching, verifying,",
        "refining. Right: errors of the references.",
    ]
    return "\n".join([aligned(lines), *notes])


def summary_table(summaries: Mapping[str, Summary], title: str) -> str:
    """One line per method: success, area under the curve, medians."""
    head = [
        title,
        "pairs",
        *(f"≤{limit:g} %" for limit in SUCCESS_LIMITS_PCT),
        *(f"AUC {limit:g} %" for limit in AREA_LIMITS_PCT),
        "median error",
        "median px",
        "refined px",
        "median ms",
    ]
    lines = [head]
    for name, summary in summaries.items():
        lines.append(
            [
                name,
                str(summary.pairs),
                *(f"{100 * share:.1f} %" for share in summary.success),
                *(f"{100 * share:.1f} %" for share in summary.area),
                percent(summary.median_error_pct),
                "-" if summary.median_match_px is None else f"{summary.median_match_px:.2f}",
                "-" if summary.median_refined_px is None else f"{summary.median_refined_px:.2f}",
                f"{summary.median_time_ms:.0f}",
            ]
        )
    return aligned(lines)


def levels_table(factor: str, unit: str, levels: Mapping[Level, Mapping[str, Summary]]) -> str:
    """One line per level of a factor: per method, success at 1 % and median error."""
    methods = list(next(iter(levels.values())))
    at_1_pct = SUCCESS_LIMITS_PCT.index(1.0)
    lines = [[f"{factor} ({unit})" if unit else factor, "pairs", *(part for name in methods for part in (name, ""))]]
    for level, summaries in levels.items():
        cells = [str(level), str(next(iter(summaries.values())).pairs)]
        for name in methods:
            cells += [f"{100 * summaries[name].success[at_1_pct]:.0f} %", percent(summaries[name].median_error_pct)]
        lines.append(cells)
    return aligned(lines)


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Columns of equal width, the first to the left, a rule below the head."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = [
        "  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]).rstrip()
        for line in lines
    ]
    return "\n".join([text[0], "  ".join("-" * width for width in widths), *text[1:]])


def percent(value: float | None) -> str:
    """An error with its unit; `none` for no model."""
    if value is None:
        return "none"
    return f"{value:.2f} %" if math.isfinite(value) and value < 1000 else "far off"


def _pixels(item: Measured) -> str:
    if item.errors is None or item.errors.median_inlier_px is None:
        return "-"
    return f"{item.errors.median_inlier_px:.1f}"
