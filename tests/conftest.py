"""Fixtures that several test files share."""

import json
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from models import contract

STRIDE, DIM = 16, 32

# A shell that starts the tests in the background has them ignore SIGINT, and every program they start would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


def write_tiny_graph(path: Path, alias: str = "vits16", seed: int = 0, **metadata: str) -> Path:
    """A graph of the contract, made of one random convolution: tokens that follow the picture's texture."""
    rng = np.random.default_rng(seed)
    kernel = rng.normal(0, 1, (DIM, 3, STRIDE, STRIDE)).astype(np.float32)
    kernel -= kernel.mean(axis=(1, 2, 3), keepdims=True)
    weights = {"kernel": kernel / 100, "flat": np.array([0, DIM, -1], np.int64), "one": np.array([1], np.int64)}
    nodes = [
        helper.make_node("Cast", ["image"], ["pixels"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["pixels"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Conv", ["planes", "kernel"], ["map"], strides=[STRIDE, STRIDE]),
        helper.make_node("Reshape", ["map", "flat"], ["columns"]),
        helper.make_node("Transpose", ["columns"], ["patch_tokens"], perm=[0, 2, 1]),
        helper.make_node("ReduceMean", ["patch_tokens", "one"], ["global_descriptor"], keepdims=0),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["B", "H", "W", 3])],
        [
            helper.make_tensor_value_info("patch_tokens", TensorProto.FLOAT, ["B", "N", DIM]),
            helper.make_tensor_value_info("global_descriptor", TensorProto.FLOAT, ["B", DIM]),
        ],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    described = {
        contract.KEY_CONTRACT: str(contract.CONTRACT_VERSION),
        contract.KEY_ALIAS: alias,
        contract.KEY_PRECISION: "fp32",
        contract.KEY_SOURCE: "builtin",
        contract.KEY_STRIDE: str(STRIDE),
        contract.KEY_DIM: str(DIM),
        contract.KEY_GLOBAL: "class_token",
        contract.KEY_CHECKPOINT_NAME: "tiny.pth",
        contract.KEY_CHECKPOINT_STATUS: "own",
        contract.KEY_VERIFICATION: json.dumps({}),
        **metadata,
    }
    helper.set_model_props(model, described)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="session")
def tiny_graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_graph(tmp_path_factory.mktemp("graphs") / "vits16-fp32.onnx")


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A picture with structure at every scale: uint8 RGB [H, W, 3]."""
    rng = np.random.default_rng(seed)
    picture = np.zeros((height, width, 3), np.float32)
    for cells in (4, 12, 40, 120):
        noise = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 45 * picture, 0, 255).astype(np.uint8)


def write_photograph(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    if not done:
        raise ValueError(path)
    path.write_bytes(data.tobytes())
    return path


@pytest.fixture
def data_set(tmp_path: Path) -> Path:
    """Two flights over one texture: flight 200 sees it moved by two patches (32 px) to the left."""
    ground = texture(320, 480)
    for frame in (1, 2):
        shifted = np.roll(ground, -frame * 16, axis=1)
        for flight, altitude, pixels in (("A1", "400", shifted), ("B2", "200", shifted[:, 32:])):
            name = f"{flight}_{altitude}"
            write_photograph(tmp_path / "images" / name / f"{name}_{frame:04d}.png", pixels[:, :384])
    return tmp_path / "images"


@dataclass(frozen=True)
class Ran:
    """What a command left behind: exit code and what it printed."""

    code: int
    out: str
    err: str


@pytest.fixture
def command(
    data_set: Path,
    tiny_graph: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., Ran]:
    """Runs the command line on `data_set` with `tiny_graph`; results go below `tmp_path/exports`."""
    from engine.cli import main

    for name in ("EMBED_ROOT", "MATCH_ROOT", "VIS_ROOT", "REPO_DIR", "CODE_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("IMG_ROOT", str(data_set))
    monkeypatch.setenv("EXPORT_ROOT", str(tmp_path / "exports"))
    monkeypatch.setenv("GRAPH_ROOT", str(tiny_graph.parent))
    monkeypatch.setenv("WEIGHTS_ROOT", str(tmp_path / "weights"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        printed = capsys.readouterr()
        assert "Traceback" not in printed.out + printed.err
        return Ran(code, printed.out, printed.err)

    return run


@pytest.fixture
def match(command: Callable[..., Ran]) -> Callable[..., Ran]:
    """Runs `engine match` as `command` does. The data set is of PNG files, exact to the bit."""
    return lambda *arguments: command("match", "--exts", "png", *arguments)
