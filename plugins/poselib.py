"""Robust estimation with PoseLib (V. Larsson, https://github.com/PoseLib/PoseLib): shared by the filters, not a plugin.

Locally optimised RANSAC with a truncated quadratic cost, then non-linear refinement. An optional dependency: the extra
`poselib`.
"""

from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import UsageError

METHOD = "poselib_ransac"
_FEWEST_SAMPLES = 1000
"""PoseLib's own default of samples drawn before it may stop early."""


def library() -> ModuleType:
    """The package.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import poselib
    except ImportError as error:
        raise UsageError(
            f"'{METHOD}' needs the package poselib ({error}): pip install 'dinov3-match[poselib]', or choose a method "
            "of OpenCV"
        ) from error
    return poselib  # type: ignore[no-any-return]


def require(options: Any) -> None:
    """Raises UsageError where the options choose PoseLib's method and the package is not installed."""
    if options.ransac_method == METHOD:
        library()


def find_homography(a: NDArray[np.float64], b: NDArray[np.float64], threshold_px: float, options: Any) -> Any:
    """[3, 3] of most matches [M, 2], or None; b ~ H a."""
    matrix, info = library().estimate_homography(a, b, {**_limits(options), "max_reproj_error": threshold_px})
    return matrix if info["num_inliers"] else None


def find_fundamental(a: NDArray[np.float64], b: NDArray[np.float64], threshold_px: float, options: Any) -> Any:
    """[3, 3] of most matches [M, 2], or None; b^T F a = 0."""
    matrix, info = library().estimate_fundamental(a, b, {**_limits(options), "max_epipolar_error": threshold_px})
    return matrix if info["num_inliers"] else None


def _limits(options: Any) -> dict[str, Any]:
    return {
        "max_iterations": options.iters,
        "min_iterations": min(_FEWEST_SAMPLES, options.iters),
        "success_prob": options.confidence,
        "seed": 0,
    }
