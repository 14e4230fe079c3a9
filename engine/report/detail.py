"""What the page of one pair needs."""

from typing import Any

import numpy as np

from engine.report.data_file import rounded
from engine.results import PairResult, Refinement, Verdict
from engine.verification import residuals_px


def detail_document(result: PairResult, files: dict[str, str], tokens: list[str] | None = None) -> dict[str, Any]:
    """A pair, JSON-ready: points in pixels to a tenth, best match first.

    Args:
        files: `json` and `png` to paths within the report, as far as there are such files.
        tokens: names of the data with the tokens of a and b, or None.
    """
    found = result.verification
    residuals = residuals_px(found, result.points_a_px, result.points_b_px)
    matrix = found.matrix
    return {
        "a": rounded(result.points_a_px, 1),
        "b": rounded(result.points_b_px, 1),
        "s": rounded(result.similarity, 4),
        "in": "".join("1" if kept else "0" for kept in found.inliers.tolist()),
        "r": None if residuals is None else rounded(residuals, 2),
        "model": {
            "filter": found.filter,
            "name": found.model or found.filter,
            "kind": found.kind.value,
            "method": found.options.get("ransac_method"),
            "threshold": found.options.get("reproj_th"),
            "unit": found.reproj_unit,
            "matrix": None if matrix is None or not np.isfinite(matrix).all() else matrix.tolist(),
        },
        "selected": [result.selected_a, result.selected_b],
        "ms": {name: round(value, 2) for name, value in result.time_ms.items() if np.isfinite(value)},
        "grid": [list(result.image_a.grid), list(result.image_b.grid)],
        "views": [[view.rotation_deg, view.scale] for view in (result.view_a, result.view_b)],
        "tried": result.views_tried,
        "refinement": None if result.refinement is None else _refinement(result.refinement),
        "verdict": None if result.verdict is None else _verdict(result.verdict),
        "tokens": tokens,
        "files": files,
    }


def _refinement(found: Refinement) -> dict[str, Any]:
    steps = [
        {
            "name": step.name,
            "matches": step.matches,
            "inliers": step.inliers,
            "px": None if step.uncertainty_px is None else rounded([step.uncertainty_px], 3)[0],
            "taken": step.accepted,
        }
        for step in found.steps
    ]
    return {"steps": steps, "finer": len(found.points_a_px)}


def _verdict(found: Verdict) -> dict[str, Any]:
    shares = [float("nan") if share is None else share for share in (found.overlap_a, found.overlap_b, found.covered)]
    return {"flags": list(found.flags), "overlap": rounded(shares, 4)}
