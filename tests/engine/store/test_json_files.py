"""JSON files of an unchanged run are known without being read; what a look at the folder shows is noticed."""

import json
import os
from pathlib import Path

import pytest

from engine.store import json_files


@pytest.fixture
def read(monkeypatch) -> list[Path]:
    """The JSON files that are read, one after the other."""
    seen: list[Path] = []
    real = json_files.existing_digest

    def existing_digest(path: Path) -> object:
        seen.append(path)
        return real(path)

    monkeypatch.setattr(json_files, "existing_digest", existing_digest)
    return seen


def texts(tmp_path: Path) -> dict[Path, str]:
    return {path: path.read_text("utf-8") for path in sorted((tmp_path / "exports" / "pair_match").rglob("*.json"))}


def test_a_second_run_reads_no_json(match, tmp_path: Path, read: list[Path]) -> None:
    assert match().code == 0
    before = texts(tmp_path)
    again = match()
    assert "6 pair(s) already done" in again.out
    assert read == []
    assert texts(tmp_path) == before


def test_without_the_record_they_are_read_once(match, tmp_path: Path, read: list[Path]) -> None:
    assert match().code == 0
    [record] = (tmp_path / "exports").rglob("json.h5")
    record.write_bytes(record.read_bytes()[:-5])
    for reads in (6, 6):
        assert "6 pair(s) already done" in match().out
        assert len(read) == reads


@pytest.mark.parametrize("harm", ["cut", "edited to the same size", "replaced by one of the same time", "deleted"])
def test_harm_is_noticed(match, tmp_path: Path, read: list[Path], harm: str) -> None:
    assert match().code == 0
    before = texts(tmp_path)
    path = next(iter(before))
    facts = path.stat()
    spoiled = before[path].replace('"schema"', '"sch_ma"').encode("utf-8")
    match harm:
        case "cut":
            path.write_bytes(before[path].encode("utf-8")[:-30])
            os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
        case "edited to the same size":
            path.write_bytes(spoiled)
            os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns + 1))
        case "replaced by one of the same time":
            (tmp_path / "other").write_bytes(spoiled)
            os.utime(tmp_path / "other", ns=(facts.st_atime_ns, facts.st_mtime_ns))
            os.replace(tmp_path / "other", path)
        case _:
            path.unlink()
    again = match()
    assert "1 JSON file(s) written from results that were stored already" in again.out
    assert set(read) <= {path}
    assert texts(tmp_path) == before


def test_files_of_other_settings_are_told_apart(match, tmp_path: Path, read: list[Path]) -> None:
    assert match().code == 0
    before = texts(tmp_path)
    assert match("-t", "0.3").code == 0
    back = match()
    assert "6 JSON file(s) written from results that were stored already" in back.out
    assert [json.loads(text)["settings_digest"] for text in texts(tmp_path).values()] == [
        json.loads(text)["settings_digest"] for text in before.values()
    ]


def test_a_changed_photograph_is_matched_again(match, data_set: Path, read: list[Path]) -> None:
    assert match().code == 0
    photographs = sorted(data_set.rglob("*.png"))
    photographs[0].write_bytes(photographs[1].read_bytes())
    again = match()
    assert "3 pair(s) already done" in again.out
    assert "3 file(s) of other settings or older photographs replaced" in again.out


def test_no_more_are_remembered_than_a_bound(match, monkeypatch, read: list[Path]) -> None:
    monkeypatch.setattr(json_files, "AT_MOST", 4)
    assert match().code == 0
    assert "6 pair(s) already done" in match().out
    assert len(read) == 2
