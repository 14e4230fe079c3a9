"""`engine match` as its users see it: which pairs, which graph, which provider, and what a run leaves behind."""

import dataclasses
import json
import shutil
import sys
from collections import Counter
from pathlib import Path

import pytest
from conftest import write_photograph, write_tiny_graph

from engine.cli import build_parser
from engine.cli_match_options import MatchOptions
from engine.errors import GraphError
from engine.matcher import Matcher
from models import contract
from models.bundled import bundled_graph

ALL_PAIRS = {
    "400.0001 - 400.0002",
    "400.0001 - 200.0001",
    "400.0001 - 200.0002",
    "400.0002 - 200.0001",
    "400.0002 - 200.0002",
    "200.0001 - 200.0002",
}
ACROSS = {pair for pair in ALL_PAIRS if pair.startswith("400") and " 200" in pair}


def json_files(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.json"))


def documents(folder: Path) -> list[dict]:
    return [json.loads(path.read_text("utf-8")) for path in json_files(folder)]


def pairs_of(folder: Path) -> set[str]:
    return {f"{text['images']['a']['key']} - {text['images']['b']['key']}" for text in documents(folder)}


def matches(tmp_path: Path) -> Path:
    return tmp_path / "exports" / "pair_match"


@pytest.mark.parametrize(
    ("field", "flags", "default"),
    [
        ("weights", ("-w", "--weights"), ()),
        ("group", ("-g", "--group"), None),
        ("all_weights", ("--all-weights",), False),
        ("image_size", ("-i", "--image-size"), 336),
        ("max_features", ("-x", "--max-features"), 1000),
        ("match_th", ("-t", "--match-th"), 0.1),
        ("keypoint_th", ("-k", "--keypoint-th"), 0.015),
        ("line_th", ("-l", "--line-th"), 0.2),
        ("save_emb", ("-e", "--save-emb"), False),
        ("provider", ("--provider", "--device"), "auto"),
        ("matcher", ("--matcher",), "mutual_knn"),
        ("filter", ("--filter",), "homography"),
        ("matcher_options", ("-M",), ()),
        ("filter_options", ("-F",), ()),
        ("ransac_method", ("--ransac-method",), None),
        ("reproj_th", ("--reproj-th",), None),
        ("confidence", ("--confidence",), None),
        ("iters", ("--iters",), None),
        ("image_a", ("-a",), None),
        ("image_b", ("-b",), None),
        ("regex", ("--regex",), None),
        ("exts", ("--exts",), ()),
        ("tag", ("--tag",), None),
    ],
)
def test_names_short_forms_and_defaults(field: str, flags: tuple[str, ...], default: object) -> None:
    actions = {action.dest: action for action in build_parser()[1]["match"]._actions}
    assert set(flags) <= set(actions[field].option_strings)
    assert {entry.name: entry.default for entry in dataclasses.fields(MatchOptions)}[field] == default


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ALL_PAIRS),
        (("-a", "400", "-b", "200"), ACROSS),
        (("-a", "400.0001", "-b", "200.0001"), {"400.0001 - 200.0001"}),
        (("-a", "0400.1", "-b", "200.00001"), {"400.0001 - 200.0001"}),
        (("-a", "200.0002", "-b", "400.0001"), {"200.0002 - 400.0001"}),
        (("-a", "A1:400", "-b", "B2:200"), ACROSS),
        (("-a", "A1:400.1", "-b", "B2:200.2"), {"400.0001 - 200.0002"}),
        (("-a", "400", "-b", "400"), {"400.0001 - 400.0002"}),
        (("-a", "400.0001"), {pair for pair in ALL_PAIRS if pair.startswith("400.0001")}),
        (("-a", "images/A1_400/A1_400_0001.png", "-b", "200.0001"), {"400.0001 - 200.0001"}),
    ],
)
def test_which_pairs_are_matched(match, tmp_path: Path, arguments: tuple[str, ...], expected: set[str]) -> None:
    ran = match(*arguments)
    assert (ran.code, ran.err) == (0, "")
    assert pairs_of(matches(tmp_path)) == expected
    assert f"{len(expected)} pair(s)" in ran.out


def test_files_outside_the_data_set(match, tmp_path: Path, data_set: Path, monkeypatch) -> None:
    for number, folder in enumerate(("one", "둘 번째 폴더")):
        shutil.copy(data_set / "A1_400" / f"A1_400_000{number + 1}.png", tmp_path)
        (tmp_path / folder).mkdir()
        (tmp_path / f"A1_400_000{number + 1}.png").rename(tmp_path / folder / "사진 하나.png")
    monkeypatch.setenv("IMG_ROOT", str(tmp_path / "no such folder"))
    ran = match("-a", "one/사진 하나.png", "-b", "둘 번째 폴더/사진 하나.png")
    assert ran.code == 0, ran.err
    assert pairs_of(matches(tmp_path)) == {"one/사진 하나 - 둘 번째 폴더/사진 하나"}


