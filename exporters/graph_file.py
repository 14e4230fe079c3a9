"""ONNX files written as a stream: one weight in memory at a time, whatever the size of the graph.

A protobuf message may be written in parts: repeated fields and sub-messages of parts that follow each other merge
(https://protobuf.dev/programming-guides/encoding/#last-one-wins). So the graph's nodes, each weight and each metadata
entry are written when they are there, and metadata can be appended to a finished file.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import onnx
from onnx import TensorProto, helper

from exporters.graph_builder import MICROSOFT, OPSET, GraphBuilder, Weight
from exporters.number_formats import STORAGE

SINGLE_FILE_LIMIT_BYTES = 2_000_000_000
"""Weights of more bytes go to a data file beside the graph: a protobuf message must stay below 2 GiB."""

EXTERNAL_MIN_BYTES = 1 << 16
"""Smaller weights stay inside the graph file even then."""

DATA_ALIGNMENT_BYTES = 1 << 16
"""Offsets in the data file are multiples of it, so that Windows can map them into memory too."""

_GRAPH_FIELD, _METADATA_FIELD = 7, 14
_INITIALIZER_FIELD, _RAW_DATA_FIELD = 5, 9
_LENGTH_DELIMITED = 2

BytesWritten = Callable[[int, int], None]
"""Called with (bytes written, bytes in all)."""


@dataclass(frozen=True)
class WrittenGraph:
    """A graph file, and the data file beside it where there is one, with its SHA-256 (hex)."""

    path: Path
    data_path: Path | None = None
    data_sha256: str | None = None


def write_graph(
    graph: GraphBuilder,
    path: Path,
    single_file_limit_bytes: int = SINGLE_FILE_LIMIT_BYTES,
    progress: BytesWritten | None = None,
) -> WrittenGraph:
    """Writes the graph to `path`, and its large weights to `<stem>-<digest>.data` beside it above the limit.

    The digest in the data file's name ties it to this graph: replacing a graph never changes the data of another.
    """
    weights, total = list(graph.weights.values()), graph.weight_bytes
    counter = _Counter(total, progress)
    if total <= single_file_limit_bytes:
        _write_model(graph, weights, path, {}, "", counter)
        return WrittenGraph(path)
    external = [weight for weight in weights if weight.bytes >= EXTERNAL_MIN_BYTES]
    aside = path.with_name(path.stem + ".data")
    offsets, sha256 = _write_data(external, aside, counter)
    data_path = path.with_name(f"{path.stem}-{sha256[:8]}.data")
    os.replace(aside, data_path)
    _write_model(graph, weights, path, offsets, data_path.name, counter)
    return WrittenGraph(path, data_path, sha256)


def append_metadata(path: Path, metadata: Mapping[str, str]) -> None:
    """Adds metadata entries to a finished graph file. Of entries with one key, readers see the last."""
    with path.open("ab") as file:
        for key, value in metadata.items():
            _write_field(file, _METADATA_FIELD, onnx.StringStringEntryProto(key=key, value=value).SerializeToString())
        flush_to_disk(file)


def drop_last_metadata(path: Path, key: str, value: str) -> None:
    """Takes an entry off the end of a graph file, where it stands there; elsewhere it is left.

    A second entry of one key is read in place of the first, but onnx's checker frowns on it.
    """
    content = onnx.StringStringEntryProto(key=key, value=value).SerializeToString()
    field = _key(_METADATA_FIELD) + _varint(len(content)) + content
    with path.open("r+b") as file:
        start = file.seek(0, os.SEEK_END) - len(field)
        if start < 0:
            return
        file.seek(start)
        if file.read() == field:
            file.truncate(start)


def flush_to_disk(file: BinaryIO) -> None:
    """Returns when the system says that the file's bytes are on the disk."""
    file.flush()
    os.fsync(file.fileno())


class _Counter:
    def __init__(self, total: int, progress: BytesWritten | None) -> None:
        self._total, self._done, self._progress = total, 0, progress

    def add(self, count: int) -> None:
        self._done += count
        if self._progress is not None:
            self._progress(self._done, self._total)


