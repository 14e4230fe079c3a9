"""Folders for files in the making: removed when abandoned, never while in use."""

from pathlib import Path

import pytest
from large_files import remove_large_files  # noqa: F401

from exporters.aside import folder_aside, publish


def test_a_file_appears_under_its_final_name_only_when_published(tmp_path: Path) -> None:
    final = tmp_path / "new folder" / "a.onnx"
    with folder_aside(final) as aside:
        (aside / "a.onnx").write_text("whole")
        assert not final.exists()
        publish(aside / "a.onnx", final)
    assert final.read_text() == "whole"
    assert list(final.parent.iterdir()) == [final]


def test_an_error_leaves_nothing(tmp_path: Path) -> None:
    def fail_half_way() -> None:
        with folder_aside(tmp_path / "a.onnx") as aside:
            (aside / "a.onnx").write_text("half")
            raise RuntimeError("half way")

    with pytest.raises(RuntimeError, match="half way"):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_abandoned_folders_of_the_same_graph_are_removed(tmp_path: Path) -> None:
    mine, bare, others = (tmp_path / name for name in ("a.onnx.x1.partial", "a.onnx.x2.partial", "b.onnx.x.partial"))
    for folder in (mine, bare, others):
        folder.mkdir()
        (folder / "half").write_text("half")
    for folder in (mine, others):
        (folder / "lock").touch()
    with folder_aside(tmp_path / "a.onnx"):
        pass
    assert list(tmp_path.iterdir()) == [others]


def test_a_folder_in_use_stays(tmp_path: Path) -> None:
    with folder_aside(tmp_path / "a.onnx") as first:
        (first / "a.onnx").write_text("in the making")
        with folder_aside(tmp_path / "a.onnx") as second:
            assert first != second
        assert (first / "a.onnx").read_text() == "in the making"
        assert not second.exists()
