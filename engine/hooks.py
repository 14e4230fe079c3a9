"""The plugin interface: hook specifications and the light records that plugins return.

A plugin is a module (or object) with functions marked `@hookimpl` that return records. Records carry names, help, an
options dataclass and a factory; anything heavy is imported inside the factory.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pluggy
from numpy.typing import NDArray

from engine.features import FeatureMap, Matches

PROJECT_NAME = "dinov3_match"
"""pluggy project name, and the entry-point group that third-party packages register under."""

hookspec = pluggy.HookspecMarker(PROJECT_NAME)
hookimpl = pluggy.HookimplMarker(PROJECT_NAME)


class MatchFunction(Protocol):
    """Two feature maps and the plugin's options to matches, best first."""

    def __call__(self, a: FeatureMap, b: FeatureMap, options: Any, /) -> Matches: ...


class BlockMatchFunction(Protocol):
    """The fast form of a matcher: many pairs of photographs in one call."""

    def __call__(
        self,
        a: Sequence[FeatureMap],
        b: Sequence[FeatureMap],
        wanted: NDArray[np.bool_],
        options: Any,
        /,
        precision: str = "fp32",
        threads: int = 1,
    ) -> Iterator[tuple[int, int, Matches]]:
        """The matches of every wanted pair of maps, as the `MatchFunction` of the same record would give them.

        Args:
            wanted: [len(a), len(b)]; true where a pair is to be matched.
            precision: one of the record's `precisions`.
            threads: processor threads that the call may use.

        Yields:
            (row of a, row of b, their matches), by row of a and then of b.
        """
        ...


@dataclass(frozen=True)
class Device:
    """A GPU that a matcher may run on.

    Attributes:
        provider: ONNX Runtime's name of the provider that the graph runs on.
        number: which of the machine's GPUs.
        options: of that provider, as a session of ONNX Runtime takes them.
    """

    provider: str
    number: int = 0
    options: Mapping[str, str] = field(default_factory=dict)


class DeviceMatchFunction(Protocol):
    """The fast form of a matcher on a GPU: maps go there block by block, only matches come back."""

    def __call__(
        self, a: Sequence[FeatureMap], b: Sequence[FeatureMap], wanted: NDArray[np.bool_], /
    ) -> Iterator[tuple[int, int, Matches]]:
        """As `BlockMatchFunction`."""
        ...


class ModelKind(StrEnum):
    """How a filter's [3, 3] matrix relates points a and b (homogeneous, pixels)."""

    POINT_MAP = "point_map"
    """b ~ M a: homography, affine, similarity."""
    EPIPOLAR = "epipolar"
    """b^T M a = 0: fundamental."""
    NONE = "none"
    """No geometry; every match is kept."""


@dataclass(frozen=True, eq=False)
class Estimate:
    """What a filter finds.

    Attributes:
        matrix: [3, 3] float64 in the frame of the points given (an affine map has the last row 0 0 1), or None when
            none was found.
        inliers: [M] bool, one per match given.
        kind, model: of a filter that chooses among models: how this matrix is to be read, and the name of the filter
            that fits only this model.
    """

    matrix: NDArray[np.float64] | None
    inliers: NDArray[np.bool_]
    kind: ModelKind | None = None
    model: str | None = None


class FilterFunction(Protocol):
    """Matched points, best match first, [M, 2] float64 each in pixels of one frame, and options to an estimate."""

    def __call__(
        self, points_a_px: NDArray[np.float64], points_b_px: NDArray[np.float64], options: Any, /
    ) -> Estimate: ...


class Runtime(Protocol):
    """Executes one loaded graph. It is called from one thread at a time.

    A runtime may also have the attribute `precision`, where its arithmetic is another than the graph's: `fp32`, `bf16`,
    `fp16` or `int8`. `engine verify` then asks for the bounds of that one.

    Attributes:
        provider: what really computes, for example `CUDAExecutionProvider`; results record it.
    """

    provider: str

    def __call__(self, images: NDArray[np.uint8], /) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """uint8 RGB [B, H, W, 3] to patch tokens [B, N, D] float32 and global descriptors [B, D] float32."""
        ...


@dataclass(frozen=True)
class MatcherRecord:
    """A matcher on offer. `options` is a frozen dataclass type with a default for every field.

    Attributes:
        mode: renders the `matching_mode` of result files from the options, for example `mutual_knn_k1_unique`.
        block: makes the fast form; without one, pairs are matched one by one.
        precisions: values of `--match-precision` that `block` takes. In `fp32` both forms agree to the bit.
        device: makes the form for a GPU from the GPU and the options, or gives None where it has none for them. It may
            round sums otherwise than the others.
        origin: the package that brought it, for messages; the registry fills it in.
    """

    name: str
    help: str
    options: type[Any]
    factory: Callable[[], MatchFunction]
    mode: Callable[[Any], str] | None = None
    block: Callable[[], BlockMatchFunction] | None = None
    precisions: tuple[str, ...] = ("fp32",)
    device: Callable[[Device, Any], DeviceMatchFunction | None] | None = None
    origin: str = ""


@dataclass(frozen=True)
class FilterRecord:
    """A geometric filter on offer.

    Attributes:
        options: a frozen dataclass type with a default for every field.
        kind: how the matrix is to be read, where an estimate does not say it itself.
        min_matches: fewer matches than this cannot be estimated; the pipeline then reports no model.
        ransac_methods: values that the option `ransac_method` may take; empty when the filter has none.
        require: called with the options before any work begins; raises UsageError where they cannot be followed here,
            for want of an optional package for example. None where they always can.
        origin: the package that brought it, for messages; the registry fills it in.
    """

    name: str
    help: str
    options: type[Any]
    factory: Callable[[], FilterFunction]
    kind: ModelKind
    min_matches: int
    ransac_methods: tuple[str, ...] = ()
    require: Callable[[Any], None] | None = None
    origin: str = ""


@dataclass(frozen=True)
class RuntimeRecord:
    """A runtime on offer. The factory gives a function that opens a graph file: `factory()(path, provider)`.

    Attributes:
        suffixes: of the graph files it reads, for example `(".onnx",)`.
        metadata: reads the metadata of such a file (keys of `models.contract`) without loading it; None for ONNX files.
    """

    name: str
    help: str
    suffixes: tuple[str, ...]
    factory: Callable[[], Callable[..., Runtime]]
    metadata: Callable[[Path], Mapping[str, str]] | None = None


class Hooks:
    """The hooks a plugin may implement. Each returns a list of records."""

    @hookspec
    def engine_matchers(self) -> list[MatcherRecord]:  # type: ignore[empty-body]
        """Matchers on offer."""

    @hookspec
    def engine_filters(self) -> list[FilterRecord]:  # type: ignore[empty-body]
        """Geometric filters on offer."""

    @hookspec
    def engine_runtimes(self) -> list[RuntimeRecord]:  # type: ignore[empty-body]
        """Runtimes on offer."""
