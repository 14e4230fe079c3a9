"""What a JPEG's markers say before it is decoded: its size, and whether it is whole (ITU T.81, annex B)."""

import re
from collections.abc import Iterator

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""A marker, other than the restart markers (D0-D7) and stuffed zeros that belong to a JPEG's image data."""
_SOI, _EOI, _TEM = 0xD8, 0xD9, 0x01
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers: they hold height and width."""


def is_jpeg(data: bytes) -> bool:
    """Whether the data begins as a JPEG."""
    return data[:3] == b"\xff\xd8\xff"


def jpeg_is_complete(data: bytes) -> bool:
    """Whether the image has its end marker.

    Embedded previews have one of their own, and cameras append data after the image's, so the markers are walked
    from the front.
    """
    return any(code == _EOI for code, _ in _markers(data))


def jpeg_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels as the frame header has it; None where there is none."""
    for code, position in _markers(data):
        if code in _FRAMES and position + 7 <= len(data):
            height = int.from_bytes(data[position + 3 : position + 5], "big")
            width = int.from_bytes(data[position + 5 : position + 7], "big")
            return (width, height) if width and height else None
    return None


def _markers(data: bytes) -> Iterator[tuple[int, int]]:
    """Code of each marker, and the position behind it."""
    position = 2
    while (marker := _MARKER.search(data, position)) is not None:
        code, position = marker[1][0], marker.end()
        yield code, position
        if code not in (_SOI, _EOI, _TEM):  # these stand alone; all others are followed by their length
            position += int.from_bytes(data[position : position + 2], "big")
