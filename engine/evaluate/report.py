"""The evaluation as one JSON file, and the groups that its summaries are over."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from engine.evaluate.factors import Level
from engine.evaluate.measure import Row
from engine.evaluate.metrics import (
    AREA_LIMITS_PCT,
    PATCH_LIMITS,
    SUCCESS_LIMITS_PCT,
    Measured,
    Summary,
    summarise,
)
from engine.results import MatchSettings
from engine.store.atomic import write_text

SCHEMA_VERSION = 1
WIDE_OVERLAP = 0.4
ALL_PAIRS, WIDE_PAIRS = "all pairs", "overlap ≥ 40 %"


def summaries_of(rows: Sequence[Row]) -> dict[str, Summary]:
    """Per method, what these pairs amount to."""
    methods = [item.method for item in rows[0].measured]
    return {name: summarise([row.measured[place] for row in rows]) for place, name in enumerate(methods)}


def grouped_summaries(rows_of: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, Summary]]:
    """Per group of pairs and method, what the pairs amount to; synthetic pairs of enough overlap are a group."""
    groups: dict[str, dict[str, Summary]] = {}
    for rows in rows_of.values():
        wide = [row for row in rows if row.case.about.get("overlap", 0.0) >= WIDE_OVERLAP]
        for title, members in ((ALL_PAIRS, rows), (WIDE_PAIRS, wide)):
            if members:
                groups.setdefault(title, {}).update(summaries_of(members))
    return groups


def levels_of(rows_of: Mapping[str, Sequence[Row]]) -> dict[str, dict[Level, dict[str, Summary]]]:
    """Per factor, level (both in the order they come) and method, what the pairs amount to; empty without factors."""
    found: dict[str, dict[Level, dict[str, Summary]]] = {}
    for rows in rows_of.values():
        grouped: dict[tuple[str, Level], list[Row]] = {}
        for row in rows:
            if "factor" in row.case.about:
                grouped.setdefault((row.case.about["factor"], row.case.about["level"]), []).append(row)
        for (factor, level), members in grouped.items():
            found.setdefault(factor, {}).setdefault(level, {}).update(summaries_of(members))
    return found


def report(
    kind: str, source: str, rows_of: Mapping[str, Sequence[Row]], runs: Sequence[dict[str, Any]], about: dict[str, Any]
) -> dict[str, Any]:
    """The content of the JSON file.

    Args:
        kind: `truth` or `synthetic`.
        source: the truth file, or the folder of sources.
        rows_of: rows of each backbone.
        runs: what each backbone was run with (see `run_as_json`).
        about: more keys of the file.
    """
    content: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "kind": kind,
        "source": source,
        **about,
        "runs": list(runs),
        "pairs": [_pair(weights, row) for weights, rows in rows_of.items() for row in rows],
    }
    groups = grouped_summaries(rows_of)
    content["summary"] = {name: _summary(summary) for name, summary in groups[ALL_PAIRS].items()}
    if WIDE_PAIRS in groups:
        content["summary_overlap_40"] = {name: _summary(summary) for name, summary in groups[WIDE_PAIRS].items()}
        content["levels"] = {
            factor: [
                {"level": level, "methods": {name: _summary(summary) for name, summary in summaries.items()}}
                for level, summaries in levels.items()
            ]
            for factor, levels in levels_of(rows_of).items()
        }
    return content


def run_as_json(settings: MatchSettings, provider: str, versions: dict[str, str]) -> dict[str, Any]:
    """What a backbone was run with."""
    return {"settings": asdict(settings), "provider": provider, "versions": versions}


def write_report(path: Path, content: dict[str, Any]) -> None:
    """Writes the JSON file, complete or not at all. Infinite errors become null.

    Raises:
        WriteError: it cannot be written.
    """
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _pair(weights: str, row: Row) -> dict[str, Any]:
    own, *others = row.measured
    return {
        "weights": weights,
        "a": row.case.pair.a.key,
        "b": row.case.pair.b.key,
        **row.case.about,
        **_measured(own),
        "references": {item.method: _measured(item) for item in others},
    }


def _measured(item: Measured) -> dict[str, Any]:
    within = item.errors.within if item.errors is not None else (None,) * len(PATCH_LIMITS)
    return {
        "mean_transfer_error_pct": _finite(item.error_pct),
        "model_found": item.error_pct is not None,
        "success": {f"{limit:g}": item.succeeds(limit) for limit in SUCCESS_LIMITS_PCT},
        "matches": item.matches,
        "inliers": item.inliers,
        "inlier_ratio": round(item.inlier_ratio, 6),
        "matches_within_patches": {f"{limit:g}": share for limit, share in zip(PATCH_LIMITS, within, strict=True)},
        "median_match_error_px": _finite(item.errors.median_px) if item.errors else None,
        "median_inlier_error_px": _finite(item.errors.median_inlier_px) if item.errors else None,
        "refined_matches": item.refined[0] if item.refined else None,
        "median_refined_error_px": _finite(item.refined[1]) if item.refined else None,
        "time_ms": round(item.time_ms, 3),
    }


def _summary(summary: Summary) -> dict[str, Any]:
    return {
        "pairs": summary.pairs,
        "success": {f"{k:g}": share for k, share in zip(SUCCESS_LIMITS_PCT, summary.success, strict=True)},
        "area_under_curve": {f"{k:g}": share for k, share in zip(AREA_LIMITS_PCT, summary.area, strict=True)},
        "median_error_pct": _finite(summary.median_error_pct),
        "median_inlier_error_px": _finite(summary.median_match_px),
        "median_refined_error_px": _finite(summary.median_refined_px),
        "median_time_ms": round(summary.median_time_ms, 3),
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
