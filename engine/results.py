"""What a run finds about a pair of photographs, and what it was run with. Plain data; files are written elsewhere."""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.hooks import ModelKind
from engine.views import UPRIGHT, View

SCHEMA_VERSION = 2
"""Version of the JSON and HDF5 results. Files of the earlier tool carry none and count as 1."""


@dataclass(frozen=True)
class ImageRef:
    """One photograph of a pair.

    Attributes:
        key: image key, `[ID:]ALT.FRAME`, unambiguous within the run.
        label: what output names use, `ALT.FRAME` or `ID_ALT.FRAME` where the flight is needed.
        path: the file.
        size: (width, height) in pixels of the stored file.
        encoded_size: (width, height) in pixels that the graph was given.
        grid: (rows, cols) of its tokens.
        bytes: size of the file in bytes.
        modified_ns: modification time of the file in nanoseconds since the epoch.
        sha256: SHA-256 (hex) of the file's content, or empty where it was not taken.
    """

    key: str
    label: str
    path: Path
    size: tuple[int, int]
    encoded_size: tuple[int, int]
    grid: tuple[int, int]
    bytes: int
    modified_ns: int
    sha256: str = ""


@dataclass(frozen=True, eq=False)
class Verification:
    """A filter's result on a pair, in original pixels.

    Attributes:
        filter: name of the filter.
        kind: how the matrix relates points.
        options: the filter's options as given, JSON-ready.
        reproj_unit: frame of the option `reproj_th`: `encoded` or `original` pixels.
        matrix: [3, 3] float64 from original pixels of a to those of b, or None when no model was found.
        inliers: [M] bool, one per match of the pair, in the same order.
        model: the model found, where the filter chooses among several: the name of the filter that fits only it.
    """

    filter: str
    kind: ModelKind
    options: dict[str, Any]
    reproj_unit: str
    matrix: NDArray[np.float64] | None
    inliers: NDArray[np.bool_]
    model: str | None = None

    @property
    def inlier_count(self) -> int:
        return int(self.inliers.sum())


@dataclass(frozen=True)
class RefinementStep:
    """What one step of refinement found.

    Attributes:
        name: `softargmax`, `dense`, `structure` or `tiles`, with the shorter side of the common frame in pixels, and
            `from_…` where it began with another map than the filter's.
        matches, inliers: of this step.
        uncertainty_px: median over the inliers of a match's standard deviation along one axis, in original pixels of
            b, estimated from the distances to the step's model; None where no model was found.
        alignment: likeness of both photographs' structure under the step's model, -1 to 1.
        accepted: whether its model was taken.
    """

    name: str
    matches: int
    inliers: int
    uncertainty_px: float | None
    alignment: float | None
    accepted: bool


