"""`engine list`: what is there, whether it is right, and what it costs."""

import shutil
from pathlib import Path

import pytest
from conftest import write_tiny_graph

from engine.cli import main
from models.catalogue import BACKBONES, Backbone
from models.contract import KEY_CONTRACT

ALIAS = "vits16"


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, folder in (("WEIGHTS_ROOT", "weights"), ("GRAPH_ROOT", "graphs")):
        monkeypatch.setenv(name, str(tmp_path / folder))
        (tmp_path / folder).mkdir()
    return tmp_path


def checkpoint(backbone: Backbone, folder: Path, content: bytes, digits: str) -> Path:
    path = folder / f"{backbone.checkpoint_stem}-{digits}.pth"
    path.write_bytes(content)
    return path


def test_every_backbone_is_shown(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    heads = [line for line in lines if not line.startswith(" ") and " GFLOPs" in line]
    assert [line.split()[0] for line in heads] == list(BACKBONES)
    assert "6,716.0 million parameters" in next(line for line in heads if line.startswith("vit7b16 "))
    assert all("DINOv3 License" in line for line in heads[:-1])
    assert max(len(line) for line in heads) <= 100
    assert [line.partition(":")[0] for line in lines if "LICENSE.md" in line] == ["DINOv3 License"]
    assert "graphs: none" in lines[2]


def test_hashes_are_read_when_asked_and_remembered(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    backbone = BACKBONES[ALIAS]
    path = checkpoint(backbone, roots / "weights", b"not really weights", "a65f6d6c")
    assert main(["list", "-w", ALIAS]) == 0
    assert "hash not read yet" in capsys.readouterr().out
    assert main(["list", "-w", ALIAS, "--check"]) == 1
    digits = capsys.readouterr().out.partition("hash WRONG (")[2][:8]
    own = path.rename(path.with_name(f"{backbone.checkpoint_stem}-{digits}.pth"))
    assert main(["list", "-w", ALIAS]) == 0
    assert "hash not read yet" in capsys.readouterr().out
    assert main(["list", "-w", ALIAS, "--check"]) == 0
    assert main(["list", "-w", ALIAS]) == 0
    assert capsys.readouterr().out.count("hash as in its name") == 2
    own.write_bytes(b"truncated")
    assert main(["list", "-w", ALIAS]) == 0
    assert "hash not read yet" in capsys.readouterr().out, "a changed file is no longer vouched for"
    checkpoint(backbone, roots / "weights", b"two", "00000000")
    assert main(["list", "-w", ALIAS]) == 1
    assert "several, keep one" in capsys.readouterr().out


def test_gflops_follow_the_image_size(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = []
    for size in ("224", "448"):
        assert main(["list", "-w", ALIAS, "-i", size]) == 0
        figures.append(float(capsys.readouterr().out.partition(" GFLOPs")[0].split()[-1]))
    assert figures[1] > 4 * figures[0]


def test_graphs_of_other_models_come_last(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = write_tiny_graph(roots / "graphs" / "mine-hf-fp32.onnx", "mine")
    write_tiny_graph(roots / "graphs" / "vits16-hf-fp32.onnx", "vits16")
    assert main(["list"]) == 0
    _, heading, others = capsys.readouterr().out.partition("graphs of other models\n")
    assert heading
    first, *_, last = others.splitlines()
    assert first == f"    graph: {mine}, fp32, 0 MB, never verified"
    assert last.startswith("checkpoints below")
    assert main(["list", "-w", ALIAS]) == 0
    assert "mine" not in capsys.readouterr().out
    mine.write_bytes(b"cut off")
    assert main(["list"]) == 1
    assert f"graph: UNUSABLE: {mine} cannot be loaded" in capsys.readouterr().out


def test_graphs_and_their_faults(roots: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    from exporters.export import export_backbone
    from exporters.graph_file import append_metadata
    from models.random_checkpoint import shortened, write_random_checkpoint

    tiny = shortened(BACKBONES[ALIAS], 1)
    graphs = roots / "graphs"
    path = write_random_checkpoint(tiny, roots / "weights")
    for precision in ("fp32", "int8"):
        export_backbone(tiny, path, graphs, precision, single_file_limit_bytes=1000)
    assert main(["list", "-w", ALIAS]) == 0
    out = capsys.readouterr().out
    assert "vits16-fp32.onnx, fp32, 8 MB, verified on made-up images (CPU): largest difference" in out
    assert "vits16-int8.onnx, int8, 3 MB, verified on" in out
    shutil.copyfile(graphs / "vits16-int8.onnx", graphs / "vits16-hf-int8.onnx")
    assert main(["list", "-w", ALIAS]) == 0
    assert capsys.readouterr().out.count("    graph: ") == 3
    (graphs / "vits16-hf-int8.onnx").unlink()
    other_format = graphs / "vits16-fp32.torchscript"
    other_format.write_bytes(b"no archive")
    assert main(["list", "-w", ALIAS]) == 1
    assert f"graph: UNUSABLE: {other_format}" in capsys.readouterr().out
    other_format.unlink()
    assert main(["list", "-w", "vits16+"]) == 0
    assert "graphs: none" in capsys.readouterr().out, "the graphs of vits16 are not those of vits16+"
    next(graphs.glob("vits16-int8-*.data")).unlink()
    append_metadata(graphs / "vits16-fp32.onnx", {KEY_CONTRACT: "99"})
    assert main(["list", "-w", ALIAS]) == 1
    out = capsys.readouterr().out
    assert out.count("UNUSABLE") == 2
    assert "follows graph contract 99" in out
    assert "was moved or removed" in out