def test_flights_that_share_altitudes_and_frames(match, data_set: Path, tmp_path: Path) -> None:
    """The earlier tool silently kept the last of them."""
    for name in ("0001", "0002"):
        other = data_set / "C3_400" / f"C3_400_{name}.png"
        other.parent.mkdir(exist_ok=True)
        shutil.copy(data_set / "B2_200" / f"B2_200_{name}.png", other)
    ran = match("-a", "A1:400", "-b", "C3:400")
    assert ran.code == 0
    keys = {f"A1:400.000{a} - C3:400.000{b}" for a in (1, 2) for b in (1, 2)}
    assert pairs_of(matches(tmp_path)) == keys
    names = {path.name for path in json_files(matches(tmp_path))}
    assert "vits16_A1_400.0001_C3_400.0002.json" in names
    assert len(names) == 4
    ambiguous = match("-a", "400.0001", "-b", "200.0001")
    assert ambiguous.code == 2
    assert "A1:400.0001" in ambiguous.err
    assert "C3:400.0001" in ambiguous.err
    everything = match("--tag", "all")
    assert everything.code == 0
    assert len(json_files(tmp_path / "exports" / "pair_match-all")) == 15
    assert "vits16_A1_400_0001" in {path.parent.name for path in json_files(tmp_path / "exports" / "pair_match-all")}
    assert "vits16_200_0001" in {path.parent.name for path in json_files(tmp_path / "exports" / "pair_match-all")}


def test_other_rules_for_names(match, command, tmp_path: Path, data_set: Path) -> None:
    folder = tmp_path / "others"
    for number in (1, 2):
        source = data_set / "A1_400" / f"A1_400_000{number}.png"
        folder.mkdir(exist_ok=True)
        shutil.copy(source, folder / f"site9-f{number}-h120000.PNG")
    rule = r"(?P<id>site\d+)-f(?P<frame>\d+)-h(?P<alt>\d+)"
    ran = match("--images", folder, "--regex", rule)
    assert ran.code == 0, ran.err
    assert pairs_of(matches(tmp_path)) == {"120000.1 - 120000.2"}


def test_a_robust_method_that_cannot_run_here_is_refused_before_any_work(match, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "poselib", None)
    ran = match("-e", "--ransac-method", "poselib_ransac")
    assert ran.code == 2
    assert "pip install 'dinov3-match[poselib]'" in ran.err
    assert ran.out == ""
    assert not (tmp_path / "exports").exists()


def test_the_only_graph_is_taken(match) -> None:
    assert "vits16: the only exported graph" in match().out


@pytest.mark.parametrize(
    ("metadata", "right"),
    [
        ({contract.KEY_ALIAS: "cxTiny"}, "cxTiny-fp32.onnx"),
        ({contract.KEY_PRECISION: "int8"}, "vits16-int8.onnx"),
        ({contract.KEY_SOURCE: "hub"}, "vits16-hub-fp32.onnx"),
    ],
)
def test_a_graph_under_another_name_is_refused(match, tmp_path: Path, monkeypatch, metadata, right: str) -> None:
    path = write_tiny_graph(tmp_path / "graphs" / "vits16-fp32.onnx", **metadata)
    monkeypatch.setenv("GRAPH_ROOT", str(path.parent))
    ran = match("-w", "vits16")
    assert ran.code == 1
    assert f"{path} is a graph of " in ran.err
    assert f"call it {right}, or delete it and export vits16 again" in ran.err
    assert not (tmp_path / "exports").exists()
    with pytest.raises(GraphError, match="not what its name says"):
        Matcher("vits16")
    assert Matcher(path).graph == path, "a file given by its path may have any name"


def test_several_graphs_are_listed(match, tmp_path: Path, monkeypatch) -> None:
    for alias in ("vits16", "cxTiny"):
        write_tiny_graph(tmp_path / "graphs" / f"{alias}-fp32.onnx", alias)
    monkeypatch.setenv("GRAPH_ROOT", str(tmp_path / "graphs"))
    ran = match()
    assert ran.code == 2
    assert "vits16, cxTiny" in ran.err
    assert "-w" in ran.err
    assert match("-w", "cxTiny", "-a", "400").code == 0
    assert {text["weight"] for text in documents(matches(tmp_path))} == {"cxTiny"}
    both = match("--all-weights", "-a", "400", "-b", "200")
    assert both.code == 0, both.err
    assert Counter(text["weight"] for text in documents(matches(tmp_path))) == {"cxTiny": 5, "vits16": 4}
    assert match("-g", "ConvNeXT_LVD1689M", "--tag", "g").code == 0
    assert {text["weight"] for text in documents(tmp_path / "exports" / "pair_match-g")} == {"cxTiny"}


