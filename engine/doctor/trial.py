"""Runs the bundled graph on one provider and says which operators ran where: `python -m engine.doctor.trial NAME`.

In a process of its own, because a wrong CUDA library may end the process and not just raise. Prints one JSON object.
"""

import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import Dinov3MatchError
from engine.onnx_session import provider_options, require_provider, session_options
from engine.providers import NUMBERED, PROVIDERS
from models import contract
from models.bundled import bundled_graph

SIDE_PX = 64


def try_provider(name: str) -> dict[str, Any]:
    """Runs one small image.

    Args:
        name: ONNX Runtime's name of a provider.

    Returns:
        `first` (the provider in front of the session), `operators` (provider to operator to count, from ONNX Runtime's
        own profile) and `cosine` (smallest cosine of a token with the CPU's); or `error`.
    """
    import onnxruntime

    image = np.random.default_rng(0).integers(0, 256, (1, SIDE_PX, SIDE_PX, 3), np.uint8)
    try:
        require_provider(onnxruntime, name)
        if name in NUMBERED and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        with tempfile.TemporaryDirectory() as folder:
            first, tokens, operators = _run(onnxruntime, name, image, folder)
            _, expected, _ = _run(onnxruntime, PROVIDERS["cpu"], image, folder)
    except Dinov3MatchError as error:
        return {"error": str(error)}
    except Exception as error:  # ONNX Runtime's exceptions have no common class of their own
        return {"error": (str(error).splitlines() or [type(error).__name__])[0]}
    return {"first": first, "operators": operators, "cosine": _smallest_cosine(tokens, expected)}


def _run(
    ort: Any, name: str, image: NDArray[np.uint8], folder: str
) -> tuple[str, NDArray[np.float32], dict[str, dict[str, int]]]:
    options = session_options(ort, threads=1)
    options.enable_profiling = True
    options.profile_file_prefix = str(Path(folder) / name)
    session = ort.InferenceSession(
        str(bundled_graph()), options, providers=[provider_options(name, None)], enable_fallback=0
    )
    (tokens,) = session.run([contract.OUTPUT_PATCH_TOKENS], {contract.INPUT_IMAGE: image})
    operators = placed_operators(json.loads(Path(session.end_profiling()).read_text(encoding="utf-8")))
    return session.get_providers()[0], tokens[0], operators


def placed_operators(profile: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Provider to operator to count, of ONNX Runtime's profile: each node's kernel is there once per run."""
    placed: dict[str, Counter[str]] = {}
    for event in profile:
        details = event.get("args", {})
        if event.get("cat") == "Node" and "provider" in details and event["name"].endswith("_kernel_time"):
            placed.setdefault(details["provider"], Counter())[details.get("op_name", "?")] += 1
    return {provider: dict(counts) for provider, counts in placed.items()}


def _smallest_cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return float((np.einsum("ij,ij->i", a, b) / lengths).min())


if __name__ == "__main__":
    print(json.dumps(try_provider(sys.argv[1])))
