"""Scanning folders of photographs, and naming them by key or path."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dataset import DEFAULT_REGEX, DataSet, distinct_labels, file_entry, scan, scan_for
from engine.errors import DataSetError, KeyNotFoundError, UsageError
from engine.naming import NameRule


def _fill(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


@pytest.fixture
def two_flights(tmp_path: Path) -> Path:
    """Flights A1 and B2; both were at 400, only B2 at 80; frame 2 at 400 is A1's alone."""
    return _fill(
        tmp_path / "드론 사진",
        "A1_400/A1_400_0001.jpg",
        "A1_400/A1_400_0002.JPG",
        "B2_400/B2_400_001.jpg",
        "B2_80/B2_80_10.jpg",
        "B2_80/B2_80_9.jpeg",
    )


def test_photographs_are_found_named_and_ordered(two_flights: Path) -> None:
    dataset = scan(two_flights)
    assert [entry.key for entry in dataset.entries] == ["A1:400.0001", "400.0002", "80.9", "80.10", "B2:400.001"]
    assert [entry.label for entry in dataset.entries] == ["A1_400.0001", "400.0002", "80.9", "80.10", "B2_400.001"]
    first = dataset.entries[0]
    assert (first.flight, first.altitude, first.frame) == ("A1", "400", "0001")
    assert first.path == two_flights / "A1_400" / "A1_400_0001.jpg"


@pytest.mark.parametrize(
    ("argument", "keys"),
    [
        ("400.2", ["400.0002"]),
        ("A1:400.1", ["A1:400.0001"]),
        ("B2:0400.0001", ["B2:400.001"]),
        ("80", ["80.9", "80.10"]),
        ("B2:400", ["B2:400.001"]),
        ("400", ["A1:400.0001", "400.0002", "B2:400.001"]),
    ],
)
def test_finding_by_key(two_flights: Path, argument: str, keys: list[str]) -> None:
    assert [entry.key for entry in scan(two_flights).find(argument)] == keys


def test_every_entry_is_found_by_its_own_key(two_flights: Path) -> None:
    dataset = scan(two_flights)
    for entry in dataset.entries:
        assert dataset.find(entry.key) == (entry,)


def test_a_key_of_several_flights_is_an_error_that_lists_them(two_flights: Path) -> None:
    with pytest.raises(KeyNotFoundError, match=r"fits 2 flights: say which with A1:400\.0001, B2:400\.001"):
        scan(two_flights).find("400.1")


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("80.7", "Nearest at altitude 80: 80.9, 80.10"),
        ("A1:400.9", "Nearest at altitude 400 of flight A1: 400.0002, 400.0001"),
        ("90", "Did you mean 80? Altitudes: 80, 400"),
        ("40", "Did you mean 400? Altitudes: 400, 80"),
        ("A1:80", "Altitudes of flight A1: 400"),
        ("A11:400.1", "There is no flight 'A11'; flights: A1, B2"),
        ("nothing.jpg", "neither a key nor an existing file"),
        ("", "neither a key nor an existing file"),
        ("B2_80\0", "neither a key nor an existing file"),
        ("x" * 5000, "neither a key nor an existing file"),
    ],
)
def test_what_is_not_there_is_an_error_that_says_what_is(two_flights: Path, argument: str, told: str) -> None:
    with pytest.raises(KeyNotFoundError) as raised:
        scan(two_flights).find(argument)
    assert told in str(raised.value)


def test_a_long_list_is_cut(tmp_path: Path) -> None:
    root = _fill(tmp_path, *(f"A_100/A_100_{frame:04}.jpg" for frame in range(200)))
    with pytest.raises(KeyNotFoundError) as raised:
        scan(root).find("100.250")
    assert "100.0199, 100.0198, 100.0197" in str(raised.value)
    assert str(raised.value).endswith("and 192 more")