@pytest.mark.skipif(not bundled_graph().is_file(), reason="the bundled graph is not there")
def test_without_a_graph_the_bundled_one_is_taken_and_said(match, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("GRAPH_ROOT", str(tmp_path / "no graphs"))
    ran = match("-a", "400", "-b", "400", "-i", "64")
    assert ran.code == 0
    assert "vitt16: the bundled backbone, as no graph is in" in ran.out
    assert "not Meta's weights" in ran.out
    assert {text["weight"] for text in documents(matches(tmp_path))} == {"vitt16"}


def test_a_missing_graph_without_checkpoint(match, tmp_path: Path) -> None:
    ran = match("-w", "vitb16")
    assert ran.code == 1
    assert "vitb16-fp32.onnx" in ran.err
    assert "WEIGHTS_ROOT" in ran.err
    (tmp_path / "weights").mkdir()
    ran = match("-w", "vitb16")
    assert ran.code == 1
    assert "vitb16-fp32.onnx" in ran.err
    assert "dinov3_vitb16_pretrain_lvd1689m-73cec8be.pth" in ran.err


@pytest.mark.parametrize("flag", ["--provider", "--device"])
def test_the_provider_really_used_is_recorded(match, tmp_path: Path, flag: str) -> None:
    assert match(flag, "cpu", "-a", "400", "-b", "400").code == 0
    [text] = documents(matches(tmp_path))
    assert text["provider"] == "CPUExecutionProvider"
    assert text["meta"]["device"] == "cpu"


def test_auto_says_which_provider_it_took(match) -> None:
    assert "on CPUExecutionProvider (chosen by auto)" in match("-a", "400", "-b", "400").out


def test_cuda_that_is_not_there_is_an_error(match, tmp_path: Path) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("this ONNX Runtime has CUDA")
    ran = match("--provider", "cuda")
    assert ran.code == 1
    assert "CUDAExecutionProvider is not part of the installed ONNX Runtime" in ran.err
    assert not documents(matches(tmp_path))


def test_a_second_run_leaves_files_alone(match, tmp_path: Path) -> None:
    assert match().code == 0
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (tmp_path / "exports").rglob("*.*")}
    ran = match()
    assert ran.code == 0
    assert "6 pair(s) already done with these settings, left alone" in ran.out
    assert "wrote" not in ran.out
    assert before == {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in before}
    assert set(before) == set((tmp_path / "exports").rglob("*.*"))


def test_other_settings_replace_files_and_say_so(match, tmp_path: Path) -> None:
    match("-a", "400", "-b", "200")
    ran = match("-t", "0.5")
    assert "4 file(s) of other settings or older photographs replaced" in ran.out
    assert {text["advanced_settings"]["match_threshold"] for text in documents(matches(tmp_path))} == {0.5}
    assert len({text["settings_digest"] for text in documents(matches(tmp_path))}) == 1


def test_a_changed_photograph_is_matched_again(match, data_set: Path, tmp_path: Path) -> None:
    match()
    changed = data_set / "A1_400" / "A1_400_0001.png"
    shutil.copy(data_set / "A1_400" / "A1_400_0002.png", changed)
    ran = match()
    assert "3 pair(s) already done" in ran.out
    assert "3 file(s) of other settings or older photographs" in ran.out
    [same] = [text for text in documents(matches(tmp_path)) if text["images"]["b"]["key"] == "400.0002"]
    assert same["patch"]["idx_a"] == same["patch"]["idx_b"]


def test_tag_writes_beside_and_leaves_the_first_alone(match, tmp_path: Path) -> None:
    match("-a", "400", "-b", "400")
    [path] = json_files(matches(tmp_path))
    before = path.read_bytes()
    assert match("-a", "400", "-b", "400", "-x", "50", "--tag", "50 점").code == 0
    assert path.read_bytes() == before
    [other] = documents(tmp_path / "exports" / "pair_match-50 점")
    assert other["advanced_settings"]["max_features"] == 50


def test_bad_photographs_do_not_stop_the_run(match, data_set: Path, tmp_path: Path) -> None:
    good = (data_set / "A1_400" / "A1_400_0001.png").read_bytes()
    (data_set / "A1_400" / "A1_400_0003.png").write_bytes(good[: len(good) // 2])
    (data_set / "A1_400" / "A1_400_0004.png").write_bytes(b"")
    ran = match()
    assert ran.code == 1
    assert pairs_of(matches(tmp_path)) == ALL_PAIRS
    assert "9 pair(s) left out" in ran.out
    assert "2 photograph(s) could not be read" in ran.err
    assert "A1_400_0003.png" in ran.err
    assert "A1_400_0004.png" in ran.err
    again = match()
    assert again.code == 1
    assert "A1_400_0003.png" in again.err


def test_pictures_of_every_size_in_one_run(match, data_set: Path, tmp_path: Path) -> None:
    import numpy as np

    write_photograph(data_set / "A1_400" / "A1_400_0007.png", np.full((1, 1, 3), 90, np.uint8))
    write_photograph(data_set / "A1_400" / "A1_400_0008.png", np.zeros((40, 700, 3), np.uint8))
    ran = match("-i", "32")
    assert ran.code == 0, ran.err
    assert len(documents(matches(tmp_path))) == 15
