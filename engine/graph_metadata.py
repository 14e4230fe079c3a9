"""The metadata of a graph file, and the name of its data file, read without loading the graph.

An ONNX file is one protobuf message (https://protobuf.dev/programming-guides/encoding): fields one after the other,
each with its number, kind and length. All but what is looked for is skipped. Numbers of fields: onnx.proto.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from engine.errors import GraphError

_GRAPH_FIELD, _METADATA_FIELD = 7, 14
_WEIGHT_FIELD, _EXTERNAL_FIELD = 5, 13
"""Of a graph its weights, and of a weight where it lies outside the file."""
_VARINT, _FIXED64, _LENGTH_DELIMITED, _FIXED32 = 0, 1, 2, 5
_ENTRY_LIMIT_BYTES = 1 << 24
_VARINT_LIMIT_BYTES = 10


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata entries of an ONNX file; of entries with one key, the last.

    Raises:
        GraphError: the file is missing, unreadable, truncated or no ONNX file.
    """
    entries: dict[str, str] = {}
    with _opened(path) as (file, size):
        for start, length in _messages(file, 0, size, _METADATA_FIELD):
            if length <= _ENTRY_LIMIT_BYTES:
                key, value = _entry(_content(file, start, length))
                entries[key] = value
    return entries


def data_location(path: Path) -> str | None:
    """The name of the data file that ONNX Runtime reads a graph's weights from; None where all are in the graph.

    Raises:
        GraphError: as `read_metadata`.
    """
    with _opened(path) as (file, size):
        for graph, graph_length in _messages(file, 0, size, _GRAPH_FIELD):
            for weight, weight_length in _messages(file, graph, graph + graph_length, _WEIGHT_FIELD):
                for start, length in _messages(file, weight, weight + weight_length, _EXTERNAL_FIELD):
                    key, value = _entry(_content(file, start, length))
                    if key == "location":
                        return value
    return None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """A file and its size. What goes wrong inside becomes a GraphError."""
    try:
        size = path.stat().st_size
        if size == 0:
            raise ValueError("it is empty")
        with path.open("rb") as file:
            yield file, size
    except OSError as error:
        raise GraphError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, LookupError) as error:
        raise GraphError(f"{path} cannot be loaded ({error}): it may be damaged; export it again") from error


def _messages(file: BinaryIO, start: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Start and length of every message of that field number within a message of the file."""
    while start < end:
        file.seek(start)
        key = _varint(file)
        field, kind = key >> 3, key & 7
        if field == 0:
            raise ValueError("a field without a number")
        if kind == _VARINT:
            _varint(file)
            length = 0
        elif kind in (_FIXED64, _LENGTH_DELIMITED, _FIXED32):
            length = {_FIXED64: 8, _FIXED32: 4}.get(kind) or _varint(file)
        else:
            raise ValueError(f"a field of unknown kind {kind}")
        content, start = file.tell(), file.tell() + length
        if start > end:
            raise ValueError("it ends within a field")
        if field == wanted and kind == _LENGTH_DELIMITED:
            yield content, length


def _content(file: BinaryIO, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


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
