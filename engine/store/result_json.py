"""Result files, one JSON file per pair: where they lie, writing them, and knowing one that is up to date.

The keys of the earlier tool are kept with their meaning; new ones stand beside them:

| key | holds |
| --- | --- |
| `schema` | version of this layout |
| `settings_digest`, `settings` | every setting that changes what is found, and the SHA-256 over them |
| `images.a`, `images.b` | key, label, path, sizes (width, height), grid (rows, cols), bytes, mtime, SHA-256 |
| `search` | the view of b that was matched (turned clockwise, scaled), and how many were tried |
| `refinement` | steps below a patch with their uncertainty, and the matches of the last (null without) |
| `points_px.a`, `points_px.b` | position (x, y) of each match in original pixels, centre of the first pixel at (0, 0) |
| `verdict` | whether both show one place: probability, flags, overlap (null where the filter looks at no geometry) |
| `verification` | filter, model, kind, options, method, threshold and its unit, matrix, inliers, reprojection error |
| `global_descriptor` | what `cosine` compares |
| `provider`, `graph`, `versions` | what the run was made with |
"""

import functools
import json
import math
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import ResultFileError
from engine.results import SCHEMA_VERSION, ImageRef, PairResult, RunInfo, Verification
from engine.store.atomic import write_text
from engine.store.facts import FileFacts
from engine.store.names import escape, folder_name, shorten
from engine.store.result_reading import read_result, read_stamp
from engine.store.stored_result import StoredResult
from engine.verification import residuals_px
from models.catalogue import BACKBONES

__all__ = [
    "ExistingResult",
    "StoredResult",
    "existing_digest",
    "read_result",
    "result_path",
    "result_text",
    "write_result",
]

_SURROGATE = re.compile("[\ud800-\udfff]")
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_CUDA_PROVIDERS = ("CUDAExecutionProvider", "TensorrtExecutionProvider", "NvTensorRTRTXExecutionProvider")


class ExistingResult(NamedTuple):
    """What an existing result file was made from."""

    settings_digest: str
    image_a: FileFacts
    image_b: FileFacts
    probability: float | None = None

    def is_of(self, settings_digest: str, image_a: FileFacts, image_b: FileFacts) -> bool:
        """Whether the file holds the result of these settings on these very files."""
        return (
            self.settings_digest == settings_digest
            and self.image_a.same_content(image_a)
            and self.image_b.same_content(image_b)
        )


@functools.lru_cache(maxsize=1024)
def _folder_and_stem(match_root: Path, weights: str, label_a: str) -> tuple[Path, str]:
    alias, a = escape(weights).replace("_", "%5F"), escape(label_a)
    return match_root / folder_name(f"{alias}_{a.replace('.', '_')}"), f"{alias}_{a}"


def result_path(match_root: Path, weights: str, label_a: str, label_b: str) -> Path:
    """`MATCH_ROOT/<weights>_<ALT>_<FRAME>/<weights>_<ALT.FRAME of a>_<ALT.FRAME of b>.json`.

    Labels are those of `ImageRef.label`. The folder's name tells where the label of a ends in the file's name, so two
    pairs never share a path (where a file system takes capitals for small letters, labels that differ by more than
    those).
    """
    folder, stem = _folder_and_stem(match_root, weights, label_a)
    return folder / (shorten(f"{stem}_{escape(label_b)}") + ".json")


def write_result(path: Path, result: PairResult, run: RunInfo) -> os.stat_result:
    """Writes the result of a pair; an existing file is replaced as a whole. Returns what the file is.

    Raises:
        WriteError: the file cannot be written.
    """
    # The store has the result already, and what a power cut spoils here is written again from it.
    return write_text(path, result_text(result, run), sync=False)


def result_text(result: PairResult, run: RunInfo) -> str:
    """The text of a result file."""
    return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", render_json(result_document(result, run))) + "\n"


def existing_digest(path: Path) -> ExistingResult | None:
    """What an existing result file was made from; None where there is none, or none of this layout that is whole."""
    try:
        return ExistingResult(*read_stamp(path))
    except ResultFileError:
        return None


