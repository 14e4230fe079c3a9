"""`engine export --precision` and `engine verify` from the command line: figures, where they are stored, exit codes."""

import json
import shutil
import warnings
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

pytest.importorskip("torch")

from engine.cli import main
from engine.graph_metadata import read_metadata
from engine.hooks import RuntimeRecord
from engine.runtime import OnnxRuntime, open_graph
from models.catalogue import BACKBONES
from models.contract import KEY_CHECKPOINT_SHA256, KEY_VERIFICATION
from models.random_checkpoint import random_state, write_checkpoint, write_random_checkpoint

ALIAS = "vitt16"


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, folder in (("WEIGHTS_ROOT", "weights"), ("GRAPH_ROOT", "graphs"), ("IMG_ROOT", "photographs")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.setattr("engine.cli_export.bundled_checkpoint", lambda: tmp_path / "none")
    monkeypatch.setattr("engine.sample_photographs.SIZES_PX", (48, 64))
    write_random_checkpoint(BACKBONES[ALIAS], tmp_path / "weights")
    return tmp_path


def photographs(folder: Path, count: int = 3) -> None:
    folder.mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    for index in range(count):
        noise = random.integers(0, 256, (12, 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{index}.png"), cv2.resize(noise, (160, 120), interpolation=cv2.INTER_CUBIC))


def test_a_verified_graph_holds_its_figures(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs(roots / "photographs")
    assert main(["export", "-w", ALIAS, "--precision", "fp32", "fp16"]) == 0
    out = capsys.readouterr().out
    assert "2 of 2 graphs exported" in out
    assert "of 65504 on these photographs, which proves nothing of others" in out
    graph = roots / "graphs" / f"{ALIAS}-fp32.onnx"
    assert json.loads(read_metadata(graph)[KEY_VERIFICATION])["photographs"] == 0
    assert main(["verify", "-w", ALIAS, "--precision", "fp32", "fp16"]) == 0
    out = capsys.readouterr().out
    assert "3 photographs in batches of" in out
    assert "mutual matches kept (100.0%)" in out
    assert "figures were stored in the graph" in out
    assert "the graph holds these figures already" in out, "fp16 was judged on the same photographs when exported"
    figures = json.loads(read_metadata(graph)[KEY_VERIFICATION])
    assert figures["photographs"] == 3
    assert {shape[0] for shape in figures["shapes"]} == {1, 2}
    assert len({tuple(shape[1:]) for shape in figures["shapes"]}) == 2
    assert figures["outputs"]["patch_tokens"]["largest_difference"] < 1e-4
    onnx.checker.check_model(onnx.load(graph))
    assert main(["verify", "-w", ALIAS]) == 0
    assert "holds these figures already" in capsys.readouterr().out


def test_a_graph_that_is_not_close_fails(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The graph's own record is made to point to another checkpoint, as if the weights had been mixed up."""
    assert main(["export", "-w", ALIAS]) == 0
    (first,) = (roots / "weights").iterdir()
    state = random_state(BACKBONES[ALIAS])
    state["norm.bias"] = state["norm.bias"] + 0.05
    first.unlink()
    other = write_checkpoint(BACKBONES[ALIAS], state, roots / "weights")
    assert main(["verify", "-w", ALIAS]) == 1
    assert "was exported from another checkpoint" in capsys.readouterr().err
    from engine.digest import file_sha256
    from exporters.graph_file import append_metadata

    graph = roots / "graphs" / f"{ALIAS}-fp32.onnx"
    append_metadata(graph, {KEY_CHECKPOINT_SHA256: file_sha256(other)})
    before = graph.read_bytes()
    assert main(["verify", "-w", ALIAS]) == 1
    assert "not close enough: largest difference 0.05" in capsys.readouterr().out
    assert graph.read_bytes() == before


def test_a_graph_of_another_name_is_not_judged_by_the_bounds_of_its_name(
    roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", "-w", ALIAS]) == 0
    graphs = roots / "graphs"
    for copy, arguments in (
        (f"{ALIAS}-int8.onnx", ["-w", ALIAS, "--precision", "int8"]),
        ("vits16-fp32.onnx", ["-w", "vits16"]),
        ("vits16-hub-fp32.onnx", ["-w", "vits16", "--source", "hub"]),
    ):
        shutil.copyfile(graphs / f"{ALIAS}-fp32.onnx", graphs / copy)
        assert main(["verify", *arguments]) == 1
        told = capsys.readouterr().err
        assert f"{copy} is the fp32 graph of {ALIAS} (builtin) by its metadata, not the" in told


def test_another_provider_runs_as_the_engine_runs_it(
    roots: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph on a GPU is opened with the engine's options and device, never by a session of the verification's own."""
    assert main(["export", "-w", ALIAS]) == 0
    opened: list[tuple[str, str]] = []

    def open_with(record: RuntimeRecord, path: Path, provider: str) -> OnnxRuntime:
        opened.append((record.name, provider))
        graph = open_graph(path, "cpu")
        graph.provider = "CUDAExecutionProvider"
        return graph

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        with warnings.catch_warnings(), monkeypatch.context() as patched:
            warnings.simplefilter("error")
            patched.setattr("engine.cli_verify.check_images", lambda *_, **__: pytest.fail("photographs were read"))
            assert main(["verify", "-w", ALIAS, "--provider", "cuda"]) == 1
        assert "CUDAExecutionProvider is not part of the installed ONNX Runtime" in capfd.readouterr().err
    monkeypatch.setattr("engine.cli_verify.open_with", open_with)
    monkeypatch.setattr("exporters.verify.WholeGraph", lambda *_: pytest.fail("another session was opened"))
    assert main(["verify", "-w", ALIAS, "--provider", "cuda:1"]) == 0
    assert opened == [("onnxruntime", "cuda:1")]
    graph = roots / "graphs" / f"{ALIAS}-fp32.onnx"
    assert json.loads(read_metadata(graph)[KEY_VERIFICATION])["provider"] == "CUDAExecutionProvider"


def test_want_of_memory_is_said_before_the_work(
    roots: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["export", "-w", ALIAS]) == 0
    monkeypatch.setattr("exporters.room.available_memory", lambda: 500_000_000)
    monkeypatch.setattr("exporters.verify.check_graph", lambda *_, **__: pytest.fail("memory was not looked at"))
    assert main(["verify", "-w", ALIAS]) == 1
    assert "0.5 GB of memory are free, and verifying vitt16-fp32.onnx needs" in capsys.readouterr().err


def test_of_a_group_the_graphs_there_are_are_verified(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "-w", ALIAS]) == 0
    group = BACKBONES[ALIAS].group.value
    assert main(["verify", "-g", group, "--precision", "fp32", "int8"]) == 0
    printed = capsys.readouterr()
    assert f"{ALIAS}: {roots / 'graphs' / f'{ALIAS}-fp32.onnx'}" in printed.out
    assert f"{ALIAS}-int8" in printed.err
    assert main(["verify", "--all-weights"]) == 1
    assert "(GRAPH_ROOT): vits16-fp32, " in capsys.readouterr().err
    assert main(["verify", "--all-weights", "-w", ALIAS]) == 2


def test_fp16_asks_for_photographs(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "-w", ALIAS, "--precision", "fp16"]) == 1
    assert "--images or IMG_ROOT" in capsys.readouterr().err
    assert not list((roots / "graphs").glob("*.onnx"))


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["verify"], 2, "say what to verify"),
        (["verify", "-w", ALIAS, "--precision", "fp8"], 2, "no precision is called 'fp8'"),
        (["verify", "-w", ALIAS, "--precision", "bf16"], 1, "'engine export -w vitt16 --precision bf16'"),
        (
            ["verify", "-w", ALIAS, "--runtime", "torchscript"],
            1,
            "'engine export -w vitt16 --precision fp32 --format torchscript'",
        ),
        (
            ["verify", "-w", ALIAS, "--runtime", "torchscript", "--precision", "int8"],
            1,
            "graphs in TorchScript form are fp32 only",
        ),
        (
            ["verify", "-w", "some/model", "--source", "hf"],
            1,
            "'engine export -w some/model --precision fp32 --source hf'",
        ),
        (["verify", "-w", ALIAS, "--provider", "nope"], 2, "provider nope: there is none"),
        (["export", "-w", ALIAS, "--precision", "fp8"], 2, "known: fp32, bf16, fp16, int8"),
        (["export", "-w", ALIAS, "--precision", "int8", "--images", "weights"], 1, "there is no photograph"),
        (
            ["export", "-w", ALIAS, "--precision", "int8", "--calibrate", "weights"],
            1,
            "--calibrate weights: there is no",
        ),
        (["export", "-w", ALIAS, "--calibrate", "photographs"], 2, "--calibrate is for int8 graphs"),
    ],
)
def test_bad_input(arguments: list[str], code: int, told: str, roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == code
    assert told in capsys.readouterr().err


def test_graphs_of_a_precision_run_and_bf16_says_why_it_does_not(
    roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(roots / "photographs")
    images = [str(roots / "photographs" / name) for name in ("0.png", "1.png")]
    run = ["match", "-w", ALIAS, "-i", "64", "-a", images[0], "-b", images[1], "--precision"]
    assert main([*run, "int8"]) == 0, "the graph is exported first"
    assert "vitt16-int8.onnx on CPUExecutionProvider" in capsys.readouterr().out
    assert main([*run, "bf16", "--provider", "cpu"]) == 1
    assert "take the precision fp32 or int8 here" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("count", "told"),
    [
        (0, "passes: mean cosine at least 0.98; matches not counted: fewer than two photographs"),
        (1, "passes: mean cosine at least 0.98; matches not counted: fewer than two photographs"),
        (2, "passes: mean cosine at least 0.98, matches kept between photographs at least 0.85"),
    ],
)
def test_only_what_was_measured_is_said_to_pass(
    count: int, told: str, roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photographs(roots / "photographs", count)
    assert main(["export", "-w", ALIAS, "--precision", "int8"]) == 0
    assert main(["verify", "-w", ALIAS, "--precision", "int8"]) == 0
    assert f"  {told}\n" in capsys.readouterr().out


def test_int8_is_calibrated_on_photographs(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photographs(roots / "photographs")
    photographs(roots / "mine", 4)
    assert main(["export", "-w", ALIAS, "--precision", "int8", "--calibrate", str(roots / "mine")]) == 0
    assert "activations calibrated on 4 photographs" in capsys.readouterr().out
    assert main(["verify", "-w", ALIAS, "--precision", "int8"]) == 0
    assert "passes: mean cosine at least 0.98" in capsys.readouterr().out
    assert main(["list", "-w", ALIAS]) == 0
    assert "calibrated on 4 photographs" in capsys.readouterr().out
