"""`engine export`, and `engine match` that exports what is missing: with real networks of random values."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_tiny_graph

from engine import cli_export
from exporters import checkpoints
from models.bundled import bundled_graph
from models.catalogue import backbone
from models.errors import WorkError
from models.random_checkpoint import write_random_checkpoint

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_random_checkpoint(backbone("vits16"), tmp_path_factory.mktemp("w") / "01_ViT_LVD-1689M" / "sorted")


@pytest.fixture
def roots(tmp_path: Path, checkpoint: Path, command, monkeypatch) -> Path:
    """The folder of graphs, empty; the checkpoint lies two folders below WEIGHTS_ROOT."""
    monkeypatch.setenv("WEIGHTS_ROOT", str(checkpoint.parent.parent))
    monkeypatch.delenv("GRAPH_ROOT")
    return tmp_path / "exports" / "dinov3_graphs"


def test_export_says_what_it_found_and_how_well_the_graph_agrees(command, roots: Path) -> None:
    ran = command("export", "--weights", "vits16")
    assert ran.code == 0, ran.err
    assert "dinov3_vits16_pretrain_lvd1689m-" in ran.out
    assert "1 of 1 graphs exported" in ran.out
    for word in ("difference", "cosine"):
        assert word in ran.out
    assert sorted(path.name for path in roots.iterdir()) == [".digests.json", "vits16-fp32.onnx"]


@pytest.mark.parametrize("source", ["builtin", "hub"])
def test_a_checkpoint_is_read_once_for_its_hash_and_listed_with_it(
    source: str, command, roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    original = checkpoints.file_sha256

    def counted(path: Path, progress: object = None) -> str:
        read.append(path)
        return original(path)

    def stop(*_: object) -> None:
        raise WorkError("the checkpoint has been judged")

    monkeypatch.setattr(checkpoints, "file_sha256", counted)
    monkeypatch.setattr("exporters.sources.builtin.load_state", stop)
    monkeypatch.setattr("exporters.sources.hub.require_clone", Path)
    monkeypatch.setenv("REPO_DIR", ".")
    ran = command("export", "--source", source, "-w", "vits16", "--precision", "fp32", "bf16")
    assert ran.err.count("the checkpoint has been judged") == 2
    assert len(read) == 1
    assert "hash as in its name" in command("list", "-w", "vits16").out
    command("export", "--source", source, "-w", "vits16")
    assert len(read) == 2, "another command reads it again, whatever is remembered"


def test_a_missing_graph_is_exported_first(match, roots: Path, checkpoint: Path, tmp_path: Path) -> None:
    ran = match("-w", "vits16", "-a", "400.1", "-b", "200.1", "-i", "64")
    assert ran.code == 0, ran.err
    assert f"no graph {roots / 'vits16-fp32.onnx'}; exporting it from {checkpoint}" in ran.out
    assert re.search(r"vits16: .*largest difference [\d.e-]+, smallest cosine [01]\.\d+", ran.out)
    [path] = (tmp_path / "exports" / "pair_match").rglob("*.json")
    text = json.loads(path.read_text("utf-8"))
    assert text["meta"]["ckpt"] == checkpoint.name
    assert text["patch"]["n_a"] == 20
    again = match("-w", "vits16", "-a", "400.1", "-b", "200.2", "-i", "64")
    assert "exporting" not in again.out


@pytest.mark.slow
@pytest.mark.parametrize(("alias", "tokens"), [("vits16+", 20), ("cxTiny", 4), ("vitb16", 20), ("vitl16", 20)])
def test_real_exports_of_every_kind_are_matched(match, tmp_path: Path, monkeypatch, alias: str, tokens: int) -> None:
    """SwiGLU, a stride of 32, and larger ones: 384 x 320 pixels become 80 x 64, or 64 x 64."""
    checkpoint = write_random_checkpoint(backbone(alias), tmp_path / "w")
    monkeypatch.setenv("WEIGHTS_ROOT", str(checkpoint.parent))
    monkeypatch.delenv("GRAPH_ROOT")
    graph = tmp_path / "exports" / "dinov3_graphs" / f"{alias}-fp32.onnx"
    try:
        ran = match("-w", alias, "-a", "400.1", "-b", "200.1", "-i", "64")
        assert ran.code == 0, ran.err
        assert f"{alias}: {graph} on CPUExecutionProvider" in ran.out
        [path] = (tmp_path / "exports" / "pair_match").rglob("*.json")
        text = json.loads(path.read_text("utf-8"))
        assert (text["weight"], text["meta"]["ckpt"]) == (alias, checkpoint.name)
        assert text["patch"]["n_a"] == text["patch"]["n_b"] == tokens
        assert text["patch"]["idx_a"], "random weights still give some mutual matches"
    finally:
        checkpoint.unlink()
        graph.unlink(missing_ok=True)


def test_a_group_takes_what_is_there_and_names_the_rest(command, roots: Path) -> None:
    ran = command("export", "-g", "ViT_LVD1689M")
    assert ran.code == 0, ran.err
    assert "1 of 7 graphs exported" in ran.out
    assert "(WEIGHTS_ROOT): vits16+, vitb16, vitl16, vitl16+, vith16+, vit7b16" in ran.err


def test_the_bundled_checkpoint_is_found_in_the_package(command, roots: Path, tmp_path: Path, monkeypatch) -> None:
    """It lies beside the program, whatever WEIGHTS_ROOT says."""
    packaged = write_random_checkpoint(backbone("vitt16"), tmp_path / "package")
    monkeypatch.setattr(cli_export, "bundled_checkpoint", lambda: packaged)
    ran = command("export", "-w", "vitt16")
    assert ran.code == 0, ran.err
    assert f"vitt16: exporting {packaged}" in ran.out
    assert (roots / "vitt16-fp32.onnx").is_file()


def test_an_altered_checkpoint(command, match, roots: Path, checkpoint: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WEIGHTS_ROOT", str(tmp_path / "w"))
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / checkpoint.name).write_bytes(checkpoint.read_bytes()[:-10])
    ran = command("export", "-w", "vits16")
    assert ran.code == 1
    assert "truncated or altered" in ran.err
    assert checkpoint.name in ran.err
    ran = match("-w", "vits16")
    assert ran.code == 1
    assert "truncated or altered" in ran.err
    assert {path.name for path in roots.glob("*")} <= {".digests.json"}


def test_one_bad_checkpoint_of_a_group_does_not_stop_the_others(
    match, roots: Path, checkpoint: Path, tmp_path: Path, monkeypatch
) -> None:
    weights = tmp_path / "w"
    weights.mkdir()
    monkeypatch.setenv("WEIGHTS_ROOT", str(weights))
    (weights / checkpoint.name).write_bytes(checkpoint.read_bytes()[:-10])
    write_tiny_graph(roots / "vitb16-fp32.onnx", alias="vitb16")
    write_tiny_graph(roots / "vitl16-fp32.onnx", alias="vitl16").write_bytes(b"no graph")
    ran = match("-g", "ViT_LVD1689M", "-a", "400.1", "-b", "200.1")
    assert ran.code == 1
    assert re.search(r"^vits16: .*truncated or altered", ran.err, re.MULTILINE)
    assert re.search(r"^vitl16: .*vitl16-fp32\.onnx", ran.err, re.MULTILINE)
    assert len(ran.err.splitlines()) == 2, "nothing is said of backbones without graph and checkpoint"
    [path] = (tmp_path / "exports" / "pair_match").rglob("*.json")
    assert path.name.startswith("vitb16_")


BLOCKED = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('torch', 'onnx', 'onnxscript', 'transformers'):
            raise ModuleNotFoundError(f'No module named {name!r}', name=name)

sys.meta_path.insert(0, Refuse())
from engine.cli import main
code = main(sys.argv[1:])
assert 'torch' not in sys.modules
sys.exit(code)
"""


