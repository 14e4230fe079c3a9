"""The figures of a comparison between a graph and its source model, and the bounds they must keep."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from exporters.graph_runs import VerificationError
from exporters.precisions import Bounds, Precision

HEADROOM = 4.0
"""Photographs not compared may drive values higher: so many times below the largest number all values must stay."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class OutputCheck:
    """Figures of one output over all images compared.

    Attributes:
        largest_difference: the largest absolute difference of any value.
        smallest_cosine: the smallest cosine of a token and its counterpart.
        mean_cosine: the mean of these cosines.
    """

    largest_difference: float
    smallest_cosine: float
    mean_cosine: float


@dataclass(frozen=True)
class MatchCheck:
    """Mutual nearest neighbours between photographs: how many the source model finds, how many of them the graph."""

    found: int
    kept: int

    @property
    def share(self) -> float:
        return self.kept / self.found if self.found else 1.0


@dataclass(frozen=True)
class BlockCheck:
    """Blocks of source and graph on the same inputs.

    Attributes:
        largest_difference: the largest absolute difference of any value that a block gives, as a share of that
            block's largest value.
        smallest_cosine: the smallest cosine of any token and its counterpart.
    """

    blocks: int
    largest_difference: float
    smallest_cosine: float


@dataclass(frozen=True)
class GraphCheck:
    """A graph compared with its source model.

    Attributes:
        shapes: (images, height, width) of every batch compared.
        outputs: figures by output name.
        provider: the execution provider that ran the graph.
        emulated: whether 16-bit arithmetic was emulated in float32 (see `exporters.emulation`).
        photographs: how many different photographs were compared; 0 for made-up images.
        matches: mutual matches between the photographs, where there are two or more.
        blocks: the comparison block by block, where the graph was run part by part.
        largest_activation: the largest absolute value before rounding to 16 bits, where that was emulated.
        largest_activation_at: the value in the graph that reached it.
    """

    shapes: tuple[tuple[int, int, int], ...]
    outputs: dict[str, OutputCheck]
    provider: str
    emulated: bool = False
    photographs: int = 0
    matches: MatchCheck | None = None
    blocks: BlockCheck | None = None
    largest_activation: float | None = None
    largest_activation_at: str = ""

    @property
    def largest_difference(self) -> float:
        return max(check.largest_difference for check in self.outputs.values())

    @property
    def smallest_cosine(self) -> float:
        return min(check.smallest_cosine for check in self.outputs.values())

    @property
    def mean_cosine(self) -> float:
        """The mean cosine of the output where it is smallest."""
        return min(check.mean_cosine for check in self.outputs.values())

    def to_json(self) -> str:
        """As stored in a graph's metadata."""
        return json.dumps({**asdict(self), "onnxruntime": onnxruntime.__version__})

    @classmethod
    def from_json(cls, text: str) -> "GraphCheck":
        """Reads back what `to_json` wrote."""
        data = json.loads(text)
        data.pop("onnxruntime", None)
        data["shapes"] = tuple((images, height, width) for images, height, width in data["shapes"])
        data["outputs"] = {name: OutputCheck(**figures) for name, figures in data["outputs"].items()}
        for name, kind in (("matches", MatchCheck), ("blocks", BlockCheck)):
            data[name] = kind(**data[name]) if data.get(name) else None
        return cls(**data)


def compare_output(label: object, name: str, pairs: Sequence[tuple[Floats, Floats]]) -> OutputCheck:
    """Figures of one output from (found, wanted) per batch.

    Raises:
        VerificationError: shapes differ, or a value is not finite.
    """
    differences, cosines = [], []
    for found, wanted in pairs:
        if found.shape != wanted.shape:
            raise VerificationError(f"{label}: '{name}' has the shape {found.shape} instead of {wanted.shape}")
        if not np.isfinite(found).all() or not np.isfinite(wanted).all():
            raise VerificationError(f"{label}: '{name}' holds values that are not finite")
        differences.append(float(np.abs(found - wanted.astype(np.float64)).max()))
        cosines.append(token_cosines(found, wanted).ravel())
    joined = np.concatenate(cosines)
    return OutputCheck(max(differences), float(joined.min()), float(joined.mean()))


