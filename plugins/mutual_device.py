"""Mutual nearest neighbours on a GPU: blocks of maps go there, only matches come back. Not a plugin itself.

The graph is `mutual_block.onnx`, built by `exporters/matcher_graph.py`. Sums are those of the device in float32: where
two neighbours are equally near to within their rounding, it may choose another than the CPU, and similarities may
differ from exact ones in the last digits.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import FeatureMap, Matches, WorkError

PRODUCT_BYTES = 1 << 30
"""Bytes of similarities on the device at a time."""
NO_MATCH = -4.0
"""The graph's mark of a token that only fills a map up to the size of the largest."""


class DeviceBlockMatcher:
    """Matches blocks of maps on the device of a provider of ONNX Runtime."""

    def __init__(self, provider: str, device: int = 0) -> None:
        """Opens the graph.

        Raises:
            WorkError: the provider did not start.
        """
        import onnxruntime

        self._ort = onnxruntime
        self._on_cpu = provider == "CPUExecutionProvider"
        self._device = device
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        path = str(Path(__file__).with_name("mutual_block.onnx"))
        chosen: Any = provider if self._on_cpu else (provider, {"device_id": str(device)})
        try:
            self._session = onnxruntime.InferenceSession(path, options, providers=[chosen], enable_fallback=0)
        except Exception as error:
            raise WorkError(
                f"{provider} did not start with the matcher's graph: {str(error).splitlines()[0]}"
            ) from error
        started = self._session.get_providers()[0]
        if started != provider:
            raise WorkError(f"{provider} did not start with the matcher's graph: ONNX Runtime fell back to {started}")

    def __call__(
        self, a: Sequence[FeatureMap], b: Sequence[FeatureMap], wanted: NDArray[np.bool_]
    ) -> Iterator[tuple[int, int, Matches]]:
        """The matches of all wanted pairs, by row of a and then of b."""
        if not wanted.any():
            return
        side_b = self._upload(b)
        largest = max(1, max(map(len, a)) * max(map(len, b)) * len(b) * 4)
        rows = max(1, PRODUCT_BYTES // largest)
        for start in range(0, len(a), rows):
            part = wanted[start : start + rows]
            if not part.any():
                continue
            found = self._run(self._upload(a[start : start + rows]), side_b)
            index_a, index_b, similarity, count = found
            # Rounding to float16 can lift a norm above 1.
            np.clip(similarity, -1.0, 1.0, out=similarity)
            for row, column in np.argwhere(part).tolist():
                kept = slice(int(count[row, column]))
                yield (
                    start + row,
                    column,
                    Matches(index_a[row, column, kept], index_b[row, column, kept], similarity[row, column, kept]),
                )

    def _upload(self, maps: Sequence[FeatureMap]) -> tuple[Any, Any]:
        """Tokens [B, N, D] and marks of what fills maps up [B, N, 1], on the device."""
        tokens = np.zeros((len(maps), max(1, max(map(len, maps))), maps[0].descriptors.shape[1]), np.float16)
        fill = np.full((*tokens.shape[:2], 1), NO_MATCH, np.float16)
        for row, features in enumerate(maps):
            tokens[row, : len(features)] = features.descriptors
            fill[row, : len(features)] = 0
        where = ("cpu", 0) if self._on_cpu else ("cuda", self._device)
        return tuple(self._ort.OrtValue.ortvalue_from_numpy(array, *where) for array in (tokens, fill))

    def _run(self, side_a: tuple[Any, Any], side_b: tuple[Any, Any]) -> list[NDArray[Any]]:
        binding = self._session.io_binding()
        for name, value in zip(("a", "fill_a", "b", "fill_b"), (*side_a, *side_b), strict=True):
            binding.bind_ortvalue_input(name, value)
        for name in ("index_a", "index_b", "similarity", "count"):
            binding.bind_output(name)
        try:
            self._session.run_with_iobinding(binding)
        except Exception as error:
            raise WorkError(f"matching failed on the device: {str(error).splitlines()[0]}") from error
        return list(binding.copy_outputs_to_cpu())
