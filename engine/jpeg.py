"""What a JPEG's markers say before it is decoded: its size, and whether it is whole (ITU T.81, annex B).

Decoders make up what damage takes away, and say so to standard error at most. Of damage inside the image's data, the
markers tell what no sound file can hold; a changed bit, or a stretch of zeros, they do not tell.
"""

import re
from collections.abc import Iterator

_MARKER = re.compile(rb"\xff([\x01-\xcf\xd8-\xfe])")
"""A marker, other than the restart markers (D0-D7) and stuffed zeros that belong to a JPEG's image data."""
_SOI, _EOI, _TEM = 0xD8, 0xD9, 0x01
_RESERVED = range(0x02, 0xC0)
_RESTART = re.compile(rb"\xff([\xd0-\xd7])")
_RESTARTS = bytes(range(0xD0, 0xD8))
_SOS, _DRI = 0xDA, 0xDD
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


def jpeg_scan_is_damaged(data: bytes) -> bool:
    """Whether the image's data holds a marker that cannot be there: one that means nothing, or a restart out of turn.

    The decoder ends at the first, and leaves the rest of the picture grey. Bytes of another file in place of some
    hundred of its own nearly always make one.
    """
    interval, scan = 0, None
    for code, position in _markers(data):
        if scan is not None:
            restarts = b"".join(_RESTART.findall(data, scan, position - 2))
            in_turn = (_RESTARTS * (len(restarts) // 8 + 1))[: len(restarts)]
            if code in _RESERVED or restarts != in_turn or (restarts and not interval):
                return True
        if code == _EOI:
            break
        length = int.from_bytes(data[position : position + 2], "big")
        if code == _DRI:
            interval = int.from_bytes(data[position + 2 : position + 4], "big")
        scan = position + length if code == _SOS else None
    return False


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
