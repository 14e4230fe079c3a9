"""The metadata of a graph file, read without loading the graph.

An ONNX file is one protobuf message (https://protobuf.dev/programming-guides/encoding): fields one after the other,
each with its number, kind and length. All but the metadata entries are skipped.
"""

from pathlib import Path
from typing import BinaryIO

from engine.errors import GraphError

_METADATA_FIELD = 14
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_ENTRY_LIMIT_BYTES = 1 << 24
_VARINT_LIMIT_BYTES = 10


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata entries of an ONNX file; of entries with one key, the last.

    Raises:
        GraphError: the file is missing, unreadable, truncated or no ONNX file.
    """
    entries: dict[str, str] = {}
    try:
        size = path.stat().st_size
        if size == 0:
            raise ValueError("it is empty")
        with path.open("rb") as file:
            while file.tell() < size:
                field, content = _next_field(file, size, _METADATA_FIELD)
                if field == _METADATA_FIELD:
                    key, value = _entry(content)
                    entries[key] = value
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, IndexError) as error:
        raise GraphError(f"{path} cannot be loaded ({error}): it may be damaged; export it again") from error
    return entries


def _next_field(file: BinaryIO, size: int, wanted: int) -> tuple[int, bytes]:
    """Number of the next field, and its content where it is the wanted one."""
    key = _varint(file)
    field, kind = key >> 3, key & 7
    if field == 0:
        raise ValueError("a field without a number")
    if kind == _VARINT:
        _varint(file)
        return field, b""
    if kind not in (_FIXED64, _LENGTH_DELIMITED, _FIXED32):
        raise ValueError(f"a field of unknown kind {kind}")
    length = {_FIXED64: 8, _FIXED32: 4}.get(kind) or _varint(file)
    if file.tell() + length > size:
        raise ValueError("it ends within a field")
    if field == wanted and kind == _LENGTH_DELIMITED and length <= _ENTRY_LIMIT_BYTES:
        return field, file.read(length)
    file.seek(length, 1)
    return field, b""


def _varint(file: BinaryIO) -> int:
    value = 0
    for index in range(_VARINT_LIMIT_BYTES):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends within a number")
        value |= (byte[0] & 0x7F) << 7 * index
        if byte[0] < 0x80:
            return value
    raise ValueError("a number without an end")


def _entry(content: bytes) -> tuple[str, str]:
    """Key and value of one entry, a message of two texts."""
    texts = {1: "", 2: ""}
    position = 0
    while position < len(content):
        field = content[position] >> 3
        length, shift, position = 0, 0, position + 1
        while True:
            byte = content[position]
            length |= (byte & 0x7F) << shift
            shift, position = shift + 7, position + 1
            if byte < 0x80:
                break
        texts[field] = content[position : position + length].decode()
        position += length
    return texts[1], texts[2]