def without_torch(tmp_path: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", BLOCKED, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_matching_and_drawing_need_no_torch(tmp_path: Path, data_set: Path, tiny_graph: Path) -> None:
    environment = {
        "IMG_ROOT": str(data_set),
        "EXPORT_ROOT": str(tmp_path / "exports"),
        "GRAPH_ROOT": str(tiny_graph.parent),
    }
    for arguments in (("match", "-e", "--exts", "png", "-a", "400.1"), ("vis", "--all"), ("plugins",)):
        ran = without_torch(tmp_path, *arguments, **environment)
        assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "exports").rglob("*.png"))) == 3


def test_what_needs_torch_says_how_to_get_it(tmp_path: Path, data_set: Path, checkpoint: Path) -> None:
    environment = {
        "IMG_ROOT": str(data_set),
        "EXPORT_ROOT": str(tmp_path / "exports"),
        "WEIGHTS_ROOT": str(checkpoint.parent),
    }
    for arguments in (("export", "-w", "vits16"), ("match", "--exts", "png", "-w", "vits16")):
        ran = without_torch(tmp_path, *arguments, **environment)
        assert ran.returncode == 1
        assert "install the extra 'export'" in ran.stderr
        assert "Traceback" not in ran.stderr
    nowhere = {**environment, "WEIGHTS_ROOT": str(tmp_path / "empty")}
    (tmp_path / "empty").mkdir()
    ran = without_torch(tmp_path, "match", "--exts", "png", "-w", "vits16", **nowhere)
    assert ran.returncode == 1
    assert "no checkpoint of vits16 below" in ran.stderr, "torch would not help here"
    assert "extra 'export'" not in ran.stderr


@pytest.mark.skipif(not bundled_graph().is_file(), reason="the bundled graph is not there")
def test_the_bundled_graph_needs_no_torch(tmp_path: Path, data_set: Path) -> None:
    environment = {"IMG_ROOT": str(data_set), "EXPORT_ROOT": str(tmp_path / "exports")}
    ran = without_torch(tmp_path, "match", "--exts", "png", "-a", "400.1", "-b", "200.1", "-i", "160", **environment)
    assert ran.returncode == 0, ran.stderr
    assert "bundled" in ran.stdout
