"""JSON values that know where they came from: every access checks the type and names file and key when it is wrong."""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import ResultFileError

_LARGEST = 2**63 - 1
_LARGEST_SIDE = 1_000_000
_MOST_PIXELS = 2**31 - 1
_WHOLE = {int}
_NUMBERS = {int, float, type(None)}


class Node:
    """A value of a JSON file, the file and the value's place in it."""

    def __init__(self, value: Any, file: Path, place: str = "") -> None:
        self.value = value
        self._file = file
        self._place = place

    @property
    def file(self) -> Path:
        """The file that this value comes from."""
        return self._file

    def wrong(self, expected: str) -> ResultFileError:
        """The error that says what was expected here."""
        shown = repr(self.value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        return ResultFileError(
            f"{self._file}: damaged or not a result file: '{self._place}' must be {expected}, not {shown}. "
            "Delete it and match the pair again"
        )

    def __getitem__(self, name: str) -> "Node":
        mapping = self.mapping()
        place = f"{self._place}.{name}" if self._place else name
        if name not in mapping:
            raise ResultFileError(
                f"{self._file}: damaged or not a result file: '{place}' is missing. Delete it and match the pair again"
            )
        return Node(mapping[name], self._file, place)

    def mapping(self) -> dict[str, Any]:
        if not isinstance(self.value, dict):
            raise self.wrong("an object")
        return self.value

    def text(self) -> str:
        if not isinstance(self.value, str) or "\0" in self.value:
            raise self.wrong("a text")
        return self.value

    def texts(self) -> list[str]:
        """A list of texts."""
        items = self._list()
        if not set(map(type, items)) <= {str}:
            raise self.wrong("a list of texts")
        return items

    def integer(self, low: int = -_LARGEST, high: int = _LARGEST) -> int:
        if not _is_integer(self.value) or not low <= self.value <= high:
            raise self.wrong(f"a whole number from {low} to {high}" if high < _LARGEST else "a whole number")
        return int(self.value)

    def number(self) -> float:
        """A float; null counts as not a number."""
        return math.nan if self.value is None else self._finite()

    def number_or_none(self) -> float | None:
        return None if self.value is None else self._finite()

    def pair(self) -> tuple[int, int]:
        """Two positive whole numbers."""
        value = self.value
        if not isinstance(value, list) or len(value) != 2:
            raise self.wrong("two whole numbers")
        if not all(_is_integer(item) and 1 <= item <= _LARGEST_SIDE for item in value):
            raise self.wrong("two positive whole numbers")
        if value[0] * value[1] > _MOST_PIXELS:
            raise self.wrong("a size that exists")
        return int(value[0]), int(value[1])

    def tokens(self, grid: tuple[int, int]) -> NDArray[np.int32]:
        """[M] int32 token indices of a grid (rows, cols)."""
        items, count = self._list(), grid[0] * grid[1]
        if not (set(map(type, items)) <= _WHOLE and (not items or (min(items) >= 0 and max(items) < count))):
            raise self.wrong(f"a list of token indices below {count}")
        return np.asarray(items, np.int32)

    def similarities(self, count: int) -> NDArray[np.float32]:
        """[count] float32, cosine similarities (with room for rounding)."""
        values = self.numbers((count,))
        if np.any(np.abs(values) > 2.0):
            raise self.wrong(f"{count} cosine similarities")
        return values.astype(np.float32)

    def numbers_by_name(self) -> dict[str, float]:
        """An object of numbers."""
        return {name: self[name].number() for name in self.mapping()}

    def numbers(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """An array of one or two dimensions; null elements become NaN."""
        rows, columns = self._list(), shape[1:]
        fits = len(rows) == shape[0]
        if columns:
            fits = fits and set(map(type, rows)) <= {list} and set(map(len, rows)) <= {columns[0]}
        items = list(itertools.chain.from_iterable(rows)) if fits and columns else rows
        if not (fits and set(map(type, items)) <= _NUMBERS):
            raise self.wrong(f"{' x '.join(map(str, shape))} numbers")
        try:
            values = np.asarray(items, np.float64).reshape(shape)
        except OverflowError as error:
            raise self.wrong("numbers of ordinary size") from error
        if np.isinf(values).any():
            raise self.wrong("numbers of ordinary size")
        return values

    def flags(self, count: int) -> NDArray[np.bool_]:
        """[count] bool."""
        items = self._list()
        if len(items) != count or not set(map(type, items)) <= {bool}:
            raise self.wrong(f"{count} values true or false")
        return np.asarray(items, np.bool_)

    def length(self, count: int) -> None:
        """Checks that the list has this length."""
        if len(self._list()) != count:
            raise self.wrong(f"a list of length {count}")

    def _list(self) -> list[Any]:
        if not isinstance(self.value, list):
            raise self.wrong("a list")
        return self.value

    def _finite(self) -> float:
        if not _is_finite(self.value):
            raise self.wrong("a number")
        return float(self.value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return _is_integer(value) and abs(value) < 1e300
