import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.store.names import escape, folder_name, image_name, shorten, unescape
from engine.store.result_json import result_path

FORBIDDEN = re.compile(r'[<>:"/\\|?*\x00-\x1f]')
LABELS = st.text(max_size=60)
TRICKY = st.text(alphabet="_.%aA0/ ", max_size=8)


@given(st.text())
def test_escaping_is_reversible_and_valid_on_windows(text):
    part = escape(text)
    assert FORBIDDEN.search(part) is None
    assert unescape(part) == text


@given(st.text(min_size=1, max_size=300))
def test_folder_names_end_in_nothing_that_windows_drops_and_fit_in_a_name(text):
    name = folder_name(escape(text))
    assert name[-1] not in " ."
    assert len(name.encode()) <= 200


def test_ordinary_names_stay_readable():
    assert escape("vitl16+") == "vitl16+"
    assert escape("드론 사진_400.0001") == "드론 사진_400.0001"
    assert escape("250912150549:400.0001") == "250912150549%3A400.0001"


def test_result_paths_follow_the_documented_scheme():
    assert result_path(Path("m"), "vitl16", "400.0001", "200.0003") == Path(
        "m/vitl16_400_0001/vitl16_400.0001_200.0003.json"
    )
    assert result_path(Path("m"), "vits16+", "250912_400.0001", "250913_400.0001") == Path(
        "m/vits16+_250912_400_0001/vits16+_250912_400.0001_250913_400.0001.json"
    )
    assert result_path(Path("m"), "vitt16", "내 사진/점심 1", "200.0003") == Path(
        "m/vitt16_내 사진%2F점심 1/vitt16_내 사진%2F점심 1_200.0003.json"
    )


@given(st.tuples(TRICKY, TRICKY), st.tuples(TRICKY, TRICKY))
def test_different_pairs_have_different_paths(one, other):
    paths = [result_path(Path("m"), "vitt16", *labels) for labels in (one, other)]
    assert (paths[0] == paths[1]) == (one == other)


@given(LABELS, LABELS)
def test_every_part_of_a_result_path_is_a_valid_name(a, b):
    path = result_path(Path("m"), "vits16+", a, b)
    assert len(path.parts) == 3
    for part in path.parts[1:]:
        assert FORBIDDEN.search(part) is None
        assert part[-1] not in " ."
        assert len(part.encode()) <= 205


def test_names_too_long_are_cut_and_still_differ():
    one, other = shorten("가" * 100 + "1"), shorten("가" * 100 + "2")
    assert one != other
    assert one.startswith("가" * 60)


def test_images_are_named_relative_to_the_root():
    root = Path("/data/항공 사진")
    assert image_name(root / "1_400" / "1_400_0001.jpg", root) == "1_400/1_400_0001.jpg"
    assert image_name(root / "a" / ".." / "b.jpg", root) == "b.jpg"
    assert image_name(Path("/data/b.jpg"), root) == "../b.jpg"
    assert image_name(Path("/elsewhere/b.jpg"), root) == "../../elsewhere/b.jpg"


def test_an_image_outside_never_has_the_name_of_one_inside():
    root = Path("/data")
    assert image_name(Path("/x/y.jpg"), root) != image_name(root / "x" / "y.jpg", root)


@pytest.mark.parametrize("name", ["a.jpg", "가 나/다.jpg"])
def test_links_are_not_followed(tmp_path, name):
    real = tmp_path / "real.jpg"
    real.touch()
    link = tmp_path / "root" / name
    link.parent.mkdir(parents=True)
    link.symlink_to(real)
    assert image_name(link, tmp_path / "root") == name
