"""The built-in matchers, filters and runtimes, each an ordinary plugin. `TEMPLATE.py` is one to copy."""

from plugins import (
    affine,
    auto,
    fundamental,
    homography,
    mutual_knn,
    off,
    ratio_test,
    runtime_onnxruntime,
    runtime_openvino,
    runtime_torchscript,
    similarity,
)

BUILTINS = (
    mutual_knn,
    ratio_test,
    homography,
    affine,
    similarity,
    fundamental,
    auto,
    off,
    runtime_onnxruntime,
    runtime_torchscript,
    runtime_openvino,
)
"""Modules with hooks, in the order in which they are listed."""
