import sys
import types
from pathlib import Path

import numpy as np
import pytest
from conftest import DIM, write_tiny_graph

from engine.errors import GraphError, OutOfMemory, ProviderError, UsageError
from engine.loaded_graph import run_failure
from engine.onnx_session import CUDA_OPTIONS, provider_options, session_options
from engine.providers import usable_cores
from engine.runtime import AUTO, OnnxRuntime, open_graph, provider_name
from models import contract


def test_graph_gives_tokens_in_row_major_order(tiny_graph: Path) -> None:
    runtime = open_graph(tiny_graph, "cpu")
    image = np.zeros((1, 32, 64, 3), np.uint8)
    image[0, 16:, 32:48] = np.random.default_rng(0).integers(0, 255, (16, 16, 3))
    tokens, _ = runtime(image)
    assert tokens.shape == (1, 8, DIM)
    assert np.flatnonzero(np.abs(tokens[0]).sum(axis=1) > 1e-3).tolist() == [6]


def test_provider_really_used_is_reported(tiny_graph: Path) -> None:
    assert open_graph(tiny_graph, "cpu").provider == "CPUExecutionProvider"
    assert open_graph(tiny_graph, AUTO).provider in ("CPUExecutionProvider", "CUDAExecutionProvider")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("cuda", "CUDAExecutionProvider"),
        ("GPU", "CUDAExecutionProvider"),
        ("cuda:0", "CUDAExecutionProvider"),
        ("CPUExecutionProvider", "CPUExecutionProvider"),
    ],
)
def test_provider_names(text: str, name: str) -> None:
    assert provider_name(text) == name


def test_unknown_provider_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="Choose one of auto, cuda, cpu"):
        provider_name("quantum")


