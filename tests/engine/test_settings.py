"""`.env` parsing, the environment over it, and the folders they name."""

import random
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.dotenv import parse_dotenv, read_dotenv
from engine.errors import UsageError
from engine.settings import load_roots, read_environment


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("A=1", "1"),
        ("export A=1", "1"),
        ("  A = 1  ", "1"),
        ("A=", ""),
        ("A= # nothing", ""),
        ("A=one two  # comment", "one two"),
        ("A=one#two", "one#two"),
        ("A=#fff", "#fff"),
        ("A=x\t# comment", "x"),
        ("A='one # two'  # comment", "one # two"),
        ('A="one # two"# comment', "one # two"),
        ('A="it\'s"', "it's"),
        (r"A=C:\new\data set\table  # 사진", r"C:\new\data set\table"),
        (r'A="D:\드론 사진\2025\"', "D:\\드론 사진\\2025\\"),
        ("A=/data/드론 사진", "/data/드론 사진"),
        ("A=$HOME/${B}", "$HOME/${B}"),
        ("A=b=c", "b=c"),
    ],
)
def test_a_value_is_read_as_a_person_means_it(line: str, value: str) -> None:
    assert parse_dotenv(line, ".env") == {"A": value}


def test_comments_blank_lines_and_repeated_names() -> None:
    text = "\ufeff# settings\r\n\r\nA=1\r\n   # more\rB=2\nA=3"
    assert parse_dotenv(text, ".env") == {"A": "3", "B": "2"}


@pytest.mark.parametrize("line", ["A", "=1", "1A=2", "A B=3", "A: 1", "A='open", 'A="x" y', "A=\0"])
def test_a_malformed_line_is_named(line: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text(f"OK=1\n\n{line}\n", encoding="utf-8")
    with pytest.raises(UsageError) as raised:
        read_environment({}, tmp_path)
    assert f"{path}, line 3:" in str(raised.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_windows_editors_write(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes("A=드론\r\nB=2\r\n".encode(encoding))
    assert read_dotenv(path) == {"A": "드론", "B": "2"}


def test_another_encoding_is_an_error_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_bytes(b"A=1\n" + "B=드론".encode("cp949"))
    with pytest.raises(UsageError, match=r"line 2: not UTF-8"):
        read_dotenv(path)


def test_a_folder_called_env_is_an_error(tmp_path: Path) -> None:
    (tmp_path / ".env").mkdir()
    with pytest.raises(UsageError, match="is a folder"):
        read_environment({}, tmp_path)


_LINES = st.lists(st.text() | st.from_regex(r"(export )?[A-Z]{1,3} ?= ?['\"]?[^\r\n]{0,9}", fullmatch=True)).map(
    "\n".join
)


@given(_LINES)
def test_any_text_is_read_or_refused_clearly(text: str) -> None:
    values: dict[str, str] = {}
    with suppress(UsageError):
        values = parse_dotenv(text, "some.env")
    assert all(name.isidentifier() and "\n" not in value for name, value in values.items())


_INLINE = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=("Cs",)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_any_bytes_are_read_or_refused_with_the_name_of_the_file(encoding: str, tmp_path: Path) -> None:
    path, rng = tmp_path / ".env", random.Random(encoding)
    whole = "export A=\"드론 사진\"  # comment\r\nB='x'\n\nC=1\n".encode(encoding)
    for _ in range(1000):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 8))):
            at = rng.randrange(len(data) + 1)
            data[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
        path.write_bytes(data)
        values, refused = {}, str(path)
        try:
            values = read_dotenv(path)
        except UsageError as error:
            refused = str(error)
        assert str(path) in refused
        assert all(name.isidentifier() and "\n" not in value for name, value in values.items())


@given(_INLINE.filter(lambda text: '"' not in text))
def test_a_quoted_value_comes_back_unchanged(value: str) -> None:
    assert parse_dotenv(f'A="{value}"  # comment', ".env") == {"A": value}


def test_the_environment_comes_before_the_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("A=file\nB=file\n", encoding="utf-8")
    assert read_environment({"A": "process", "C": "process"}, tmp_path) == {"A": "process", "B": "file", "C": "process"}


def test_the_file_is_looked_for_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("SOME_SETTING_OF_A_TEST=1\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert read_environment()["SOME_SETTING_OF_A_TEST"] == "1"


def test_folders_by_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    roots = load_roots({})
    assert (roots.images, roots.weights) == (tmp_path / "data", tmp_path / "weights")
    assert roots.exports == tmp_path / "exports"
    assert roots.graphs == tmp_path / "exports" / "dinov3_graphs"
    assert roots.embeds == tmp_path / "exports" / "dinov3_embeds"
    assert roots.matches == tmp_path / "exports" / "pair_match"
    assert roots.pictures == tmp_path / "exports" / "pair_viz"
    assert roots.repository is None


def test_host_folders_are_the_defaults(tmp_path: Path) -> None:
    hosts = {
        "DATASET_HOST": str(tmp_path / "d"),
        "WEIGHTS_HOST": str(tmp_path / "w"),
        "EXPORT_HOST": str(tmp_path / "e"),
        "CODE_HOST": str(tmp_path / "c"),
    }
    roots = load_roots({**hosts, "WEIGHTS_ROOT": str(tmp_path / "chosen"), "IMG_ROOT": " "})
    assert (roots.images, roots.weights) == (tmp_path / "d", tmp_path / "chosen")
    assert (roots.exports, roots.repository) == (tmp_path / "e", tmp_path / "c")
    assert roots.matches == tmp_path / "e" / "pair_match"


def test_relative_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    values = {"EXPORT_ROOT": "결과 폴더", "MATCH_ROOT": "m/n", "VIS_ROOT": str(tmp_path / "v"), "GRAPH_ROOT": "g"}
    roots = load_roots(values)
    assert roots.matches == tmp_path / "결과 폴더" / "m" / "n"
    assert roots.pictures == tmp_path / "v"
    assert roots.graphs == tmp_path / "g"


@pytest.mark.parametrize("path", [r"C:\드론\data", "d:/data", r"\\server\share"])
@pytest.mark.parametrize("name", ["IMG_ROOT", "DATASET_HOST", "MATCH_ROOT", "CODE_HOST"])
def test_a_windows_path_elsewhere_is_an_error(name: str, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.settings.os.name", "posix")
    with pytest.raises(UsageError) as raised:
        load_roots({name: path})
    assert name in str(raised.value)
    assert path in str(raised.value)


def test_an_unused_windows_path_does_no_harm(tmp_path: Path) -> None:
    assert load_roots({"IMG_ROOT": str(tmp_path), "DATASET_HOST": r"C:\data"}).images == tmp_path


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    assert load_roots({"IMG_ROOT": "~/photos"}).images == tmp_path / "photos"
    with pytest.raises(UsageError, match="home folder is unknown"):
        load_roots({"IMG_ROOT": "~nobody-of-this-name/photos"})
