"""The wheel and the source archive: everything the program needs is inside, and it runs where the clone is not."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("engine", "exporters", "models", "plugins")
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.egg-info", "build", "dist", ".*")


def run(command: list[str | Path], cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    values = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    return subprocess.run(command, cwd=cwd, env=values, capture_output=True, text=True, encoding="utf-8", check=False)


def source_copy(folder: Path) -> Path:
    """What the wheel is made of, apart from the clone: building leaves files behind."""
    for name in (*PACKAGES, "docker", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=NOT_SHIPPED)
    for path in ROOT.iterdir():
        if path.is_file() and (not path.name.startswith(".") or path.name in (".env.example", ".dockerignore")):
            shutil.copy(path, folder)
    return folder


def build_wheel(source: Path, target: Path) -> Path:
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--wheel-dir", str(target)]
    done = run([sys.executable, "-m", "pip", "wheel", *options, "."], source)
    assert done.returncode == 0, done.stderr
    (wheel,) = target.glob("*.whl")
    return wheel


def contents(wheel: Path) -> dict[str, int]:
    """File names of a wheel with their CRC, without its own records."""
    with zipfile.ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if ".dist-info/" not in entry.filename}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(source_copy(tmp_path_factory.mktemp("source")), tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as an ordinary installation, in a folder of its own; the libraries are this environment's."""
    folder = tmp_path_factory.mktemp("installed")
    options = ["--no-deps", "--no-index", "--quiet", "--target", str(folder)]
    done = run([sys.executable, "-m", "pip", "install", *options, wheel], folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_wheel_holds_every_file_of_the_four_packages_and_nothing_else(wheel: Path) -> None:
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and path.suffix not in (".pyc", ".pyo")
    }
    assert set(contents(wheel)) == expected


def test_the_wheel_carries_the_bundled_backbone_its_graph_and_type_markers(wheel: Path) -> None:
    names = set(contents(wheel))
    assert any(name.endswith(".onnx") for name in names)
    assert any(name.endswith(".pth") for name in names)
    assert {f"{package}/py.typed" for package in PACKAGES} <= names
    assert wheel.stat().st_size < 40e6


def test_the_wheel_describes_itself(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        info = next(name.split("/")[0] for name in archive.namelist() if ".dist-info/" in name)
        metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
        scripts = archive.read(f"{info}/entry_points.txt").decode()
        assert any(name.endswith("LICENSE") for name in archive.namelist())
    assert metadata["Name"] == "dinov3-match"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata["Requires-Python"] == "<3.14,>=3.11"
    assert set(metadata.get_all("Provides-Extra", [])) >= {"cpu", "gpu", "gpu-cu13", "export", "test"}
    assert "engine = engine.__main__:main" in scripts
    always = {
        requirement.name
        for requirement in map(Requirement, metadata.get_all("Requires-Dist", []))
        if requirement.marker is None
    }
    assert not always & {"torch", "onnx", "onnxruntime", "onnxruntime-gpu"}


def test_the_source_archive_builds_the_same_wheel_and_holds_what_a_clone_holds(wheel: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    source_copy(source)
    code = f"import setuptools.build_meta as backend; print(backend.build_sdist({str(tmp_path)!r}))"
    done = run([sys.executable, "-c", code], source)
    assert done.returncode == 0, done.stderr
    with tarfile.open(next(tmp_path.glob("*.tar.gz"))) as archive:
        archive.extractall(tmp_path, filter="data")
    (unpacked,) = (path for path in tmp_path.glob("dinov3_match-*") if path.is_dir())
    for name in ("Makefile", "constraints.txt", "Dockerfile", "docker/bin/run", "docker-compose.yml", ".env.example"):
        assert unpacked.joinpath(name).is_file(), name
    assert contents(build_wheel(unpacked, tmp_path / "again")) == contents(wheel)


def test_the_command_runs_from_the_installation_alone(installed: Path, tmp_path: Path) -> None:
    code = "import engine.install_check as check; print(check.foreign_package(), check.__file__)"
    where = run([sys.executable, "-c", code], tmp_path, PYTHONPATH=str(installed))
    assert where.stdout.split() == ["None", str(installed / "engine" / "install_check.py")], where.stderr
    done = run([installed / "bin" / "engine", "plugins"], tmp_path, PYTHONPATH=str(installed))
    assert done.returncode == 0, done.stderr
    assert "mutual_knn" in done.stdout


@pytest.mark.skipif(os.name == "nt", reason="the wrappers are POSIX shell scripts of the image")
@pytest.mark.parametrize(("wrapper", "option"), [("run", "--matcher"), ("vis", "--max-lines")])
def test_the_image_s_short_commands_reach_the_program(
    installed: Path, tmp_path: Path, wrapper: str, option: str
) -> None:
    path = f"{installed / 'bin'}{os.pathsep}{os.environ['PATH']}"
    script = ROOT / "docker" / "bin" / wrapper
    done = run(["/bin/sh", script, "--help"], tmp_path, PYTHONPATH=str(installed), PATH=path)
    assert done.returncode == 0, done.stderr
    assert option in done.stdout