def test_provider_missing_from_the_build_is_an_error_with_the_remedy(tiny_graph: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this build has CUDA")
    with pytest.raises(ProviderError, match=r"CUDAExecutionProvider is not part.*install the extra 'gpu'"):
        open_graph(tiny_graph, "cuda")


class FallingBack:
    """A session of ONNX Runtime that was asked for CUDA and quietly runs on the CPU."""

    def __init__(self, session: object) -> None:
        self._session = session

    def get_providers(self) -> list[str]:
        return ["CPUExecutionProvider"]

    def get_modelmeta(self) -> object:
        return self._session.get_modelmeta()  # type: ignore[attr-defined]


def _fake_ort(monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    import onnxruntime

    def session(path: str, options: object, providers: list[object], enable_fallback: int) -> object:
        assert not enable_fallback, "ONNX Runtime would go on with the CPU in the middle of a run"
        real = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        if providers == ["CPUExecutionProvider"]:
            return real
        assert providers == [("CUDAExecutionProvider", CUDA_OPTIONS)]
        os.write(2, b"[E:onnxruntime] Failed to load libcudnn.so.9: cannot open shared object file\n")
        return FallingBack(real)

    fake = types.SimpleNamespace(
        __version__="1.26.0",
        SessionOptions=onnxruntime.SessionOptions,
        InferenceSession=session,
        get_available_providers=lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setitem(sys.modules, "onnxruntime", fake)


def test_silent_fall_back_is_an_error_with_the_reason(tiny_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_ort(monkeypatch)
    with pytest.raises(ProviderError, match=r"fell back to CPUExecutionProvider: .*libcudnn\.so\.9"):
        open_graph(tiny_graph, "cuda")


def test_auto_takes_the_cpu_where_cuda_does_not_start(tiny_graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_ort(monkeypatch)
    assert open_graph(tiny_graph, AUTO).provider == "CPUExecutionProvider"


def test_missing_damaged_and_foreign_graphs(tmp_path: Path, tiny_graph: Path) -> None:
    with pytest.raises(GraphError, match="does not exist"):
        open_graph(tmp_path / "none.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(tiny_graph.read_bytes()[:2000])
    with pytest.raises(GraphError, match="damaged"):
        open_graph(damaged)
    import onnx

    foreign = onnx.load(tiny_graph)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / "foreign.onnx")
    with pytest.raises(GraphError, match="not a graph exported by this program"):
        open_graph(tmp_path / "foreign.onnx")


def test_graph_of_another_contract_is_refused(tmp_path: Path) -> None:
    newer = write_tiny_graph(tmp_path / "newer.onnx", **{contract.KEY_CONTRACT: "99"})
    with pytest.raises(GraphError, match="contract 99"):
        open_graph(newer)
    incomplete = write_tiny_graph(tmp_path / "incomplete.onnx", **{contract.KEY_STRIDE: "wide"})
    with pytest.raises(GraphError, match="incomplete or altered metadata"):
        open_graph(incomplete)


@pytest.mark.parametrize("shape", [(1, 30, 32, 3), (32, 32, 3), (1, 32, 32, 4)])
def test_wrong_input_shapes(tiny_graph: Path, shape: tuple[int, ...]) -> None:
    runtime = open_graph(tiny_graph, "cpu")
    with pytest.raises(ValueError, match=r"multiples of 16|expected uint8"):
        runtime(np.zeros(shape, np.uint8))


class FailingSession:
    """A session on CUDA whose runs fail."""

    def __init__(self, words: str) -> None:
        self._words = words

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"]

    def run(self, *_: object) -> None:
        raise RuntimeError(self._words)


SHORT_OF_MEMORY = (
    "[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : ... bfc_arena.cc:376 Failed to allocate memory for requested buffer",
    "CUDA failure 2: out of memory ; GPU=0 ; hostname=x ; file=cuda_call.cc",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "std::bad_alloc",
    "DefaultCPUAllocator: can't allocate memory: you tried to allocate 17179869184 bytes.",
)


@pytest.mark.parametrize("words", SHORT_OF_MEMORY)
def test_a_run_short_of_memory_is_told_from_other_failures(tiny_graph: Path, words: str) -> None:
    runtime = OnnxRuntime(FailingSession(words), open_graph(tiny_graph, "cpu").graph)
    with pytest.raises(OutOfMemory, match=r"CUDAExecutionProvider failed on 2 .*64 x 32"):
        runtime(np.zeros((2, 32, 64, 3), np.uint8))


def test_a_failing_run_names_provider_and_size(tiny_graph: Path) -> None:
    runtime = OnnxRuntime(FailingSession("CUDNN_STATUS_EXECUTION_FAILED"), open_graph(tiny_graph, "cpu").graph)
    with pytest.raises(ProviderError, match=r"CUDAExecutionProvider failed on 2 .*64 x 32.*CUDNN_STATUS") as caught:
        runtime(np.zeros((2, 32, 64, 3), np.uint8))
    assert not isinstance(caught.value, OutOfMemory)


def test_memory_really_refused_is_recognised(tiny_graph: Path) -> None:
    """The words of ONNX Runtime itself: tensors that no machine has the memory for."""
    import onnxruntime
    from onnx import TensorProto, helper

    node = helper.make_node("Expand", ["one", "shape"], ["huge"])
    graph = helper.make_graph(
        [node, helper.make_node("Relu", ["huge"], ["out"])],
        "huge",
        [helper.make_tensor_value_info("shape", TensorProto.INT64, [2])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [helper.make_tensor("one", TensorProto.FLOAT, [1], [1.0])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    with pytest.raises(Exception, match=r"allocate|bad_alloc|memory") as caught:
        session.run(None, {"shape": np.array([1 << 24, 1 << 24])})
    images = np.zeros((1, 32, 32, 3), np.uint8)
    assert isinstance(run_failure("CPU", tiny_graph, images, caught.value), OutOfMemory), caught.value


def test_bound_runs_give_what_unbound_ones_give(tiny_graph: Path) -> None:
    plain = open_graph(tiny_graph, "cpu")
    bound = OnnxRuntime(plain._session, plain.graph, bound_to=("cpu", 0))
    images = np.random.default_rng(1).integers(0, 255, (3, 48, 32, 3), np.uint8)
    for size in (48, 32):
        for found, wanted in zip(bound(images[:, :size]), plain(images[:, :size]), strict=True):
            np.testing.assert_array_equal(found, wanted)
            assert found.dtype == np.float32


def test_sessions_on_gpus_are_bound_and_those_on_cpus_are_not(
    tiny_graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    from engine import runtime

    assert open_graph(tiny_graph, "cpu")._bound_to is None
    real = onnxruntime.InferenceSession(tiny_graph, providers=["CPUExecutionProvider"])
    monkeypatch.setattr(runtime, "open_session", lambda *_: real)
    assert runtime._open_on(onnxruntime, tiny_graph, "CUDAExecutionProvider", 1, None)._bound_to == ("cuda", 1)


def test_options_of_sessions_and_providers() -> None:
    import onnxruntime

    options = session_options(onnxruntime)
    assert options.intra_op_num_threads == usable_cores()
    assert session_options(onnxruntime, 3).intra_op_num_threads == 3
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    assert provider_options("CPUExecutionProvider", None) == "CPUExecutionProvider"
    assert provider_options("CUDAExecutionProvider", 1) == ("CUDAExecutionProvider", {**CUDA_OPTIONS, "device_id": "1"})
    assert provider_options("TensorrtExecutionProvider", 0) == ("TensorrtExecutionProvider", {"device_id": "0"})
