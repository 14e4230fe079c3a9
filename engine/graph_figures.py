"""Figures that a graph file holds of itself: how close it is to its source model, and how it was quantised."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from engine.errors import GraphError
from models.contract import KEY_QUANTISATION, KEY_VERIFICATION

Value = TypeVar("Value")


@dataclass(frozen=True)
class StoredCheck:
    """A comparison with the source model.

    Attributes:
        provider: what computed.
        photographs: how many were compared; 0 for made-up images.
        emulated: whether 16-bit arithmetic was emulated.
        largest_difference: of any value of any output.
        mean_cosine: of the output where it is smallest.
        matches: (kept, found) mutual matches; None where none were counted.
    """

    provider: str
    photographs: int
    emulated: bool
    largest_difference: float
    mean_cosine: float
    matches: tuple[int, int] | None


@dataclass(frozen=True)
class StoredQuantisation:
    """How the products of an int8 graph were quantised.

    Attributes:
        reduced_range: whether weights keep a range that does not saturate without VNNI; None where it is not told.
        calibrated_on: how many photographs the ranges of activations were taken from; 0 for a range per call.
    """

    reduced_range: bool | None = None
    calibrated_on: int = 0


def stored_check(path: Path, metadata: Mapping[str, str]) -> StoredCheck | None:
    """The figures of a graph's comparison with its source model; None where there was none.

    Raises:
        GraphError: they have another form than this program writes.
    """
    try:
        figures = _object(metadata.get(KEY_VERIFICATION, "{}"))
        if not figures:
            return None
        outputs = [_typed(output, dict) for output in _typed(figures["outputs"], dict).values()]
        matches = figures.get("matches")
        return StoredCheck(
            provider=_typed(figures["provider"], str),
            photographs=int(figures.get("photographs") or 0),
            emulated=bool(figures.get("emulated")),
            largest_difference=max(float(output["largest_difference"]) for output in outputs),
            mean_cosine=min(float(output["mean_cosine"]) for output in outputs),
            matches=(int(matches["kept"]), int(matches["found"])) if matches else None,
        )
    except _FAULTS as error:
        raise _damaged(path, KEY_VERIFICATION, error) from error


def stored_quantisation(path: Path, metadata: Mapping[str, str]) -> StoredQuantisation:
    """How a graph was quantised.

    Raises:
        GraphError: its record has another form than this program writes.
    """
    try:
        record = _object(metadata.get(KEY_QUANTISATION, "{}"))
        reduced, calibration = record.get("reduced_range"), record.get("calibration")
        return StoredQuantisation(
            None if reduced is None else _typed(reduced, bool), int(calibration["photographs"]) if calibration else 0
        )
    except _FAULTS as error:
        raise _damaged(path, KEY_QUANTISATION, error) from error


_FAULTS = (ValueError, TypeError, LookupError, ArithmeticError, RecursionError)
"""What reading JSON of another form ends in."""


def _object(text: str) -> dict[str, Any]:
    return _typed(json.loads(text), dict)


def _typed(value: object, kind: type[Value]) -> Value:
    if not isinstance(value, kind):
        raise TypeError(f"{type(value).__name__} in place of {kind.__name__}")
    return value


def _damaged(path: Path, key: str, error: Exception) -> GraphError:
    return GraphError(
        f"the entry {key} of {path} cannot be read ({type(error).__name__}: {error}): it was altered, or written by "
        "another version; export it again with 'engine export'"
    )