@dataclass(frozen=True, eq=False)
class Refinement:
    """How a model was refined.

    Attributes:
        steps: what was tried, in order.
        alignment_before: likeness of both photographs' structure under the model of the patches, -1 to 1.
        points_a_px, points_b_px: [K, 2] float64, matches of the last accepted step in original pixels, best first.
        uncertainty_px: [K] float64, standard deviation of each along one axis in original pixels of b; empty in results
            of a version that gave none.
        alignment_after: the likeness, by the same measure, under the model that refinement ended with.
    """

    steps: tuple[RefinementStep, ...]
    alignment_before: float | None
    points_a_px: NDArray[np.float64]
    points_b_px: NDArray[np.float64]
    uncertainty_px: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    alignment_after: float | None = None

    def as_json(self) -> dict[str, Any]:
        """JSON-ready; positions to a hundredth of a pixel."""
        return {
            "alignment_before": self.alignment_before,
            "alignment_after": self.alignment_after,
            "steps": [asdict(step) for step in self.steps],
            "points_px": {"a": np.round(self.points_a_px, 2).tolist(), "b": np.round(self.points_b_px, 2).tolist()},
            "uncertainty_px": np.round(self.uncertainty_px, 3).tolist(),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Refinement":
        """What `as_json` gave."""
        points_a, points_b = (np.asarray(values["points_px"][s], np.float64).reshape(-1, 2) for s in ("a", "b"))
        steps = tuple(RefinementStep(**step) for step in values["steps"])
        sigma = np.asarray(values.get("uncertainty_px", []), np.float64)
        after = values.get("alignment_after")
        return cls(steps, values["alignment_before"], points_a, points_b, sigma, after)


@dataclass(frozen=True)
class Verdict:
    """Whether both photographs show the same place.

    Attributes:
        probability: that they do, and that the geometry found is that of the place, 0 to 1, where both are as likely as
            not beforehand.
        flags: what is degenerate about the geometry: `too_few`, `collinear`, `collapsed_scale`, `mirrored`.
        overlap_a, overlap_b: share of each photograph that the model finds in the other; None without a point map.
        covered: share of the overlap that inliers are spread over, 0 to 1.
        log10_false_alarms: decimal logarithm of the number of such geometries expected by chance; at most 0.
    """

    probability: float
    flags: tuple[str, ...]
    overlap_a: float | None
    overlap_b: float | None
    covered: float
    log10_false_alarms: float

    @property
    def same_place(self) -> bool:
        return self.probability >= 0.5

    @property
    def word(self) -> str:
        """`same place`, or `other place`."""
        return "same place" if self.same_place else "other place"

    def __str__(self) -> str:
        """The verdict and its own probability, never rounded up to certainty: `same place 0.99`, `other place 0.97`."""
        return f"{self.word} {min(0.99, max(self.probability, 1 - self.probability)):.2f}"

    def as_json(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            "same_place": self.same_place,
            "probability": self.probability,
            "flags": list(self.flags),
            "overlap": {"a": self.overlap_a, "b": self.overlap_b, "covered": self.covered},
            "log10_false_alarms": self.log10_false_alarms,
        }


@dataclass(frozen=True, eq=False)
class PairResult:
    """Everything found about one pair.

    Attributes:
        image_a, image_b: the photographs.
        cosine: cosine of the two global descriptors.
        token_a, token_b: [M] int32; row-major token indices in the full grids, best match first.
        points_a_px, points_b_px: [M, 2] float64; match positions (x, y) in original pixels.
        similarity: [M] float32; cosine similarity of each match.
        selected_a, selected_b: tokens left after selection, of `grid` many.
        verification: the filter's result.
        time_ms: milliseconds, at least `forward_a`, `forward_b` and `total`.
        view_a, view_b: the views that were matched; tokens and grids of an image are those of its view's canvas.
        views_tried: views of b that were looked at to choose it.
        refinement: how the verified model was refined; None where it was not.
        verdict: whether both show the same place; None where the filter looks at no geometry, and in results of a
            version that gave none.
    """

    image_a: ImageRef
    image_b: ImageRef
    cosine: float
    token_a: NDArray[np.int32]
    token_b: NDArray[np.int32]
    points_a_px: NDArray[np.float64]
    points_b_px: NDArray[np.float64]
    similarity: NDArray[np.float32]
    selected_a: int
    selected_b: int
    verification: Verification
    time_ms: dict[str, float]
    view_b: View = UPRIGHT
    view_a: View = UPRIGHT
    views_tried: int = 1
    refinement: Refinement | None = None
    verdict: Verdict | None = None


@dataclass(frozen=True)
class MatchSettings:
    """Every setting that changes what is found. All values are JSON-ready.

    Attributes:
        image_size: shorter side of the encoded image in pixels.
        max_features: tokens kept per image; above, an even sample.
        keypoint_threshold: smallest min-max scaled token norm kept, 0 to 1.
        match_threshold: smallest similarity of a match.
        line_threshold: smallest similarity as a share of the pair's best.
        reproj_unit: frame of the reprojection threshold: `encoded` or `original` pixels.
        rotations: rotations of b that may be tried, evenly spread over the circle.
        scales: scales of b that may be tried.
        refine: `none`, or `dense`: point maps are refined below a patch.
        decode: how large JPEGs are decoded, `fast` or `exact`.
        resampling: how photographs are resized for the graph; as the graph says, so that its digest stands for it.
        match_precision: arithmetic that finds the candidates, `fp32` or `int8`.
        min_inliers: a model of fewer inliers does not count.
    """

    weights: str
    source: str
    graph_sha256: str
    image_size: int
    max_features: int
    keypoint_threshold: float
    match_threshold: float
    line_threshold: float
    matcher: str
    matcher_options: dict[str, Any] = field(default_factory=dict)
    filter: str = "homography"
    filter_options: dict[str, Any] = field(default_factory=dict)
    reproj_unit: str = "encoded"
    rotations: int = 1
    scales: tuple[float, ...] = (1.0,)
    refine: str = "none"
    decode: str = "exact"
    resampling: str = "bilinear"
    match_precision: str = "fp32"
    min_inliers: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "scales", tuple(self.scales))

    @cached_property
    def as_json(self) -> dict[str, Any]:
        """All settings by name, worked out once for all pairs of a run. Not to be changed."""
        return asdict(self)

    def digest(self) -> str:
        """SHA-256 (hex) of the settings and of the schema version of the files written with them.

        What `resampling` says follows from `graph_sha256`: it is left out, and runs that did not record it stay valid.
        """
        return self._digest

    @cached_property
    def _digest(self) -> str:
        values = {"schema": SCHEMA_VERSION, **self.as_json}
        del values["resampling"]
        text = json.dumps(values, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class RunInfo:
    """What a run was made with: its settings and where things came from.

    Attributes:
        matching_mode: the matcher and its options in one word, for example `mutual_knn_k1_unique`.
        provider: the execution provider really used, for example `CPUExecutionProvider`.
        checkpoint: file name of the checkpoint behind the graph.
        global_descriptor: what the global descriptor is, for example `class_token`.
        paths: `repo_dir, img_root, embed_root, match_root` as strings.
        versions: package name to version.
    """

    settings: MatchSettings
    matching_mode: str
    provider: str
    graph: Path
    checkpoint: str
    global_descriptor: str
    paths: dict[str, str]
    versions: dict[str, str]
