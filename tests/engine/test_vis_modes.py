"""`engine vis --mode`, `--pair` and `--point` on real runs: stored tokens, fresh ones, packed pairs, and what fails."""

import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import write_photograph, write_tiny_graph

from engine.drawing.token_colours import similarity_to, token_at
from engine.imaging import read_image
from engine.photographs import Photographs
from engine.settings import load_roots
from engine.views import View
from engine.vis_pairs import DrawablePair, find_pair, pair_of_file
from engine.vis_tokens import TokenFinder

A, B = "400.0001", "200.0002"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "exports"


@pytest.fixture
def run_of_pairs(match):
    """Altitude 400 against 200, feature maps stored."""
    assert match("-a", "400", "-b", "200", "-i", "320", "-e").code == 0


def pictures(root: Path) -> list[str]:
    return sorted(path.name for path in (root / "pair_viz").rglob("*") if path.is_file())


def result_file(root: Path, a: str = A, b: str = B) -> Path:
    return root / "pair_match" / f"vits16_{a.replace('.', '_')}" / f"vits16_{a}_{b}.json"


def test_modes_make_files_of_their_own(command, run_of_pairs, root):
    file = result_file(root)
    for words in (
        [],
        ["--mode", "overlay"],
        ["--mode", "lines", "overlay", "--mode", "pca"],
        ["--mode", "heatmap"],
        ["--mode", "heatmap", "--point", "100,50.5"],
    ):
        ran = command("vis", file, *words)
        assert ran.code == 0, ran.err
        assert "encoding with" not in ran.out
        (named,) = re.findall(r"-> (.+\.png)", ran.out)
        assert cv2.imread(named).shape[1] == 2400
    stem = f"vits16_{A}_{B}"
    names = ["", "-overlay", "-lines+overlay+pca", "-heatmap", "-heatmap-100,50.5"]
    assert pictures(root) == sorted(f"{stem}{name}.png" for name in names)


def test_a_pair_without_a_result_file_is_found_by_name(command, run_of_pairs, root):
    file = result_file(root)
    assert command("vis", file, "--out", root / "from_file").code == 0
    for path in (root / "pair_match").rglob("*.json"):
        path.unlink()
    ran = command("vis", "--all")
    assert (ran.code, "draw one with --pair IMAGE IMAGE" in ran.err) == (1, True)
    ran = command("vis", "--pair", "400.1", "B2:200.2", "--out", root / "from_store")
    assert ran.code == 0, ran.err
    first, second = (next((root / name).rglob("*.png")) for name in ("from_file", "from_store"))
    assert first.relative_to(root / "from_file") == second.relative_to(root / "from_store")
    assert first.read_bytes() == second.read_bytes(), "JSON and packed store must tell the same"
    ran = command("vis", "--pair", B, A, "A1_400_0002.png", "200.0001")
    assert ran.code == 0, ran.err
    assert pictures(root) == ["vits16_400.0001_200.0002.png", "vits16_400.0002_200.0001.png"]


def test_the_newest_of_several_runs_is_drawn_or_the_one_asked_for(match, command, run_of_pairs, root):
    assert match("-a", A, "-b", B, "-i", "320", "--filter", "affine").code == 0
    matches = root / "pair_match"
    assert find_pair(matches, A, B).stored.verification.filter == "affine"
    older = next(
        folder.name
        for folder in (matches / "vits16_matches").iterdir()
        if find_pair(matches, A, B, run=folder.name).stored.verification.filter == "homography"
    )
    assert command("vis", "--pair", A, B, "--run", older[:6], "-w", "vits16").code == 0
    ran = command("vis", "--pair", A, B, "-w", "vitl16")
    assert (ran.code, "no stored run fits -w vitl16" in ran.err, older in ran.err) == (2, True, True)


