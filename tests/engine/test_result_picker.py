from pathlib import Path

import pytest
from vis_samples import ALL_PICTURES, Terminal, make_roots, pictures, vis, write_results

from engine.cli_vis import VisOptions
from engine.plugin_registry import Registry, load_registry
from engine.result_picker import PickingStopped, parse_numbers, pick_results, result_folders
from engine.settings import Roots
from plugins import BUILTINS


@pytest.fixture
def registry() -> Registry:
    return load_registry(BUILTINS, entry_points=False)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    return make_roots(tmp_path)


@pytest.fixture
def results(roots: Roots) -> list[Path]:
    return write_results(roots)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("-a\n", ALL_PICTURES),
        ("1\n\n", {"vitt16_400_0001/vitt16_400.0001_200.0001.png"}),
        ("2\n2\n", {"vitt16_400_0002/vitt16_400.0002_200.0002.png"}),
        ("2\n1-2\n", {name for name in ALL_PICTURES if "_0002/" in name}),
        ("9\n\nx\n1 2\n2\n0\n3\n1,z\n1\n", {"vitt16_400_0002/vitt16_400.0002_200.0001.png"}),
        ("2\nb\n1\n1\n", {"vitt16_400_0001/vitt16_400.0001_200.0001.png"}),
    ],
)
def test_in_a_terminal_a_person_picks(roots, registry, results, typed, expected):
    code, said = vis(VisOptions(), roots, registry, typed=typed)
    assert code == 0
    assert pictures(roots.pictures) == expected
    assert "1  vitt16_400_0001  1 file" in said
    assert "2  vitt16_400_0002  2 files" in said


@pytest.mark.parametrize("typed", ["", "2\n", "q\n", "2\nq\n"])
@pytest.mark.parametrize("interrupt", [False, True])
def test_leaving_ends_cleanly(roots, registry, results, typed, interrupt, monkeypatch):
    monkeypatch.setattr(Terminal, "interrupt", interrupt)
    code, said = vis(VisOptions(), roots, registry, typed=typed)
    assert code == 0
    assert said.endswith("nothing drawn\n")
    assert not roots.pictures.exists()


def test_all_asks_nothing_in_a_terminal(roots, registry, results):
    code, said = vis(VisOptions(all=True), roots, registry, typed="")
    assert code == 0
    assert "q to leave" not in said
    assert pictures(roots.pictures) == ALL_PICTURES


def test_wrong_answers_are_explained(results, roots):
    stdout = Terminal()
    with pytest.raises(PickingStopped):
        pick_results(result_folders(roots.matches), Terminal("7\n\n1 2\n"), stdout)
    said = stdout.getvalue()
    assert "7 is not within 1 to 2." in said
    assert "Type the number of a folder" in said
    assert "One folder at a time" in said


def test_numbers_are_taken_in_order_and_once():
    assert parse_numbers("3, 1-2 3", 5) == [2, 0, 1]
    for text in ("0", "6", "3-2", "a", "1..2", "-1", "", "1-9", "999999999999"):
        with pytest.raises(ValueError, match=r"list|within"):
            parse_numbers(text, 5)
