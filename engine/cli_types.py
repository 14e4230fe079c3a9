"""Value types of command-line options: a number within its range, said plainly when it is not."""

import argparse
import math
import re
from dataclasses import dataclass

from engine.memory import MIB, SMALLEST_MIB


@dataclass(frozen=True)
class WholeNumber:
    """Parser of a whole number of at least `minimum`, at most `maximum`."""

    minimum: int
    maximum: int | None = None
    metavar: str = "N"

    def __call__(self, text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None
        if value < self.minimum or (self.maximum is not None and value > self.maximum):
            raise argparse.ArgumentTypeError(f"{value} is {_outside(self.minimum, self.maximum)}")
        return value


@dataclass(frozen=True)
class Number:
    """Parser of a finite number of at least `minimum`, at most `maximum`."""

    minimum: float
    maximum: float | None = None
    metavar: str = "X"

    def __call__(self, text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None
        if not math.isfinite(value) or value < self.minimum or (self.maximum is not None and value > self.maximum):
            raise argparse.ArgumentTypeError(f"{text} is {_outside(self.minimum, self.maximum)}")
        return value


def whole_number(minimum: int, maximum: int | None = None) -> WholeNumber:
    """Parser of a whole number of at least `minimum`, at most `maximum`."""
    return WholeNumber(minimum, maximum)


def number(minimum: float, maximum: float | None = None) -> Number:
    """Parser of a finite number of at least `minimum`, at most `maximum`."""
    return Number(minimum, maximum)


def _outside(minimum: float, maximum: float | None) -> str:
    return f"not {minimum:g} or more" if maximum is None else f"outside {minimum:g} to {maximum:g}"


def memory_size(text: str) -> int:
    """Bytes of a size such as 512M, 4G or 4GiB; a bare number is in MiB.

    Raises:
        ArgumentTypeError: no such size, or less than 64 MiB.
    """
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([MGT]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size: write 512M or 4G")
    value = int(float(found[1]) * (1 << {"": 20, "M": 20, "G": 30, "T": 40}[found[2].upper()]))
    if value < SMALLEST_MIB * MIB:
        raise argparse.ArgumentTypeError(f"{text} is too little: give at least {SMALLEST_MIB}M")
    return value
