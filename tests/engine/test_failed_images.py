"""Photographs that cannot be read: the rest is done, they are listed with reasons in a file, and tried again."""

import pytest
from conftest import texture, write_photograph, write_tiny_graph

from engine.cli import main
from engine.dataset import ImageEntry
from engine.failed_images import failed_list_path, update_failed_list
from engine.pipeline import FailedImage


@pytest.fixture
def exports(tmp_path, data_set, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("IMG_ROOT", str(data_set))
    monkeypatch.setenv("EXPORT_ROOT", str(tmp_path / "exports"))
    write_tiny_graph(tmp_path / "exports/dinov3_graphs/vits16-fp32.onnx")
    return tmp_path / "exports"


def test_bad_photographs_do_not_stop_a_run_and_are_tried_again(exports, data_set, capsys):
    bad = data_set / "A1_400/A1_400_0002.png"
    good = bad.read_bytes()
    bad.write_bytes(good[:300])
    (data_set / "B2_200/B2_200_0001.png").write_bytes(b"")
    assert main(["match", "--exts", "png", "-i", "96"]) == 1
    listed = (exports / "pair_match/vits16_failed.txt").read_text("utf-8").splitlines()
    assert [line.split("\t")[0] for line in listed] == ["400.0002", "200.0001"]
    assert [line.split("\t")[1] for line in listed] == [str(bad), str(data_set / "B2_200/B2_200_0001.png")]
    assert "0 bytes" in listed[1].split("\t")[2]
    error = capsys.readouterr().err
    assert "2 photograph(s) could not be read" in error
    assert "vits16_failed.txt" in error
    assert len(list((exports / "pair_match").rglob("*.json"))) == 1
    bad.write_bytes(good)
    assert main(["match", "--exts", "png", "-i", "96", "-a", "400"]) == 1
    (left,) = (exports / "pair_match/vits16_failed.txt").read_text("utf-8").splitlines()
    assert left.startswith("200.0001\t")
    write_photograph(data_set / "B2_200/B2_200_0001.png", texture(96, 128))
    assert main(["match", "--exts", "png", "-i", "96"]) == 0
    assert not (exports / "pair_match/vits16_failed.txt").exists()
    assert len(list((exports / "pair_match").rglob("*.json"))) == 6


def test_embedding_lists_them_below_its_own_root(exports, data_set):
    (data_set / "A1_400/A1_400_0001.png").write_bytes(b"no picture")
    assert main(["embed", "--exts", "png", "-i", "96"]) == 1
    assert "no picture" in (exports / "dinov3_embeds/vits16_failed.txt").read_text("utf-8")


def test_lines_of_photographs_not_tried_stay(tmp_path):
    entries = [ImageEntry(f"4.{n}", f"4.{n}", tmp_path / f"{n}\n\udcff.jpg", "A", "4", str(n)) for n in range(3)]
    path = failed_list_path(tmp_path, "vits16+")
    assert update_failed_list(path, entries, [FailedImage(entry, "bad\tand\nbroken") for entry in entries]) == 3
    assert update_failed_list(path, entries[:2], [FailedImage(entries[1], "worse")]) == 2
    assert [line.split("\t")[::2] for line in path.read_text("utf-8").splitlines()] == [
        ["4.2", "bad and broken"],
        ["4.1", "worse"],
    ]
    assert update_failed_list(path, entries, []) == 0
    assert not path.exists()