def token_cosines(found: Floats, wanted: Floats) -> NDArray[np.float64]:
    """Cosines of the vectors along the last axis."""
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    lengths = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return np.asarray((a * b).sum(axis=-1) / np.maximum(lengths, np.finfo(np.float64).tiny))


def mutual_matches(a: Floats, b: Floats) -> set[tuple[int, int]]:
    """Tokens [Na, D] and [Nb, D] that are each other's nearest by cosine."""
    similarity = _unit(a) @ _unit(b).T
    to_b, to_a = similarity.argmax(axis=1), similarity.argmax(axis=0)
    return {(int(i), int(j)) for i, j in enumerate(to_b) if to_a[j] == i}


def compare_matches(tokens: Iterable[tuple[tuple[Floats, Floats], tuple[Floats, Floats]]]) -> MatchCheck | None:
    """Figures over pairs of photographs, each ((found a, wanted a), (found b, wanted b)); None without a pair."""
    found = kept = pairs = 0
    for (found_a, wanted_a), (found_b, wanted_b) in tokens:
        wanted = mutual_matches(wanted_a, wanted_b)
        kept += len(wanted & mutual_matches(found_a, found_b))
        found, pairs = found + len(wanted), pairs + 1
    return MatchCheck(found, kept) if pairs else None


def failures(check: GraphCheck, precision: Precision) -> list[str]:
    """What is beyond the bounds of the precision, each with its figure; empty when the graph is close enough."""
    bounds, problems = precision.bounds, []
    limits = (
        ("largest difference", check.largest_difference, bounds.largest_difference, False),
        ("smallest cosine", check.smallest_cosine, bounds.smallest_cosine, True),
        ("mean cosine", check.mean_cosine, bounds.mean_cosine, True),
        ("share of matches kept", None if check.matches is None else check.matches.share, bounds.matches_kept, True),
    )
    for name, value, limit, at_least in limits:
        if value is None or limit is None or (value >= limit if at_least else value <= limit):
            continue
        problems.append(f"{name} {value:.6g} (at {'least' if at_least else 'most'} {limit:g})")
    return problems + range_failures(check.largest_activation, check.largest_activation_at, precision)


def range_failures(largest: float | None, at: str, precision: Precision) -> list[str]:
    """What leaves the range of the precision's 16-bit float, or comes too near to its end."""
    if largest is None or precision.largest_value is None or largest * HEADROOM <= precision.largest_value:
        return []
    return [
        f"'{at}' reaches {largest:.6g}, and {precision.name} ends at {precision.largest_value:g} (a "
        f"{HEADROOM:g}th of it, {precision.largest_value / HEADROOM:g}, is allowed, as other photographs may go higher)"
    ]


def require_close(check: GraphCheck, precision: Precision, graph: str) -> None:
    """Raises VerificationError when the figures are beyond the bounds."""
    problems = failures(check, precision)
    if not problems:
        return
    told = f"{graph} differs from its source model and was not kept: {'; '.join(problems)}. "
    if precision.name == "fp32":
        raise VerificationError(
            f"{told}This is a defect of the export or of the installed ONNX Runtime; please report it with both "
            "versions"
        )
    raise VerificationError(f"{told}{precision.name} is not fit for this checkpoint: use another precision")


def bounds_text(check: GraphCheck, bounds: Bounds) -> str:
    """The bounds that these figures were held to, in words, and what was not measured."""
    parts = [
        ("largest difference at most", bounds.largest_difference),
        ("smallest cosine at least", bounds.smallest_cosine),
        ("mean cosine at least", bounds.mean_cosine),
    ]
    unmeasured = bounds.matches_kept is not None and not (check.matches and check.matches.found)
    if not unmeasured:
        parts.append(("matches kept between photographs at least", bounds.matches_kept))
    text = ", ".join(f"{name} {value:g}" for name, value in parts if value is not None)
    return f"{text}; matches not counted: fewer than two photographs" if unmeasured else text


def _unit(tokens: Floats) -> Floats:
    return np.asarray(tokens / np.maximum(np.linalg.norm(tokens, axis=1, keepdims=True), 1e-12), np.float32)
