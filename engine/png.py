"""What a PNG's chunks say before it is decoded: whether the file holds all of them (ISO/IEC 15948, 5.3)."""

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_AROUND_BYTES = 12
"""Length, type and checksum of a chunk."""


def is_png(data: bytes) -> bool:
    """Whether the data begins as a PNG."""
    return data.startswith(SIGNATURE)


def png_chunks_fit(data: bytes) -> bool:
    """Whether no chunk, up to the end chunk, is cut off or claims to be longer than the data.

    A decoder may ask for memory of the length a chunk claims, gigabytes in a small file with one bit wrong.
    """
    position = len(SIGNATURE)
    while position + _AROUND_BYTES <= len(data):
        if data[position + 4 : position + 8] == b"IEND":
            return True
        position += _AROUND_BYTES + int.from_bytes(data[position : position + 4], "big")
    return position == len(data)
