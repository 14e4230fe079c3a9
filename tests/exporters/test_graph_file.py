"""Streamed ONNX files against the onnx package's own reader."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from large_files import remove_large_files  # noqa: F401
from onnx import TensorProto, numpy_helper

from exporters.graph_builder import GraphBuilder
from exporters.graph_file import DATA_ALIGNMENT_BYTES, append_metadata, write_graph

LARGE = np.random.default_rng(0).normal(size=(300, 200)).astype(np.float32)
WIDE = np.random.default_rng(1).normal(size=(200, 90)).astype(np.float32)


def example() -> GraphBuilder:
    """y = (x @ LARGE) @ WIDE + 3."""
    graph = GraphBuilder("example")
    x = graph.input("x", TensorProto.FLOAT, ["rows", 300])
    large = graph.weight("large", LARGE.shape, lambda: LARGE)
    wide = graph.weight("wide", WIDE.shape, lambda: np.asfortranarray(WIDE))
    product = graph.node("MatMul", [graph.node("MatMul", [x, large], "first"), wide], "second")
    graph.node("Add", [product, graph.constant("three", 3.0, np.float32)], "y")
    graph.constant("unused", [1, -2, 1 << 40])
    graph.output("y", TensorProto.FLOAT, ["rows", 90])
    return graph


@pytest.mark.parametrize("limit", [10_000_000, 1000], ids=["one file", "data file"])
def test_the_onnx_package_reads_what_was_written(tmp_path: Path, limit: int) -> None:
    written = write_graph(example(), tmp_path / "example.onnx", limit)
    assert (written.data_path is None) == (limit > 1000)
    onnx.checker.check_model(str(written.path), full_check=True)
    model = onnx.load(written.path)
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    assert list(values) == ["large", "wide", "three", "unused"]
    np.testing.assert_array_equal(values["large"], LARGE)
    np.testing.assert_array_equal(values["wide"], WIDE)
    assert values["three"].shape == ()
    assert values["unused"].tolist() == [1, -2, 1 << 40]
    assert [node.name for node in model.graph.node] == ["first", "second", "y"]


def test_only_large_weights_leave_the_graph_file_and_they_are_aligned(tmp_path: Path) -> None:
    written = write_graph(example(), tmp_path / "example.onnx", 1000)
    tensors = onnx.load(written.path, load_external_data=False).graph.initializer
    external = {
        tensor.name: {entry.key: entry.value for entry in tensor.external_data}
        for tensor in tensors
        if tensor.data_location == TensorProto.EXTERNAL
    }
    assert written.data_path is not None
    assert list(external) == ["large", "wide"]
    assert {entry["location"] for entry in external.values()} == {written.data_path.name}
    assert all(int(entry["offset"]) % DATA_ALIGNMENT_BYTES == 0 for entry in external.values())
    assert [int(entry["length"]) for entry in external.values()] == [LARGE.nbytes, WIDE.nbytes]


def test_weights_are_produced_one_at_a_time(tmp_path: Path) -> None:
    alive: list[str] = []
    graph = GraphBuilder("lazy")

    class Tracked(np.ndarray):  # type: ignore[type-arg]
        def __del__(self) -> None:
            if self.base is None:
                alive.pop()

    def produce() -> np.ndarray:  # type: ignore[type-arg]
        assert not alive
        alive.append("weight")
        return Tracked((64, 64), np.float32)

    for index in range(3):
        graph.weight(f"weight.{index}", (64, 64), produce)
    assert not alive
    write_graph(graph, tmp_path / "lazy.onnx")


def test_metadata_can_be_appended_and_the_last_entry_counts(tmp_path: Path) -> None:
    path = write_graph(example(), tmp_path / "example.onnx").path
    append_metadata(path, {"key": "first", "long": "값" * 300})
    append_metadata(path, {"key": "second"})
    model = onnx.load(path)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"key": "second", "long": "값" * 300}
    assert len(model.graph.node) == 3


def test_progress_counts_all_bytes(tmp_path: Path) -> None:
    for limit in (10_000_000, 1000):
        seen: list[tuple[int, int]] = []
        write_graph(
            example(), tmp_path / "example.onnx", limit, lambda done, total, seen=seen: seen.append((done, total))
        )
        assert seen[-1] == (LARGE.nbytes + WIDE.nbytes + 4 + 24,) * 2


def test_a_weight_that_is_not_what_was_announced_is_an_error(tmp_path: Path) -> None:
    graph = example()
    graph.weight("wrong", (3, 4), lambda: np.zeros((3, 5), np.float32))
    with pytest.raises(ValueError, match="weight wrong"):
        write_graph(graph, tmp_path / "example.onnx")


def test_one_name_is_one_constant() -> None:
    graph = GraphBuilder("constants")
    graph.constant("two", [2])
    graph.constant("two", [2])
    with pytest.raises(ValueError, match="two constants of different values"):
        graph.constant("two", [3])