def test_stored_tokens_are_those_of_the_matched_view(match, command, data_set, root, tmp_path):
    """b upside down is matched in the view turned by 180 degrees; tokens stored and fresh must agree to the bit."""
    path = data_set / "B2_200" / "B2_200_0001.png"
    turned = np.ascontiguousarray(read_image(path)[::-1, ::-1])
    cv2.imwrite(str(path), turned[..., ::-1])
    assert match("-a", "400.0001", "-b", "200.0001", "-i", "320", "--rotations", "4", "-e").code == 0
    pair = find_pair(root / "pair_match", "400.0001", "200.0001")
    assert isinstance(pair, DrawablePair)
    assert pair.view_b.rotation_deg == 180.0
    again = pair_of_file(result_file(root, "400.0001", "200.0001"), Photographs(data_set).locate)
    assert (again.view_b, again.image_root) == (pair.view_b, pair.image_root)
    paths = (pair.stored.image_a.path, pair.stored.image_b.path)
    told: list[str] = []
    scenes = []
    for embeds in ("dinov3_embeds", "elsewhere"):
        roots = load_roots(
            {
                "IMG_ROOT": str(data_set),
                "EXPORT_ROOT": str(root),
                "EMBED_ROOT": embeds,
                "GRAPH_ROOT": os.environ["GRAPH_ROOT"],
            }
        )
        scenes.append(TokenFinder(roots, "cpu", told.append).scene(pair, *paths, None))
    assert len(told) == 1, "only where nothing is stored the graph is needed"
    stored, fresh = scenes
    for side in ("a", "b"):
        one, other = getattr(stored, side), getattr(fresh, side)
        np.testing.assert_array_equal(one.descriptors, other.descriptors)
        assert (one.grid, one.rotation_deg, one.canvas_size) == (other.grid, other.rotation_deg, other.canvas_size)
    assert (stored.a.rotation_deg, stored.b.rotation_deg) == (0.0, 180.0)
    assert stored.keypoint_threshold == 0.015
    for mode in ("heatmap", "pca"):
        assert command("vis", "--pair", "400.0001", "200.0001", "--mode", mode).code == 0


def test_a_turned_for_a_smaller_view_of_b_is_shown_as_it_was_matched(match, command, data_set, root):
    """b enlarged and turned is matched at half its size, a turned the other way: a match's token finds its partner."""
    ground = read_image(data_set / "A1_400" / "A1_400_0001.png")
    enlarged = cv2.resize(ground[96:256, 96:288], (384, 320), interpolation=cv2.INTER_CUBIC)
    write_photograph(data_set / "B2_200" / "B2_200_0001.png", np.rot90(enlarged))
    search = ("--rotations", "4", "--scales", "1,0.5")
    assert match("-a", "400.0001", "-b", "200.0001", "-i", "320", *search, "-e").code == 0
    pair = find_pair(root / "pair_match", "400.0001", "200.0001")
    assert isinstance(pair, DrawablePair)
    assert (pair.view_a, pair.view_b) == (View(270.0), View(scale=0.5))
    environment = {"IMG_ROOT": str(data_set), "EXPORT_ROOT": str(root), "GRAPH_ROOT": os.environ["GRAPH_ROOT"]}
    for embeds in ("dinov3_embeds", "elsewhere"):
        tokens = TokenFinder(load_roots({**environment, "EMBED_ROOT": embeds}), "cpu", lambda line: None)
        shown = tokens.scene(pair, pair.stored.image_a.path, pair.stored.image_b.path, None)
        assert (shown.a.rotation_deg, shown.a.grid, shown.b.grid) == (270.0, (24, 20), (12, 10))
        for point_a_px, point_b_px in zip(pair.stored.points_a_px, pair.stored.points_b_px, strict=True):
            heat = similarity_to(shown.a, token_at(shown.a, tuple(point_a_px)), shown.b)
            np.testing.assert_allclose(shown.b.points_px[heat.argmax()], point_b_px)
    assert command("vis", "--pair", "400.0001", "200.0001", "--mode", "heatmap", "pca").code == 0


def test_of_a_pair_stored_in_both_directions_the_one_asked_for_is_drawn(match, command, root):
    assert match("-a", A, "-b", B, "-i", "320", "--both-directions").code == 0
    ran = command("vis", "--pair", A, B, B, A)
    assert ran.code == 0, ran.err
    assert pictures(root) == [f"vits16_{B}_{A}.png", f"vits16_{A}_{B}.png"]


