"""`engine doctor` as people run it: what it finds on a good machine, on a bad one, and its exit codes."""

import json
import os
from pathlib import Path

import pytest
from conftest import texture, write_photograph


@pytest.fixture
def doctor(command, monkeypatch):
    """Runs the command in 80 columns on photographs with the suffix that it looks for."""
    monkeypatch.setenv("COLUMNS", "80")
    Path(os.environ["WEIGHTS_ROOT"]).mkdir()
    for number in (1, 2):
        pixels = texture(160, 200, number)
        write_photograph(Path(os.environ["IMG_ROOT"]) / "C3_400" / f"C3_400_000{number}.jpg", pixels)
    return lambda *arguments: command("doctor", *arguments)


def checks(ran) -> dict[str, dict[str, str]]:
    return {entry["name"]: entry for entry in json.loads(ran.out)["checks"]}


def test_a_good_machine(doctor, tmp_path: Path) -> None:
    ran = doctor()
    assert ran.code == 0, ran.out
    assert ran.err == ""
    assert max(len(line) for line in ran.out.splitlines() if "/" not in line) <= 80
    assert "This machine can do the job." in ran.out
    assert not (tmp_path / "exports").exists(), "it leaves nothing behind"
    titles = [line for line in ran.out.splitlines() if line and not line.startswith(" ")][:-1]
    assert titles[:6] == ["program", "computing", "settings", "weights", "photographs", "results"]


def test_as_json_it_says_the_same(doctor) -> None:
    ran = doctor("--json")
    said = json.loads(ran.out)
    assert ran.code == 0
    assert said["verdict"] in ("ok", "warning")
    assert {entry["status"] for entry in said["checks"]} <= {"ok", "warning"}
    found = checks(ran)
    assert found["photographs"]["text"].endswith("1 flight(s); by altitude 400: 2")
    assert found["unreadable"]["text"] == "none (all 2 decoded)"
    assert found["Python"]["status"] == "ok"
    assert found["on cpu"]["text"].startswith("runs, ")
    assert int(found["on cpu"]["text"].split()[1]) > 50, "operators, counted in ONNX Runtime's own profile"


def test_photographs_that_are_copies_empty_or_broken(doctor, tmp_path: Path) -> None:
    folder = tmp_path / "images" / "C3_400"
    folder.mkdir(parents=True, exist_ok=True)
    pixels = texture(160, 200, 1)
    original = write_photograph(folder / "C3_400_0003.jpg", pixels)
    (folder / "C3_400_0004.jpg").write_bytes(original.read_bytes())
    (folder / "C3_400_0005.jpg").write_bytes(b"")
    (folder / "C3_400_0006.jpg").write_bytes(original.read_bytes()[:900])
    ran = doctor("--json")
    found = checks(ran)
    assert ran.code == 1
    assert found["duplicates"]["status"] == "warning"
    assert "400.0003 = 400.0004" in found["duplicates"]["text"]
    assert found["unreadable"]["status"] == "problem"
    assert found["unreadable"]["text"].startswith("2 (all 6 decoded): ")
    assert "400.0005: the file is empty" in found["unreadable"]["text"]
    assert "400.0006: " in found["unreadable"]["text"]


def test_settings_that_keep_every_command_from_starting(doctor, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / ".env").write_text("IMG_ROOT=/somewhere\nnonsense\n")
    ran = doctor("--json")
    assert ran.code == 1
    assert checks(ran)[".env"]["status"] == "problem"
    assert "line 2" in checks(ran)[".env"]["text"]


@pytest.mark.skipif(os.name == "nt", reason="such paths are right there")
def test_a_windows_path_on_another_system(doctor, monkeypatch) -> None:
    monkeypatch.setenv("WEIGHTS_ROOT", "D:\\drone\\weights")
    ran = doctor("--json")
    assert ran.code == 1
    assert checks(ran)["paths"]["status"] == "problem"
    assert "/mnt/d/drone/weights" in checks(ran)["paths"]["advice"]


@pytest.mark.skipif(os.name == "nt", reason="such paths are right there")
def test_one_bad_path_hides_no_other_fault(doctor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("IMG_ROOT", "D:\\photos")
    monkeypatch.setenv("EXPORT_ROOT", "E:\\exports")
    monkeypatch.setenv("WEIGHTS_ROOT", str(tmp_path / "no weights"))
    monkeypatch.setenv("MATCH_ROOT", str(tmp_path / "matches"))
    ran = doctor("--json")
    assert ran.code == 1
    said = json.loads(ran.out)["checks"]
    paths = [entry["text"] for entry in said if entry["name"] == "paths"]
    assert [text.split()[0] for text in paths] == ["IMG_ROOT", "EXPORT_ROOT"]
    assert str(tmp_path / "no weights") in checks(ran)["checkpoints"]["text"]
    assert checks(ran)["MATCH_ROOT"]["status"] == "ok"
    assert "VIS_ROOT" not in checks(ran)


def test_folders_that_are_missing(doctor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WEIGHTS_ROOT", str(tmp_path / "no weights"))
    monkeypatch.setenv("IMG_ROOT", str(tmp_path / "no photographs"))
    found = checks(doctor("--json"))
    assert found["checkpoints"]["status"] == found["photographs"]["status"] == "problem"
    assert str(tmp_path / "no weights") in found["checkpoints"]["text"]
    assert "IMG_ROOT" in found["photographs"]["advice"]


def test_a_file_where_results_should_go(doctor, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("MATCH_ROOT", str(tmp_path / "file" / "matches"))
    ran = doctor("--json")
    assert ran.code == 1
    assert checks(ran)["MATCH_ROOT"]["status"] == "problem"
    assert "is a file where a folder is needed" in checks(ran)["MATCH_ROOT"]["text"]
    assert (tmp_path / "file").read_text() == "not a folder"


def test_a_problem_is_seen_on_the_page_with_what_to_do(doctor, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("WEIGHTS_ROOT", str(tmp_path / "no weights"))
    ran = doctor()
    assert ran.code == 1
    lines = ran.out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("  PROBLEM  checkpoints"))
    assert any("-> set WEIGHTS_ROOT" in line for line in lines[at : at + 4])
    assert "1 problem: do what the arrows say" in ran.out
