"""What the page of one pair needs."""

from typing import Any

import numpy as np

from engine.report.data_file import rounded
from engine.results import PairResult
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
            "kind": found.kind.value,
            "method": found.options.get("ransac_method"),
            "threshold": found.options.get("reproj_th"),
            "unit": found.reproj_unit,
            "matrix": None if matrix is None or not np.isfinite(matrix).all() else matrix.tolist(),
        },
        "selected": [result.selected_a, result.selected_b],
        "ms": {name: round(value, 2) for name, value in result.time_ms.items() if np.isfinite(value)},
        "grid": [list(result.image_a.grid), list(result.image_b.grid)],
        "tokens": tokens,
        "files": files,
    }
