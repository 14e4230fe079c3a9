import re
from pathlib import Path

import pytest
from argparse_dataclass import ArgumentParser
from vis_samples import make_roots, vis, write_results

from engine.cli_options import option
from engine.cli_vis import VisOptions, make_strokes, new_verification
from engine.drawing import Strokes
from engine.errors import UsageError
from engine.plugin_registry import Registry, load_registry
from engine.settings import Roots
from engine.store.result_json import read_result
from engine.vis import verify_anew
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
    ("options", "values", "message"),
    [
        ({"ransac": "homografy"}, {}, "Did you mean 'homography'"),
        ({"ransac_method": "cv2_magic"}, {}, "cv2_usac_magsac"),
        ({"ransac": "off", "iters": 5}, {}, "--iters does not apply to the filter 'off'"),
        (
            {"ransac": "similarity", "ransac_method": "cv2_usac_magsac"},
            {},
            "--ransac-method cv2_usac_magsac with the filter 'similarity': the value must be one of cv2_ransac",
        ),
        ({"draw_points": True, "no_points": True}, {}, "-dp and -xp"),
        ({"files": ["nowhere.json"]}, {}, "nowhere.json does not exist"),
        ({}, {"VIS_MAX_LINES": "many"}, "VIS_MAX_LINES: 'many' is not a whole number"),
        ({}, {"VIS_ALPHA": "256"}, "VIS_ALPHA: 256 is outside 0 to 255"),
        ({}, {"VIS_LINEWIDTH": "-2"}, "VIS_LINEWIDTH"),
        ({}, {"VIS_DRAW_POINTS": "maybe"}, "VIS_DRAW_POINTS: 'maybe' is neither yes nor no"),
        ({}, {"VIS_CONFIDENCE": "nan"}, "VIS_CONFIDENCE"),
        ({}, {"VIS_RANSAC": "magic"}, "no filter is called 'magic'"),
    ],
)
def test_bad_values_are_refused_and_nothing_is_drawn(roots, registry, results, options, values, message):
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        vis(VisOptions(**options), roots, registry, values)
    assert caught.value.exit_code == 2
    assert not roots.pictures.exists()


def test_defaults_come_from_vis_variables_and_options_win():
    values = {
        "VIS_RANSAC": "affine",
        "VIS_RANSAC_IMPL": "cv2_ransac",
        "VIS_REPROJ_TH": "4.5",
        "VIS_CONFIDENCE": "0.9",
        "VIS_ITERS": "50",
        "VIS_MAX_LINES": "7",
        "VIS_LINEWIDTH": "-1",
        "VIS_ALPHA": "99",
        "VIS_DRAW_POINTS": "0",
        "VIS_POINT_RADIUS": "6",
    }
    assert make_strokes(VisOptions(), values) == Strokes(7, -1, 99, False, 6)
    asked = new_verification(VisOptions(), values)
    assert asked.filter == "affine"
    assert asked.options == {"ransac_method": "cv2_ransac", "reproj_th": 4.5, "confidence": 0.9, "iters": 50}
    given = VisOptions(ransac="homography", iters=9, max_lines=0, draw_points=True)
    assert make_strokes(given, values) == Strokes(0, -1, 99, True, 6)
    asked = new_verification(given, values)
    assert (asked.filter, asked.options["iters"], asked.sources["iters"]) == ("homography", 9, "--iters")
    assert asked.sources["reproj_th"] == "VIS_REPROJ_TH"


def test_unset_and_empty_variables_ask_for_nothing():
    assert new_verification(VisOptions(), {"VIS_RANSAC": " ", "VIS_ITERS": ""}) is None
    assert make_strokes(VisOptions(), {"VIS_ALPHA": ""}) == Strokes(1000, 3, 180, True, -1)


def test_a_variable_that_the_filter_has_no_use_for_is_left_out(roots, registry, results):
    asked = new_verification(VisOptions(ransac="off"), {"VIS_ITERS": "50"})
    assert verify_anew(read_result(results[0]), asked, registry).filter == "off"


def test_the_command_line_is_read_with_all_short_forms():
    words = "-r R -o O -R affine -m cv2_ransac -t 3.5 -c 0.9 -i 50 -xl 0 -lw -1 -al 20 -dp -pr -1 -a x.json y.json"
    parsed = ArgumentParser(VisOptions).parse_args(words.split())
    expected = VisOptions(
        files=["x.json", "y.json"],
        root="R",
        out="O",
        all=True,
        ransac="affine",
        ransac_method="cv2_ransac",
        reproj_th=3.5,
        confidence=0.9,
        iters=50,
        max_lines=0,
        linewidth=-1,
        alpha=20,
        draw_points=True,
        point_radius=-1,
    )
    assert parsed == expected
    assert ArgumentParser(VisOptions).parse_args(["-xp"]).no_points
    assert not ArgumentParser(VisOptions).parse_args([]).files


@pytest.mark.parametrize("words", [["-al", "300"], ["-lw", "-3"], ["-t", "x"], ["-xl", "1.5"], ["--wrong"]])
def test_wrong_words_on_the_command_line_are_refused(words, capsys):
    with pytest.raises(SystemExit) as caught:
        ArgumentParser(VisOptions).parse_args(words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err


def test_option_writes_its_default_into_the_help():
    assert option(5, "-x", help="50 % of it").metadata["help"] == "50 %% of it (default: 5)"
    assert option(None, "-x", help="size").metadata["help"] == "size"
    assert ArgumentParser(VisOptions).format_help().count("SUPPRESS") == 0