def test_a_path_into_the_data_set_finds_its_entry(two_flights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = scan(two_flights)
    expected = dataset.find("400.2")
    assert dataset.find(str(two_flights / "A1_400" / "A1_400_0002.JPG")) == expected
    assert dataset.find("A1_400/A1_400_0002.JPG") == expected
    monkeypatch.chdir(two_flights / "B2_80")
    assert dataset.find("../A1_400/A1_400_0002.JPG") == expected
    assert dataset.find("B2_80_9.jpeg") == dataset.find("80.9")


def test_a_path_outside_is_an_entry_of_its_own(two_flights: Path, tmp_path: Path) -> None:
    path = _fill(tmp_path, "다른 폴더/my photo.v2.png") / "다른 폴더" / "my photo.v2.png"
    (entry,) = scan(two_flights).find(str(path))
    assert (entry.key, entry.label, entry.path) == ("다른 폴더/my photo.v2", "다른 폴더_my photo.v2", path)
    assert (entry.flight, entry.altitude, entry.frame) == (None, None, None)


def test_a_folder_is_no_image(two_flights: Path) -> None:
    with pytest.raises(KeyNotFoundError, match="is a folder"):
        scan(two_flights).find(str(two_flights))


@pytest.mark.skipif(os.name == "nt", reason="Windows cannot hold such names")
def test_labels_fit_every_file_system() -> None:
    entry = file_entry(Path('/photos/a:b?"c"/d*e|f<g>\\h.jpg'))
    assert entry.label == "a_b__c__d_e_f_g__h"
    broken = file_entry(Path(os.fsdecode(b"/photos/caf\xe9/x.jpg")))
    assert broken.key.encode() == b"caf\\udce9/x"
    assert broken.label.encode()


def test_labels_that_differ_only_in_case_are_told_apart() -> None:
    entries = [file_entry(Path(name).absolute()) for name in ("Field/one.jpg", "field/ONE.jpg", "field/two.jpg")]
    labels = [entry.label for entry in distinct_labels(entries)]
    assert labels[2] == "field_two"
    assert len({label.casefold() for label in labels}) == 3
    assert labels[0].startswith("Field_one~")
    assert distinct_labels([entries[2]], {"field_two"})[0].label != "field_two"


def test_folders_at_any_depth_and_hidden_ones(tmp_path: Path) -> None:
    root = _fill(
        tmp_path,
        "2025/site/A_1/A_1_1.jpg",
        "A_1_2.jpg",
        ".cache/A_1_3.jpg",
        "@eaDir/A_1_1.jpg",
        "A_1/._A_1_4.jpg",
        "A_1/notes.txt",
    )
    assert [entry.key for entry in scan(root).entries] == ["1.1", "1.2"]


def test_linked_folders_are_followed_once(tmp_path: Path) -> None:
    real = _fill(tmp_path / "real", "A_1_1.jpg")
    root = tmp_path / "root"
    root.mkdir()
    try:
        (root / "link").symlink_to(real, target_is_directory=True)
        (root / "loop").symlink_to(root, target_is_directory=True)
    except OSError:
        pytest.skip("this system does not allow links")
    assert [entry.key for entry in scan(root).entries] == ["1.1"]


def test_two_files_of_one_key_are_an_error_naming_both(tmp_path: Path) -> None:
    root = _fill(tmp_path, "A_400/A_400_0001.jpg", "copy/A_400_1.jpg")
    with pytest.raises(DataSetError) as raised:
        scan(root)
    assert str(root / "A_400" / "A_400_0001.jpg") in str(raised.value)
    assert str(root / "copy" / "A_400_1.jpg") in str(raised.value)


@pytest.mark.parametrize(
    ("names", "told"),
    [
        ([], "The folder holds no files"),
        ([f"A_1_{i}.tif" for i in range(12)], "12 .tif files with such names: use --exts tif"),
        (["DJI_0001.JPG", "DJI_0002.JPG"], "2 .jpg files with other names, such as DJI_0001.JPG"),
        (["notes.txt", "a.csv", "b.csv"], "2 files .csv, 1 files .txt"),
    ],
)
def test_an_empty_data_set_says_what_is_there_instead(tmp_path: Path, names: list[str], told: str) -> None:
    with pytest.raises(DataSetError) as raised:
        scan(_fill(tmp_path, *names))
    assert told in str(raised.value)
    assert "<ID>_<ALT>_<FRAME>" in str(raised.value)


def test_a_missing_folder_or_a_file_in_its_place(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="does not exist"):
        scan(tmp_path / "없는 폴더")
    with pytest.raises(DataSetError, match="is a file, not a folder"):
        scan(_fill(tmp_path, "data.zip") / "data.zip")


def test_an_unreadable_folder_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fill(tmp_path, "A_1/A_1_1.jpg", "B_1/B_1_1.jpg")
    real_scandir = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("B_1"):
            raise PermissionError(13, "Permission denied", str(path))
        return real_scandir(path)

    monkeypatch.setattr("os.scandir", scandir)
    with pytest.raises(DataSetError, match=r"B_1 cannot be read: Permission denied"):
        scan(tmp_path)


def test_suffixes_as_people_write_them(tmp_path: Path) -> None:
    root = _fill(tmp_path, "A_1_1.TIF", "A_1_2.png", "A_1_3.jpg")
    for exts in (["tif", "png"], [".TIF", "*.png"], ["tif,png"]):
        assert [entry.key for entry in scan(root, exts=exts).entries] == ["1.1", "1.2"]


@pytest.mark.parametrize("exts", [[], [""], ["."], ["*"], ["a/b"], ["*.*"]])
def test_suffixes_that_are_none(exts: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--exts"):
        scan(tmp_path, exts=exts)


def test_another_rule_for_names(tmp_path: Path) -> None:
    root = _fill(tmp_path, "m80 DJI_20250912_0007.jpg", "A_1_1.jpg")
    for regex in (r"m(?P<alt>\d+) DJI_(?P<id>\d+)_(?P<frame>\d+)", r"m(?P<alt>\d+) (?P<id>.+)_(?P<frame>\d+)\.jpg"):
        (entry,) = scan(root, regex).entries
        assert (entry.key, entry.altitude, entry.frame) == ("80.0007", "80", "0007")


@pytest.mark.parametrize(
    ("regex", "told"),
    [
        ("(", "is not a regular expression"),
        ("(?P<id>a{99999999999999999999})", "is not a regular expression"),
        (r"(?L)(?P<id>a)", "is not a regular expression"),
        (r"(?P<id>\w+)_(?P<frame>\d+)", r"lacks (?P<alt>…)"),
        ("", "lacks (?P<id>…), (?P<alt>…), (?P<frame>…)"),
        (r"(?P<id>A)_(?P<alt>\w+)_(?P<frame>\d+)", "its altitude '12m' is not"),
    ],
)
def test_a_rule_that_cannot_be_used(tmp_path: Path, regex: str, told: str) -> None:
    with pytest.raises(UsageError) as raised:
        scan(_fill(tmp_path, "A_12m_1.jpg"), regex)
    assert told in str(raised.value)


@given(st.text(max_size=30) | st.text("()[]{}?P<>idaltfrme+*.^$|0123456789:", max_size=40))
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_any_rule_is_taken_or_refused(regex: str) -> None:
    with suppress(UsageError):
        assert {"id", "alt", "frame"} <= set(NameRule.make(regex).pattern.groupindex)


@given(st.text(max_size=30))
def test_any_file_name_fits_the_default_rule_or_not(name: str) -> None:
    key = NameRule.make().key_of(name)
    assert key is None or name.startswith(f"{key.flight}_{key.altitude}_{key.frame}")


@given(st.from_regex(DEFAULT_REGEX, fullmatch=True), st.sampled_from(["jpg", "JPG", "Jpeg"]))
def test_every_name_of_the_default_rule_fits(stem: str, suffix: str) -> None:
    rule = NameRule.make()
    key = rule.key_of(f"{stem}.{suffix}")
    assert rule.takes_suffix(f"{stem}.{suffix}")
    assert key is not None
    assert f"{key.flight}_{key.altitude}_{key.frame}" == stem


def test_no_data_set_is_needed_for_two_files(tmp_path: Path) -> None:
    a, b = (str(_fill(tmp_path, name) / name) for name in ("a.png", "b.png"))
    missing = tmp_path / "missing"
    assert scan_for(missing, (a, b)) == DataSet(missing, ())
    for arguments in ((a, None), (a, "400.1"), (a, str(missing / "c.png"))):
        with pytest.raises(DataSetError, match="does not exist"):
            scan_for(missing, arguments)
    with pytest.raises(UsageError, match="--regex"):
        scan_for(missing, (a, b), regex="(")