def test_a_tag_names_the_results_and_the_pictures(match, command, root):
    assert match("-a", A, "-b", B, "-i", "320", "--tag", "trial").code == 0
    for words in (["--all"], ["--pair", A, B]):
        ran = command("vis", "--tag", "trial", *words)
        assert ran.code == 0, ran.err
    assert [path.name for path in (root / "pair_viz-trial").rglob("*.png")] == [f"vits16_{A}_{B}.png"]
    assert not (root / "pair_viz").exists()
    for words in (["--root", root], [root / "pair_match-trial" / "vits16_400_0001" / f"vits16_{A}_{B}.json"]):
        ran = command("vis", "--tag", "trial", *words)
        assert (ran.code, "give one of them" in ran.err) == (2, True)
    ran = command("vis", "--all", "--tag", "a/b")
    assert (ran.code, "--tag 'a/b' cannot be part of a folder name" in ran.err) == (2, True)


def test_without_stored_tokens_the_graph_encodes_and_is_named(match, command, root):
    assert match("-a", A, "-b", B, "-i", "320").code == 0
    ran = command("vis", "--pair", A, B, "--mode", "pca", "--provider", "cpu")
    assert ran.code == 0, ran.err
    assert len(re.findall(r"feature maps are not stored; encoding with .*vits16-fp32\.onnx on CPUEx", ran.out)) == 1


def test_without_tokens_and_with_no_or_another_graph_the_way_out_is_said(match, command, root, tmp_path, monkeypatch):
    assert match("-a", A, "-b", B, "-i", "320").code == 0
    monkeypatch.setenv("GRAPH_ROOT", str(tmp_path / "none"))
    ran = command("vis", "--pair", A, B, "--mode", "heatmap")
    assert ran.code == 1
    assert "no graph of vits16 is in" in ran.err
    assert "engine export --weights vits16" in ran.err
    write_tiny_graph(tmp_path / "none" / "vits16-fp32.onnx", seed=7)
    ran = command("vis", "--pair", A, B, "--mode", "heatmap")
    assert ran.code == 1
    assert "is none of vits16-fp32.onnx" in ran.err
    assert not (root / "pair_viz").exists()


@pytest.mark.parametrize("name", ["off", "fundamental"])
def test_overlays_of_a_geometry_without_a_point_map_are_refused(command, run_of_pairs, root, name):
    ran = command("vis", "--pair", A, B, "--ransac", name, "--mode", "lines", "overlay")
    assert ran.code == 1
    assert "--mode overlay lays b over a" in ran.err
    assert "--ransac homography" in ran.err
    assert not (root / "pair_viz").exists()


BAD_REQUESTS = (
    (["--pair", A], "--pair takes two photographs, and 1 are given", 2),
    (["--pair", A, B, "--all"], "--pair and result files or --all exclude each other", 2),
    (["--pair", "400", B], "--pair 400 names a whole altitude", 2),
    (["--pair", A, "200.0009"], f"no stored pair {A} - 200.0009", 1),
    (["--pair", A, "200.0009"], f"{A} is stored with 200.0001, 200.0002", 1),
    (["-w", "vits16"], "add --pair", 2),
    (["--point", "3,4"], "add --mode heatmap", 2),
    (["--mode", "heatmap", "--point", "3"], "'3' is no point: write X,Y", 2),
    (["--mode", "heatmap", "--point", "3,x"], "'x' is not a number", 2),
    (["--pair", A, B, "--mode", "heatmap", "--point", "384,5"], "lies outside 400.0001 with its 384 x 320", 2),
    (["--mode", "heatmaps"], "heatmap", 2),
    (["--mode", "pca", "--provider", "gpus"], "provider gpus", 2),
)


def test_bad_requests_are_refused_with_a_way_out(command, run_of_pairs, root):
    for words, message, code in BAD_REQUESTS:
        ran = command("vis", *words)
        assert ran.code == code, words
        assert message in ran.err, words
        assert not (root / "pair_viz").exists(), words


def test_a_pair_of_a_lone_result_file_is_found_too(command, run_of_pairs, root):
    for path in (root / "pair_match").rglob("*.h5"):
        path.unlink()
    ran = command("vis", "--pair", A, B)
    assert ran.code == 0, ran.err
    assert pictures(root) == [f"vits16_{A}_{B}.png"]
