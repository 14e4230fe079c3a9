"""Metadata without loading, data files that are moved, altered or linked, and digests remembered."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from conftest import write_tiny_graph

from engine.digest import file_sha256
from engine.digest_cache import CACHE_NAME, DigestCache
from engine.errors import GraphError, ProviderError
from engine.graph_data import require_data_file
from engine.graph_metadata import data_location, read_metadata
from engine.runtime import open_graph

pytest.importorskip("torch")

from exporters.export import export_backbone
from models.catalogue import BACKBONES
from models.contract import KEY_ALIAS, KEY_CONTRACT, KEY_EXTERNAL_SHA256
from models.random_checkpoint import shortened, write_random_checkpoint

TINY = shortened(BACKBONES["vitt16"], 1)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("graphs")
    checkpoint = write_random_checkpoint(TINY, folder / "weights")
    return export_backbone(TINY, checkpoint, folder / "exported", single_file_limit_bytes=1000).graph_path


@pytest.fixture
def graph(exported: Path, tmp_path: Path) -> Path:
    shutil.copytree(exported.parent, tmp_path / "graphs")
    return tmp_path / "graphs" / exported.name


def data_of(graph: Path) -> Path:
    (data,) = graph.parent.glob("*.data")
    return data


def tokens(graph: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    return open_graph(graph, "cpu")(np.full((1, 32, 32, 3), 99, np.uint8))[0]


def test_metadata_is_what_onnx_reads(graph: Path) -> None:
    wanted = {entry.key: entry.value for entry in onnx.load(graph, load_external_data=False).metadata_props}
    assert read_metadata(graph) == wanted
    assert wanted[KEY_ALIAS] == "vitt16"


@pytest.mark.parametrize("content", [b"", b"\x00\x01", b"\x08", b"\x0f\x01", b"not a graph at all", b"\x72\xff\x01"])
def test_a_file_that_is_no_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(content)
    with pytest.raises(GraphError, match=r"x\.onnx"):
        open_graph(path, "cpu")


def test_a_cut_graph_is_refused(graph: Path) -> None:
    graph.write_bytes(graph.read_bytes()[:-40])
    with pytest.raises(GraphError, match=r"vitt16-fp32\.onnx"):
        open_graph(graph, "cpu")


def test_a_moved_data_file_is_named(graph: Path) -> None:
    data_of(graph).rename(graph.parent.parent / "elsewhere.data")
    with pytest.raises(GraphError, match=r"weights of .* are not there: vitt16-fp32-[0-9a-f]{8}\.data was moved"):
        open_graph(graph, "cpu")


def test_a_renamed_data_file_is_told_its_name(graph: Path) -> None:
    """The graph holds one exact name; ONNX Runtime would only say that a path fails its validation."""
    data = data_of(graph)
    assert data_location(graph) == data.name
    assert data_location(write_tiny_graph(graph.parent / "whole.onnx")) is None
    renamed = data.rename(data.with_name(f"other-{data.name.rpartition('-')[2]}"))
    with pytest.raises(GraphError, match=f"another name: rename {renamed} to {data.name}$"):
        open_graph(graph, "cpu")
    (graph.parent / data.name).mkdir()
    with pytest.raises(GraphError, match="another name"):
        open_graph(graph, "cpu")


def test_an_altered_data_file_is_found_by_its_digest(graph: Path) -> None:
    tokens(graph)
    data = data_of(graph)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    os.utime(data, ns=(1, data.stat().st_mtime_ns + 10**9))
    with pytest.raises(GraphError, match="was altered: its SHA-256 begins with"):
        open_graph(graph, "cpu")


def test_a_shortened_data_file_is_found(graph: Path) -> None:
    data = data_of(graph)
    data.write_bytes(data.read_bytes()[:-1000])
    with pytest.raises(GraphError, match="was altered"):
        open_graph(graph, "cpu")


@pytest.mark.skipif(os.name == "nt", reason="links need rights on Windows")
def test_linked_files_run(graph: Path, exported: Path) -> None:
    wanted = tokens(exported)
    data, elsewhere = data_of(graph), graph.parent.parent / "other disk"
    elsewhere.mkdir()
    data.rename(elsewhere / data.name)
    data.symlink_to(elsewhere / data.name)
    np.testing.assert_array_equal(tokens(graph), wanted)
    link = elsewhere / "linked.onnx"
    link.symlink_to(graph)
    np.testing.assert_array_equal(tokens(link), wanted)
    (elsewhere / data.name).rename(elsewhere / "renamed.data")
    data.unlink()
    data.symlink_to(elsewhere / "renamed.data")
    with pytest.raises(GraphError, match="link to a file of another name"):
        open_graph(graph, "cpu")
    (elsewhere / "renamed.data").unlink()
    with pytest.raises(GraphError, match="which does not exist"):
        open_graph(graph, "cpu")


def test_a_graph_of_another_version_is_refused_before_its_data_is_read(graph: Path) -> None:
    entry = onnx.StringStringEntryProto(key=KEY_CONTRACT, value="99").SerializeToString()
    with graph.open("ab") as file:
        file.write(b"\x72" + bytes([len(entry)]) + entry)
    data_of(graph).unlink()
    with pytest.raises(GraphError, match=r"follows graph contract 99; this version reads 1: export it again"):
        open_graph(graph, "cpu")


def test_digests_are_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr("engine.digest_cache.file_sha256", lambda path: read.append(path) or file_sha256(path))
    file, cache = tmp_path / "large", DigestCache(tmp_path)
    file.write_bytes(b"one")
    assert cache.known(file) is None
    assert cache.sha256(file) == DigestCache(tmp_path).sha256(file) == file_sha256(file)
    assert len(read) == 1
    file.write_bytes(b"another")
    assert cache.sha256(file) == file_sha256(file)
    assert cache.sha256(file, fresh=True) == file_sha256(file)
    assert len(read) == 3


@pytest.mark.parametrize("content", ["", "[]", '{"x": 1}', "\x00"])
def test_a_damaged_memory_of_digests_is_not_trusted(content: str, tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"one")
    (tmp_path / CACHE_NAME).write_text(content)
    assert DigestCache(tmp_path).sha256(file) == file_sha256(file)
    assert str(file) in json.loads((tmp_path / CACHE_NAME).read_text())


def test_a_graph_without_data_file_needs_none(tmp_path: Path) -> None:
    assert require_data_file(tmp_path / "g.onnx", {}) is None
    with pytest.raises(GraphError):
        require_data_file(tmp_path / "g.onnx", {KEY_EXTERNAL_SHA256: "0" * 64})


class _WithCuda:
    """An ONNX Runtime that says it has CUDA."""

    def __getattr__(self, name: str) -> object:
        import onnxruntime

        if name == "get_available_providers":
            return lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"]
        return getattr(onnxruntime, name)


@pytest.mark.parametrize(
    ("precision", "provider", "told"),
    [("bf16", "CPUExecutionProvider", "no matrix product on CPUs"), ("int8", "CUDAExecutionProvider", "is for CPUs")],
)
def test_a_precision_the_provider_cannot_run_is_refused(
    precision: str, provider: str, told: str, tmp_path: Path
) -> None:
    checkpoint = write_random_checkpoint(TINY, tmp_path / "weights")
    graph = export_backbone(TINY, checkpoint, tmp_path, precision).graph_path
    from engine import runtime

    with pytest.raises(ProviderError, match=told):
        runtime._open_on(_WithCuda(), graph, provider, None, None)


def test_a_full_range_graph_is_refused_where_its_products_saturate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux tells the processor's features; where none are told, the graph runs."""
    for module in ("exporters.number_formats", "engine.onnx_session"):
        monkeypatch.setattr(f"{module}.cpu_flags", lambda: "avx512_vnni")
    checkpoint = write_random_checkpoint(TINY, tmp_path / "weights")
    graph = export_backbone(TINY, checkpoint, tmp_path, "int8").graph_path
    for flags, runs in (("fpu avx2", False), ("fpu avx_vnni", True), (None, True)):
        monkeypatch.setattr("engine.onnx_session.cpu_flags", lambda flags=flags: flags)
        if runs:
            open_graph(graph, "cpu")
        else:
            with pytest.raises(ProviderError, match="8-bit products of its full range saturate on this one"):
                open_graph(graph, "cpu")
    monkeypatch.setattr("exporters.number_formats.cpu_flags", lambda: "avx2")
    reduced = export_backbone(TINY, checkpoint, tmp_path, "int8").graph_path
    monkeypatch.setattr("engine.onnx_session.cpu_flags", lambda: "avx2")
    open_graph(reduced, "cpu")
