"""Starting the program where a package that it needs is broken."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def start(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "engine", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT))), "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )


@pytest.mark.parametrize("command", ["doctor", "match"])
def test_a_broken_package_is_named_with_what_to_do(tmp_path: Path, command: str) -> None:
    (tmp_path / "h5py.py").write_text("raise ImportError('libhdf5.so.310: cannot open shared object file')")
    ran = start(tmp_path, command)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert "engine: it cannot start, because libhdf5.so.310" in ran.stderr
    assert "  PROBLEM  h5py           cannot be imported: ImportError: libhdf5.so.310" in ran.stderr
    assert "-> pip install --force-reinstall h5py" in ran.stderr


@pytest.mark.parametrize("package", ["numpy", "pluggy", "cv2"])
def test_a_missing_package_is_no_traceback(tmp_path: Path, package: str) -> None:
    (tmp_path / f"{package}.py").write_text(f"raise ModuleNotFoundError(\"No module named '{package}'\")")
    ran = start(tmp_path, "match")
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert f"engine: it cannot start, because No module named '{package}'" in ran.stderr
    assert "-> pip install --force-reinstall" in ran.stderr


def test_a_failure_is_said_once_and_in_words(tmp_path: Path) -> None:
    """In a process of its own, as handlers of the test runner would hide what Python prints for want of one."""
    ran = start(tmp_path, "match", "--matcher", "mutual_kn", "-a", "400.0001", "-b", "200.0001")
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.splitlines() == [
        "engine: no matcher is called 'mutual_kn'. Did you mean 'mutual_knn'? Known: mutual_knn, ratio_test"
    ]


def test_a_sound_installation_starts(tmp_path: Path) -> None:
    ran = start(tmp_path, "--version")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("dinov3-match ")
