"""`engine demo --images` on folders of any kind, with the bundled backbone."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Ran, texture, write_photograph


@pytest.fixture
def demo(command: Callable[..., Ran], tmp_path: Path) -> Callable[[Path], Ran]:
    return lambda images: command("demo", "--images", images, "--out", tmp_path / "out", "-i", "96")


def pair(folder: Path, names: tuple[str, str], seed: int) -> Path:
    ground = texture(260, 340, seed)
    for number, name in enumerate(names):
        write_photograph(folder / name, np.ascontiguousarray(ground[:240, 20 * number : 20 * number + 320]))
    return folder


def reported(out: Path) -> list[str]:
    text = (out / "report" / "data" / "run.js").read_text("utf-8")
    return sorted(name for name in ("one/left", "two/left", "400.0001", "200.0001") if name in text)


def test_pictures_of_any_names_are_matched_and_reported_alone(demo: Callable[[Path], Ran], tmp_path: Path) -> None:
    first = demo(pair(tmp_path / "one", ("left.png", "오른쪽.png"), 1))
    assert first.code == 0, first.err
    assert "one/left" in first.out
    assert reported(tmp_path / "out") == ["one/left"]
    second = demo(pair(tmp_path / "two", ("left.png", "right.png"), 2))
    assert second.code == 0, second.err
    assert reported(tmp_path / "out") == ["two/left"], "what an earlier run matched is not this run's result"


def test_a_data_set_keeps_its_keys(demo: Callable[[Path], Ran], tmp_path: Path) -> None:
    ran = demo(pair(tmp_path / "set", ("A1_400_0001.jpg", "B2_200_0001.jpg"), 3))
    assert ran.code == 0, ran.err
    assert reported(tmp_path / "out") == ["200.0001", "400.0001"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda folder: None, "does not exist"),
        (lambda folder: folder.write_text("no folder"), "is a file, not a folder"),
        (lambda folder: folder.mkdir(), "and 0 is there"),
        (lambda folder: write_photograph(folder / "one.png", texture(64, 64)), "and 1 is there"),
    ],
)
def test_errors_name_options_that_the_demo_has(
    demo: Callable[[Path], Ran], tmp_path: Path, make: Callable[[Path], object], said: str
) -> None:
    make(tmp_path / "mine")
    ran = demo(tmp_path / "mine")
    assert ran.code == 1
    assert f"--images {tmp_path / 'mine'}" in ran.err
    assert said in ran.err
    for other in ("--regex", "--exts", "IMG_ROOT", " -a"):
        assert other not in ran.err
