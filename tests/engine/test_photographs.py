from pathlib import Path

import numpy as np
import pytest
from vis_samples import make_roots, save_photograph

from engine.errors import DataSetError
from engine.photographs import Photographs
from engine.settings import Roots


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return make_roots(tmp_path)


def test_moved_photographs_are_found(roots, tmp_path):
    path = save_photograph(roots.images, "250912150549", 400, 1)
    gone = "/opt/datasets/250912150549_400/250912150549_400_0001.jpg"
    assert Photographs(roots.images).find(gone, "400.0001") == path
    assert Photographs(roots.images).find(gone.replace("/", "\\"), "400.0001") == path
    sorted_away = roots.images / "여름" / "x" / path.name
    sorted_away.parent.mkdir(parents=True)
    path.rename(sorted_away)
    assert Photographs(roots.images).find(gone, "400.0001") == sorted_away
    renumbered = sorted_away.with_name("250912150549_0400_01.jpg")
    sorted_away.rename(renumbered)
    assert Photographs(roots.images).find(gone, "250912150549:400.0001") == renumbered
    assert Photographs(tmp_path / "elsewhere").find(str(renumbered), "x") == renumbered


def test_a_photograph_found_nowhere_or_twice_is_an_error(roots, tmp_path):
    gone = "/opt/datasets/250912150549_400/250912150549_400_0001.jpg"
    with pytest.raises(DataSetError, match=r"does not exist.*IMG_ROOT"):
        Photographs(tmp_path / "nowhere").find(gone, "400.0001")
    save_photograph(roots.images, "250912150549", 400, 2)
    with pytest.raises(DataSetError, match=r"400\.0001.*IMG_ROOT"):
        Photographs(roots.images).find(gone, "400.0001")
    for folder in ("a", "b"):
        save_photograph(roots.images / folder / "x", "250912150549", 400, 1)
    for folder in ("a", "b"):
        (roots.images / folder / "x" / "250912150549_400").rename(roots.images / folder / "y")
    with pytest.raises(DataSetError, match="several files"):
        Photographs(roots.images).find(gone, "400.0001")


def test_photographs_are_decoded_once_while_they_are_among_the_last_used(roots, monkeypatch):
    decoded = []

    def counting(path):
        decoded.append(path)
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr("engine.photographs.read_image", counting)
    photographs = Photographs(roots.images)
    for partner in range(6):
        photographs.read(Path("a.jpg"))
        photographs.read(Path(f"{partner}.jpg"))
    assert decoded.count(Path("a.jpg")) == 1
    assert len(decoded) == 7
