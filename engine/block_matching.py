"""Many pairs at once: a matcher's fast form where it has one, pair by pair where it has none."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import UsageError
from engine.features import FeatureMap, Matches
from engine.hooks import Device, MatcherRecord
from engine.onnx_session import CUDA_OPTIONS
from engine.plugin_calls import checked_block, made

FP32, INT8 = "fp32", "int8"
MATCH_PRECISIONS = (FP32, INT8)
"""Values of `--match-precision`: what the products that find the candidates are computed in."""

CPU, ON_DEVICE = "CPUExecutionProvider", ("CUDAExecutionProvider",)
"""Providers, by ONNX Runtime's names; `ON_DEVICE` are those on which matchers may run too."""


class BlockMatcher:
    """A matcher made ready once, to be called with block after block."""

    def __init__(
        self,
        record: MatcherRecord,
        options: Any,
        precision: str = FP32,
        threads: int = 1,
        provider: str = CPU,
        device: int = 0,
    ) -> None:
        """Calls the factory of the matcher.

        Args:
            provider: ONNX Runtime's name of where graphs run. On CUDA, a matcher that has a form for it runs there.
            device: number of the GPU.

        Raises:
            UsageError: the matcher does not have this precision.
            WorkError: the provider did not start with the matcher's graph.
        """
        require_precision(record, precision)
        self._on_device = None
        if provider in ON_DEVICE and precision == FP32 and record.device is not None:
            chosen = Device(provider, device, {**CUDA_OPTIONS, "device_id": str(device)})
            self._on_device = record.device(chosen, options)
        self._options, self._precision, self._threads = options, precision, threads
        self._record = record
        self._block = None if record.block is None else made(record, record.block)
        self._single = made(record, record.factory) if self._block is None else None

    def __call__(
        self, a: Sequence[FeatureMap], b: Sequence[FeatureMap], wanted: NDArray[np.bool_]
    ) -> Iterator[tuple[int, int, Matches]]:
        """The matches of every wanted pair.

        Args:
            wanted: [len(a), len(b)] bool; true where a pair is to be matched.

        Yields:
            (row of a, row of b, their matches), by row of a and then of b.

        Raises:
            PluginError: the matcher failed, or gave something else than matches of these maps.
        """
        if wanted.shape != (len(a), len(b)) or wanted.dtype != np.bool_:
            raise ValueError(
                f"wanted must be bool of shape {(len(a), len(b))}, got {wanted.dtype} of shape {wanted.shape}"
            )
        yield from checked_block(self._record, self._found(a, b, wanted), a, b, wanted)

    def _found(
        self, a: Sequence[FeatureMap], b: Sequence[FeatureMap], wanted: NDArray[np.bool_]
    ) -> Iterator[tuple[int, int, Matches]]:
        if self._on_device is not None:
            yield from self._on_device(a, b, wanted)
        elif self._block is not None:
            yield from self._block(a, b, wanted, self._options, precision=self._precision, threads=self._threads)
        elif self._single is not None:
            for row, column in np.argwhere(wanted).tolist():
                yield row, column, self._single(a[row], b[column], self._options)


def match_block(
    record: MatcherRecord,
    a: Sequence[FeatureMap],
    b: Sequence[FeatureMap],
    wanted: NDArray[np.bool_],
    options: Any,
    precision: str = FP32,
    threads: int = 1,
) -> Iterator[tuple[int, int, Matches]]:
    """One block, with a matcher that is made ready for it alone (see `BlockMatcher`)."""
    return BlockMatcher(record, options, precision, threads)(a, b, wanted)


def require_precision(record: MatcherRecord, precision: str) -> None:
    """Makes sure that a matcher has a precision, before any work begins.

    Raises:
        UsageError: it does not; the message lists what it has.
    """
    if precision not in record.precisions:
        raise UsageError(
            f"--match-precision {precision}: the matcher '{record.name}' computes in {', '.join(record.precisions)}"
        )