def _write_model(
    graph: GraphBuilder, weights: Iterable[Weight], path: Path, offsets: Mapping[str, int], data: str, counter: _Counter
) -> None:
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    frame = helper.make_graph(graph.nodes, graph.name, graph.inputs, graph.outputs)
    # IR version 9 is the one of opset 20; a newer one would shut out older runtimes.
    model = helper.make_model(onnx.GraphProto(), opset_imports=opsets, producer_name="dinov3-match", ir_version=9)
    model.ClearField("graph")
    nodes = frame.SerializeToString()
    headers = [(weight, _tensor_header(weight, offsets, data)) for weight in weights]
    graph_bytes = len(nodes) + sum(_initializer_bytes(weight, header, offsets) for weight, header in headers)
    with path.open("wb") as file:
        file.write(model.SerializeToString())
        file.write(_key(_GRAPH_FIELD) + _varint(graph_bytes))
        file.write(nodes)
        for weight, header in headers:
            _write_initializer(file, weight, header, offsets)
            if weight.name not in offsets:
                counter.add(weight.bytes)
        flush_to_disk(file)


def _write_data(weights: Iterable[Weight], path: Path, counter: _Counter) -> tuple[dict[str, int], str]:
    offsets, digest, position = {}, hashlib.sha256(), 0
    with path.open("wb") as file:
        for weight in weights:
            padding = bytes(-position % DATA_ALIGNMENT_BYTES)
            offsets[weight.name] = position + len(padding)
            for part in (padding, _values(weight)):
                file.write(part)
                digest.update(part)
                position += len(part)
            counter.add(weight.bytes)
        flush_to_disk(file)
    return offsets, digest.hexdigest()


def _tensor_header(weight: Weight, offsets: Mapping[str, int], data: str) -> bytes:
    """The tensor's message without its values."""
    tensor = TensorProto(name=weight.name, data_type=weight.element_type, dims=weight.shape)
    if weight.name in offsets:
        tensor.data_location = TensorProto.EXTERNAL
        entries = {"location": data, "offset": str(offsets[weight.name]), "length": str(weight.bytes)}
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)
    return bytes(tensor.SerializeToString())


def _initializer_bytes(weight: Weight, header: bytes, offsets: Mapping[str, int]) -> int:
    content = _content_bytes(weight, header, offsets)
    return len(_key(_INITIALIZER_FIELD)) + len(_varint(content)) + content


def _content_bytes(weight: Weight, header: bytes, offsets: Mapping[str, int]) -> int:
    if weight.name in offsets:
        return len(header)
    return len(header) + len(_key(_RAW_DATA_FIELD)) + len(_varint(weight.bytes)) + weight.bytes


def _write_initializer(file: BinaryIO, weight: Weight, header: bytes, offsets: Mapping[str, int]) -> None:
    file.write(_key(_INITIALIZER_FIELD) + _varint(_content_bytes(weight, header, offsets)))
    file.write(header)
    if weight.name not in offsets:
        file.write(_key(_RAW_DATA_FIELD) + _varint(weight.bytes))
        file.write(_values(weight))


def _values(weight: Weight) -> memoryview:
    """The weight's values as little-endian bytes, checked against what was announced."""
    array = np.ascontiguousarray(weight.produce())
    dtype = np.dtype(STORAGE[weight.element_type])
    if array.dtype != dtype or array.size * array.itemsize != weight.bytes:
        raise ValueError(f"weight {weight.name}: {array.dtype} {array.shape} is not what was announced")
    return array.astype(dtype.newbyteorder("<"), copy=False).reshape(-1).view(np.uint8).data


def _write_field(file: BinaryIO, field: int, content: bytes) -> None:
    file.write(_key(field) + _varint(len(content)) + content)


def _key(field: int) -> bytes:
    return _varint(field << 3 | _LENGTH_DELIMITED)


def _varint(value: int) -> bytes:
    """Base-128 encoding of protobuf: seven bits a byte, low ones first, the top bit set on all but the last."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
