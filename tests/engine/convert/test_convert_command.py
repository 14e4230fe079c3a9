"""`engine convert` from the command line: which run, arrays, tables, files that are there, damage, a full disk."""

import csv
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from convert_samples import (
    GRID,
    HOMOGRAPHY,
    NAMES,
    SIZE,
    image,
    refined,
    result,
    settings,
    store_features,
    store_matches,
)

from engine.cli import main
from engine.convert.source import Source
from engine.coordinates import project
from engine.results import Refinement, RefinementStep

FORMATS = ("hloc", "colmap", "npy", "csv")


@pytest.fixture
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("IMG_ROOT", "EXPORT_ROOT", "MATCH_ROOT", "EMBED_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return [image(tmp_path / "data", name) for name in NAMES]


@pytest.fixture
def stored(images, tmp_path):
    results = [refined(result(images[0], images[1], seed=1)), result(images[2], images[0], seed=2)]
    store_matches(tmp_path / "exports/pair_match", tmp_path / "data", results)
    return results, store_features(tmp_path / "exports/dinov3_embeds", tmp_path / "data", images)


def test_arrays_hold_everything(stored, tmp_path):
    results, maps = stored
    assert main(["convert", "--to", "npy", "--out", "out"]) == 0
    names = Path("out/images.txt").read_text().splitlines()
    load = {path.stem: np.load(path) for path in Path("out").glob("*.npy")}
    assert names == sorted(NAMES)
    assert load["image_sizes"].tolist() == [list(SIZE)] * 3
    assert load["grids"].tolist() == [list(GRID)] * 3
    for row, found in enumerate(results):
        part = slice(*load["offsets"][row : row + 2])
        a, b = (names[at] for at in load["pairs"][row])
        assert (tmp_path / "data" / a, tmp_path / "data" / b) == (found.image_a.path, found.image_b.path)
        np.testing.assert_array_equal(load["tokens"][part], np.stack([found.token_a, found.token_b], 1))
        np.testing.assert_array_equal(load["points_a_px"][part], found.points_a_px)
        np.testing.assert_array_equal(load["points_b_px"][part], found.points_b_px)
        np.testing.assert_array_equal(load["similarities"][part], found.similarity)
        np.testing.assert_array_equal(load["inliers"][part], found.verification.inliers)
        np.testing.assert_array_equal(load["matrices"][row], HOMOGRAPHY)
        assert load["cosines"][row] == found.cosine
    for row, name in enumerate(names):
        np.testing.assert_array_equal(np.load(f"out/descriptors/{row:05d}.npy"), maps[name].descriptors)
        np.testing.assert_array_equal(load["global_descriptors"][row], maps[name].global_descriptor)


def test_matches_below_a_patch_are_converted_on_demand(images, tmp_path):
    """Where a pair was refined densely, its last matches take the place of the patches'; other pairs stay."""
    rng = np.random.default_rng(0)
    points_a = rng.uniform((20, 20), (np.array(SIZE) - 20) * 0.5, (40, 2))
    points_b = project(HOMOGRAPHY, points_a)
    sigma = np.linspace(0.1, 2.0, 40)
    step = RefinementStep("structure_800px", 50, 40, 0.5, 0.6, True)
    dense = replace(
        result(images[0], images[1], seed=1), refinement=Refinement((step,), 0.1, points_a, points_b, sigma, 0.6)
    )
    plain = result(images[2], images[0], seed=2)
    store_matches(tmp_path / "exports/pair_match", tmp_path / "data", [dense, plain])
    store_features(tmp_path / "exports/dinov3_embeds", tmp_path / "data", images)
    assert main(["convert", "--to", "npy", "--out", "patches"]) == 0
    assert main(["convert", "--to", "npy", "--out", "refined", "--matches", "refined"]) == 0
    patches, refined_points = (np.load(f"{name}/points_b_px.npy") for name in ("patches", "refined"))
    offsets = np.load("refined/offsets.npy")
    np.testing.assert_array_equal(patches[: len(dense.similarity)], dense.points_b_px)
    np.testing.assert_allclose(refined_points[slice(*offsets[:2])], points_b, atol=0.01)
    np.testing.assert_array_equal(refined_points[slice(*offsets[1:3])], plain.points_b_px)
    assert np.load("refined/inliers.npy")[slice(*offsets[:2])].all()
    scores = np.load("refined/similarities.npy")[slice(*offsets[:2])]
    np.testing.assert_allclose(scores, 1 / (1 + sigma), atol=1e-3)
    assert main(["convert", "--to", "hloc", "--out", "hloc", "--matches", "refined"]) == 0
    assert main(["convert", "--to", "colmap", "--out", "colmap", "--matches", "refined"]) == 0


def test_tables_hold_the_numbers_to_the_last_digit(stored):
    results, _ = stored
    assert main(["convert", "--to", "csv", "--out", "out"]) == 0
    assert Path("out/pairs.csv").read_bytes().startswith(b"\xef\xbb\xbf")
    with Path("out/pairs.csv").open(encoding="utf-8-sig", newline="") as file:
        pairs = list(csv.DictReader(file))
    with Path("out/matches.csv").open(encoding="utf-8-sig", newline="") as file:
        matches = list(csv.DictReader(file))
    assert [int(pair["inliers"]) for pair in pairs] == [found.verification.inlier_count for found in results]
    assert float(pairs[0]["m12"]) == HOMOGRAPHY[1, 2]
    assert float(pairs[0]["reprojection_error_mean_px"]) < 1e-9
    assert float(pairs[1]["reprojection_error_mean_px"]) > 10
    points = np.array([[float(match[name]) for name in ("x_a", "y_a", "x_b", "y_b")] for match in matches])
    expected = np.concatenate([np.hstack([found.points_a_px, found.points_b_px]) for found in results])
    np.testing.assert_array_equal(points, expected)
    similarity = np.array([match["similarity"] for match in matches], np.float32)
    np.testing.assert_array_equal(similarity, np.concatenate([found.similarity for found in results]))
    assert {match["image_a"] for match in matches} == {NAMES[0], NAMES[2]}


@pytest.mark.parametrize("to", FORMATS)
def test_files_that_are_there_are_replaced_only_when_told(to, stored, capsys):
    assert main(["convert", "--to", to, "--out", "out"]) == 0
    before = {path: path.stat().st_ino for path in Path("out").rglob("*") if path.is_file()}
    assert main(["convert", "--to", to, "--out", "out"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert {path: path.stat().st_ino for path in before} == before
    assert main(["convert", "--to", to, "--out", "out", "--overwrite"]) == 0
    assert {path for path in Path("out").rglob("*") if path.is_file()} == set(before)


def test_several_runs_are_listed_and_chosen_from(images, tmp_path, capsys):
    roots = tmp_path / "exports/pair_match", tmp_path / "data"
    one = store_matches(*roots, [result(images[0], images[1])])
    two = store_matches(*roots, [result(images[0], images[2])], settings(image_size=672))
    other = store_matches(*roots, [result(images[0], images[2])], settings(weights="vitb16"))
    for age, folder in enumerate((two, other, one)):
        for shard in folder.glob("*.h5"):
            os.utime(shard, ns=(10**18, 10**18 - age * 10**12))
    assert main(["convert", "--to", "csv", "--out", "out"]) == 0
    said = capsys.readouterr().out
    assert f"the newest of 3 stored runs, {two.name}: vits16, 672 px" in said
    assert f"\n  {one.name}: image_size 336, 1 pair(s), 2001-09-0" in said, "what differs, how many, how old"
    assert f"\n  {other.name}: weights vitb16, image_size 336, 1 pair(s)" in said
    assert NAMES[2] in Path("out/pairs.csv").read_text(encoding="utf-8-sig")
    assert main(["convert", "--to", "csv", "--out", "v", "-w", "vits16"]) == 0
    assert other.name not in capsys.readouterr().out
    assert main(["convert", "--to", "csv", "--out", "c", "-w", "vitb61"]) == 2
    assert "Did you mean 'vitb16'?" in capsys.readouterr().err
    assert main(["convert", "--to", "csv", "--out", "c", "--run", ""]) == 2
    error = capsys.readouterr().err
    assert all(f"\n  {folder.name}: vit" in error for folder in (one, two, other)), "the beginning of all names"
    assert main(["convert", "--to", "csv", "--out", "b", "-w", "vitb16"]) == 0
    assert main(["convert", "--to", "csv", "--out", "two", "--run", two.name[:5]]) == 0
    assert NAMES[2] in Path("two/pairs.csv").read_text(encoding="utf-8-sig")
    assert main(["convert", "--run", "list"]) == 0
    assert main(["convert", "--to", "csv", "--out", "c", "--run", "zzz"]) == 2


def test_nothing_stored(images, capsys):
    assert main(["convert", "--to", "csv", "--out", "out"]) == 1
    assert "engine match" in capsys.readouterr().err
    assert main(["convert", "--out", "out"]) == 2


@pytest.mark.parametrize("to", FORMATS)
def test_a_damaged_shard_stops_the_conversion(to, stored, capsys):
    assert main(["convert", "--run", "list"]) == 0
    shard = next(Path("exports/pair_match").glob("*/*/matches-*.h5"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    facts = shard.stat()
    shard.write_bytes(data)
    os.utime(shard, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert main(["convert", "--to", to, "--out", "out"]) == 1
    assert shard.name in capsys.readouterr().err
    assert not Path("out").exists()


def test_pairs_of_a_replaced_photograph_are_left_out_and_said(images, tmp_path, capsys):
    newer = replace(images[0], modified_ns=images[0].modified_ns + 1)
    results = [result(images[0], images[1]), result(images[1], images[2]), result(newer, images[2])]
    folder = store_matches(tmp_path / "exports/pair_match", tmp_path / "data", results)
    source = Source(folder, settings(), tmp_path)
    assert [(pair.name_a, pair.name_b) for pair in source.pairs()] == [(NAMES[1], NAMES[2]), (NAMES[0], NAMES[2])]
    assert main(["convert", "--to", "csv", "--out", "out"]) == 0
    assert "1 pair(s) left out" in capsys.readouterr().out
