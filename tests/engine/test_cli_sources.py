"""`--source` from the command line: graphs of their own, exported when they are missing, verified, told apart."""

import json
from pathlib import Path

import pytest
from conftest import texture, write_photograph

from engine.cli import main
from engine.errors import UsageError
from engine.graph_metadata import read_metadata
from engine.sources import downloads_blocked, foreign_code_blocked, requested_models
from models.catalogue import BACKBONES
from models.contract import KEY_QUANTISATION

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, folder in (("GRAPH_ROOT", "graphs"), ("EXPORT_ROOT", "exports"), ("IMG_ROOT", "none")):
        monkeypatch.setenv(name, str(tmp_path / folder))
    config = transformers.DINOv3ViTConfig(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=1, intermediate_size=128, num_register_tokens=4
    )
    return saved(transformers.DINOv3ViTModel(config), tmp_path / "mine")


def saved(model, folder: Path) -> Path:
    model.save_pretrained(folder)
    statistics = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "resample": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps(statistics))
    return folder


def test_a_folder_is_exported_matched_and_verified(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images = [write_photograph(model.parent / f"{index}.png", texture(96, 128, index)) for index in (0, 1)]
    run = ["match", "--source", "hf", "-w", str(model), "-i", "64", "-a", str(images[0]), "-b", str(images[1])]
    assert main(run) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    graph = model.parent / "graphs" / "mine-hf-fp32.onnx"
    assert f"no graph {graph}; exporting it from {model} of hf" in said
    assert "RoPE periods are those of the official checkpoints" in said
    (result,) = (model.parent / "exports" / "pair_match").rglob("*.json")
    document = json.loads(result.read_text("utf-8"))
    assert (document["weight"], document["graph"]["source"], document["meta"]["hf_model"]) == ("mine", "hf", str(model))
    assert main([*run, "--tag", "again"]) == 0
    assert "exporting" not in capsys.readouterr().out
    assert main(["verify", "--source", "hf", "-w", str(model)]) == 0
    assert "passes: largest difference at most 0.001" in capsys.readouterr().out
    other = saved(transformers.AutoModel.from_pretrained(model), model.parent / "other" / "mine")
    assert main([*run[:4], str(other), *run[5:]]) == 1
    assert f"was made from {model}, not from {other}" in capsys.readouterr().err


def test_int8_is_calibrated_and_torchscript_written_from_other_sources(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.sample_photographs.SIZES_PX", (48, 64))
    for index in range(3):
        write_photograph(model.parent / "photographs" / f"{index}.png", texture(96, 128, index))
    export = ["export", "--source", "hf", "-w", str(model)]
    calibrated = ["--precision", "fp32", "int8", "--calibrate", "photographs", "--images", "photographs"]
    assert main([*export, *calibrated]) == 0, capsys.readouterr().err
    assert capsys.readouterr().out.count("activations calibrated on 3 photographs") == 1
    quantised = json.loads(read_metadata(model.parent / "graphs" / "mine-hf-int8.onnx")[KEY_QUANTISATION])
    assert quantised["calibration"]["photographs"] == 3
    assert main([*export, "--format", "torchscript"]) == 0, capsys.readouterr().err
    assert (model.parent / "graphs" / "mine-hf-fp32.torchscript").is_file()
    verify = ["verify", "--source", "hf", "-w", str(model), "--runtime", "torchscript"]
    assert main(verify) == 0
    assert "on TorchScript cpu" in capsys.readouterr().out
    other = saved(transformers.AutoModel.from_pretrained(model), model.parent / "other" / "mine")
    assert main([*verify[:4], str(other), *verify[5:]]) == 1
    assert f"was made from {model}, not from {other}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["export", "--source", "hf", "-w", "vitt16"], 2, "use --source builtin"),
        (["export", "--source", "hub", "-w", "vits16"], 1, "set REPO_DIR"),
        (["export", "--source", "hf"], 2, "say what to export"),
        (["export", "--source", "hf", "-w", "vits61"], 2, "Did you mean 'vits16'"),
        (["match", "--source", "hf"], 2, "say with -w which network to run"),
        (["verify", "--source", "hf", "-w", "vits16"], 1, "engine export -w vits16 --precision fp32 --source hf"),
        (["export", "--source", "hf", "-w", "vits16", "--calibrate", "x"], 2, "--calibrate is for int8"),
        (
            ["export", "--source", "hf", "-w", "mine", "--calibrate", "x", "--precision", "int8"],
            1,
            "--calibrate x: there",
        ),
        (["match", "--source", "hf", "-w", "mine", "--runtime", "torchscript"], 1, "make one with 'engine export'"),
    ],
)
def test_bad_input(
    arguments: list[str], code: int, told: str, model: Path, capsys: pytest.CaptureFixture[str], monkeypatch
) -> None:
    for name in ("REPO_DIR", "CODE_HOST"):
        monkeypatch.delenv(name, raising=False)
    assert main(arguments) == code
    assert told in capsys.readouterr().err


def test_want_of_memory_is_said_before_a_source_is_loaded(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporters.room.available_memory", lambda: 300_000_000)
    for source in ("hub", "hf"):
        monkeypatch.setattr("engine.cli_sources.load_wanted", None)
        assert main(["export", "--source", source, "-w", "vits16"]) == 1
        assert f"verifying vits16-{source}-fp32.onnx needs 0.7 GB" in capsys.readouterr().err


def test_what_is_asked_for(model: Path) -> None:
    (named,) = requested_models(["vitl16"], None, False, "hf")
    (same,) = requested_models(["facebook/dinov3-vitl16-pretrain-lvd1689m"], None, False, "hf")
    assert named == same
    assert named.model == "facebook/dinov3-vitl16-pretrain-lvd1689m"
    (other,) = requested_models(["facebook/dinov2-small"], None, False, "hf")
    assert (other.alias, other.backbone) == ("facebook--dinov2-small", None)
    assert len(requested_models([], None, True, "hf")) == len(BACKBONES) - 1
    with pytest.raises(UsageError, match="exclude each other"):
        requested_models([str(model)], "ViT_SAT493M", False, "hf")


def test_when_the_network_is_blocked() -> None:
    for values, downloads, code in (
        ({}, False, True),
        ({"DINOV3_BLOCK_NET": "1"}, True, True),
        ({"DINOV3_BLOCK_NET": "0"}, False, False),
        ({"HF_HUB_OFFLINE": "1"}, True, True),
    ):
        assert (downloads_blocked(values), foreign_code_blocked(values)) == (downloads, code)
