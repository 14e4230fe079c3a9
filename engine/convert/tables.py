"""Tables (CSV, UTF-8 with the mark that spreadsheets look for): `pairs.csv` and `matches.csv`.

Positions are original pixels, the first pixel's centre at (0, 0).
"""

import csv
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from engine.convert.source import Source, StoredPair
from engine.store.atomic import write_aside
from engine.verification import residuals_px

PAIRS, MATCHES = "pairs.csv", "matches.csv"
FILES = (MATCHES, PAIRS)

PAIR_COLUMNS = (
    *("image_a", "image_b", "key_a", "key_b", "cosine", "matches", "filter", "model", "inliers"),
    *("reprojection_error_mean_px", *(f"m{row}{column}" for row in range(3) for column in range(3))),
)
MATCH_COLUMNS = ("image_a", "image_b", "token_a", "token_b", "x_a", "y_a", "x_b", "y_b", "similarity", "inlier")


def convert_to_csv(source: Source, out: Path) -> list[str]:
    """Writes both tables; a line per pair, and a line per match.

    Raises:
        WorkError: a shard is damaged, or a file cannot be written.
    """
    with ExitStack() as stack:
        pairs, matches = (_writer(stack, out / name) for name in (PAIRS, MATCHES))
        pairs.writerow(PAIR_COLUMNS)
        matches.writerow(MATCH_COLUMNS)
        for pair in source.pairs():
            pairs.writerow(_pair_row(pair))
            matches.writerows(_match_rows(pair))
    return []


def _writer(stack: ExitStack, path: Path) -> Any:
    partial = stack.enter_context(write_aside(path))
    return csv.writer(stack.enter_context(partial.open("w", encoding="utf-8-sig", newline="")))


def _pair_row(pair: StoredPair) -> list[Any]:
    result, found = pair.result, pair.result.verification
    residuals = residuals_px(found, result.points_a_px, result.points_b_px)
    error = residuals[found.inliers] if residuals is not None else np.empty(0)
    matrix = [""] * 9 if found.matrix is None else [repr(value) for value in found.matrix.ravel().tolist()]
    return [
        *(pair.name_a, pair.name_b, result.image_a.key, result.image_b.key, repr(result.cosine)),
        *(len(result.similarity), found.filter, found.kind.value, found.inlier_count),
        *(repr(float(error.mean())) if len(error) else "", *matrix),
    ]


def _match_rows(pair: StoredPair) -> Any:
    result = pair.result
    columns = (
        *(result.token_a.tolist(), result.token_b.tolist()),
        *(result.points_a_px[:, 0].tolist(), result.points_a_px[:, 1].tolist()),
        *(result.points_b_px[:, 0].tolist(), result.points_b_px[:, 1].tolist()),
        map(str, result.similarity),
        result.verification.inliers.astype(int).tolist(),
    )
    return ((pair.name_a, pair.name_b, *row) for row in zip(*columns, strict=True))
