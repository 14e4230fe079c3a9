"""Image keys, `ID:ALT.FRAME`, and what people type to name images: `[ID:]ALT.FRAME` or `[ID:]ALT`."""

import re
from dataclasses import dataclass, field

from engine.errors import UsageError

MAX_DIGITS = 255
"""Longest altitude or frame accepted: no file name is longer, and `int` refuses numbers of thousands of digits."""

_DIGITS = re.compile(rf"[0-9]{{1,{MAX_DIGITS}}}")
_SELECTOR = re.compile(r"(?:(?P<flight>.*):)?(?P<altitude>[0-9]+)(?:\.(?P<frame>[0-9]+))?", re.DOTALL)


@dataclass(frozen=True, order=True)
class ImageKey:
    """Names one photograph of a data set.

    Keys are compared, ordered and hashed by flight and by the *values* of altitude and frame, so `400.1` equals
    `400.0001`; the text keeps the file's own digits.

    Attributes:
        flight: identifies the flight, in practice its date and time.
        altitude: digits as in the file's name.
        frame: digits as in the file's name.

    Raises:
        ValueError: no flight, or an altitude or frame that is not 1 to 255 digits.
    """

    flight: str
    altitude: str = field(compare=False)
    frame: str = field(compare=False)
    altitude_value: int = field(init=False, repr=False)
    frame_value: int = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.flight:
            raise ValueError("an image key needs a flight")
        for name in ("altitude", "frame"):
            digits = getattr(self, name)
            if not _DIGITS.fullmatch(digits):
                raise ValueError(f"{name} '{digits}' is not 1 to {MAX_DIGITS} digits")
            object.__setattr__(self, f"{name}_value", int(digits))

    def __str__(self) -> str:
        return f"{self.flight}:{self.short}"

    @property
    def short(self) -> str:
        """`ALT.FRAME`, with the file's own digits."""
        return f"{self.altitude}.{self.frame}"


@dataclass(frozen=True)
class Selector:
    """What a person typed to name an image, or a whole altitude.

    Attributes:
        flight: the flight asked for, or None for any.
        altitude: value of the altitude.
        frame: value of the frame, or None for the whole altitude.
    """

    flight: str | None
    altitude: int
    frame: int | None

    def fits(self, key: ImageKey) -> bool:
        """Whether the key's photograph is one of those asked for."""
        return (
            key.altitude_value == self.altitude
            and self.frame in (None, key.frame_value)
            and self.flight in (None, key.flight)
        )


def looks_like_selector(text: str) -> bool:
    """Whether the text has the form `[ID:]ALT[.FRAME]`, so that it names images of a data set and not a file."""
    return _SELECTOR.fullmatch(text.strip()) is not None


def parse_selector(text: str) -> Selector:
    """Reads `[ID:]ALT.FRAME` or `[ID:]ALT`. Altitude and frame are numbers of any number of digits.

    Raises:
        UsageError: the text has another form; the message quotes it and shows the forms there are.
    """
    shown = repr(text if len(text) <= 80 else text[:80] + "…")
    match = _SELECTOR.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"{shown} names no image: expected ALT.FRAME (400.0001), ID:ALT.FRAME, ALT (the whole altitude) or ID:ALT"
        )
    flight, altitude, frame = match["flight"], match["altitude"], match["frame"]
    if flight is not None and not flight.strip():
        raise UsageError(f"{shown} has no flight in front of its colon: write ID:ALT.FRAME, or leave the colon out")
    if max(len(altitude), len(frame or "")) > MAX_DIGITS:
        raise UsageError(f"{shown} holds a number of more than {MAX_DIGITS} digits")
    return Selector(flight.strip() if flight else None, int(altitude), int(frame) if frame else None)
