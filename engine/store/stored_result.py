"""What a result file says about a pair, as drawing and converting use it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.results import Verdict, Verification
from engine.store.facts import FileFacts

Locate = Callable[[str, str], tuple[Path, tuple[int, int]]]
"""(recorded path, image key) to the photograph's path here and its size (width, height) in pixels."""


@dataclass(frozen=True)
class StoredImage:
    """One photograph of a stored pair.

    Attributes:
        path: the file as recorded; of an earlier tool's file, where `locate` found it.
        key, label: as in `ImageRef`.
        size, encoded_size: (width, height) in pixels.
        grid: (rows, cols).
        facts: size and time of the file when it was read; None where the earlier tool did not record them.
    """

    path: Path
    key: str
    label: str
    size: tuple[int, int]
    encoded_size: tuple[int, int]
    grid: tuple[int, int]
    facts: FileFacts | None


@dataclass(frozen=True, eq=False)
class StoredResult:
    """What a result file says about a pair. Arrays are as in `PairResult`, best match first.

    Attributes:
        file: the result file.
        error_mean_px, error_median_px: reprojection error of the inliers in original pixels of b, or None.
        settings: the run's settings; of the earlier tool's files, its `advanced_settings` and `image_size`.
        settings_digest: empty in files of the earlier tool.
        earlier_tool: whether the earlier tool wrote the file; `verification` is then None.
        verdict: whether both show the same place; None in files of versions that gave none.
    """

    file: Path
    weights: str
    image_a: StoredImage
    image_b: StoredImage
    cosine: float
    token_a: NDArray[np.int32]
    token_b: NDArray[np.int32]
    points_a_px: NDArray[np.float64]
    points_b_px: NDArray[np.float64]
    similarity: NDArray[np.float32]
    selected_a: int
    selected_b: int
    verification: Verification | None
    error_mean_px: float | None
    error_median_px: float | None
    matching_mode: str
    provider: str
    settings: dict[str, Any]
    settings_digest: str
    time_ms: dict[str, float]
    earlier_tool: bool
    verdict: Verdict | None = None