def result_document(result: PairResult, run: RunInfo) -> dict[str, Any]:
    """The content of a result file, JSON-ready."""
    a, b, settings = result.image_a, result.image_b, run.settings
    return {
        "schema": SCHEMA_VERSION,
        "settings_digest": settings.digest(),
        "meta": {
            **run.paths,
            "ckpt": run.checkpoint,
            **_model_name(settings.weights, settings.source, run.checkpoint),
            "device": _device(run.provider),
            "image_size": settings.image_size,
        },
        "image_a": str(a.path),
        "image_b": str(b.path),
        "weight": settings.weights,
        "cosine": _number(result.cosine),
        "time_ms": {name: _number(value) for name, value in result.time_ms.items()},
        "advanced_settings": {
            "match_threshold": settings.match_threshold,
            "max_features": settings.max_features,
            "keypoint_threshold": settings.keypoint_threshold,
            "line_threshold": settings.line_threshold,
            "matching_mode": run.matching_mode,
        },
        "patch": {
            "n_a": a.grid[0] * a.grid[1],
            "n_b": b.grid[0] * b.grid[1],
            "n_selected_a": result.selected_a,
            "n_selected_b": result.selected_b,
            "grid_g_a": _square_side(a.grid),
            "grid_g_b": _square_side(b.grid),
            "idx_a": result.token_a.tolist(),
            "idx_b": result.token_b.tolist(),
            "similarities": _numbers(result.similarity),
        },
        "images": {"a": _image(a), "b": _image(b)},
        "points_px": {"a": _numbers(result.points_a_px), "b": _numbers(result.points_b_px)},
        "search": {
            "view_a": {"rotation_deg": result.view_a.rotation_deg, "scale": result.view_a.scale},
            "view_b": {"rotation_deg": result.view_b.rotation_deg, "scale": result.view_b.scale},
            "views_tried": result.views_tried,
        },
        "refinement": None if result.refinement is None else result.refinement.as_json(),
        "verdict": None if result.verdict is None else result.verdict.as_json(),
        "verification": _verification(result.verification, result),
        "global_descriptor": run.global_descriptor,
        "provider": run.provider,
        "graph": {"path": str(run.graph), "sha256": settings.graph_sha256, "source": settings.source},
        "settings": settings.as_json,
        "versions": run.versions,
    }


def render_json(value: Any, indent: str = "") -> str:
    """JSON with objects spread over lines and every list on one line.

    Raises:
        ValueError: a number is not finite.
    """
    # Most values are single ones, and the encoder takes longer to set out than to write one.
    kind = type(value)
    if value is None:
        return "null"
    if kind is bool:
        return "true" if value else "false"
    if kind is int or (kind is float and math.isfinite(value)):
        return repr(value)
    if not isinstance(value, dict) or not value:
        return _ENCODER.encode(value)
    inner = indent + "  "
    lines = (f"{inner}{_ENCODER.encode(str(key))}: {render_json(value[key], inner)}" for key in value)
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def _model_name(weights: str, source: str, checkpoint: str) -> dict[str, str | None]:
    entry = BACKBONES.get(weights)
    if source.startswith("hf"):
        return {"hf_model": entry.hf_repository if entry else checkpoint}
    return {"hub_model": entry.hub_entry if entry else None}


def _device(provider: str) -> str:
    return "cuda" if provider in _CUDA_PROVIDERS else provider.removesuffix("ExecutionProvider").lower()


def _square_side(grid: tuple[int, int]) -> int | None:
    return grid[0] if grid[0] == grid[1] else None


def _image(image: ImageRef) -> dict[str, Any]:
    return {
        "key": image.key,
        "label": image.label,
        "path": str(image.path),
        "size": list(image.size),
        "encoded_size": list(image.encoded_size),
        "grid": list(image.grid),
        "bytes": image.bytes,
        "modified_ns": image.modified_ns,
        "sha256": image.sha256 or None,
    }


def _verification(found: Verification, result: PairResult) -> dict[str, Any]:
    residuals = residuals_px(found, result.points_a_px, result.points_b_px)
    errors = residuals[found.inliers] if residuals is not None else np.empty(0)
    return {
        "filter": found.filter,
        "model": found.model or found.filter,
        "kind": found.kind.value,
        "options": found.options,
        "ransac_method": found.options.get("ransac_method"),
        "reproj_threshold": found.options.get("reproj_th"),
        "reproj_unit": found.reproj_unit,
        "matrix": None if found.matrix is None else _numbers(found.matrix),
        "inlier_count": found.inlier_count,
        "inliers": found.inliers.tolist(),
        "reprojection_error_px": {
            "mean": _number(np.mean(errors)) if len(errors) else None,
            "median": _number(np.median(errors)) if len(errors) else None,
            "of": "inliers, in original pixels of b",
        },
    }


def _number(value: Any) -> float | None:
    """A finite float as JSON has it, else None; of a float32 the shortest decimal number that reads back to it."""
    number = float(str(value)) if isinstance(value, np.float32) else float(value)
    return number if math.isfinite(number) else None


def _numbers(values: NDArray[np.floating]) -> list[Any]:
    if values.ndim > 1:
        return [_numbers(row) for row in values] if not np.isfinite(values).all() else values.tolist()
    if values.dtype == np.float32 or not np.isfinite(values).all():
        return [_number(value) for value in values]
    return list(values.tolist())
