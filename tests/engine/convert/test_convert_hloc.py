"""hloc's files, read back by hloc's documented rules, written here anew."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from convert_samples import GRID, NAMES, SIZE, image, refined, result, settings, store_features, store_matches

from engine.convert.hloc import convert_to_hloc
from engine.convert.source import Source
from engine.errors import WorkError
from engine.hooks import ModelKind


def list_h5_names(path: Path) -> list[str]:
    names = set()

    def visit(_, item):
        if isinstance(item, h5py.Dataset):
            names.add(item.parent.name.strip("/"))

    with h5py.File(path, "r") as file:
        file.visititems(visit)
    return list(names)


def get_matches(path: Path, name0: str, name1: str) -> tuple[np.ndarray, np.ndarray]:
    """hloc looks for `name0/name1` with slashes replaced by dashes, then for the reverse."""
    part0, part1 = name0.replace("/", "-"), name1.replace("/", "-")
    with h5py.File(path, "r") as file:
        reverse = f"{part0}/{part1}" not in file
        group = file[f"{part1}/{part0}" if reverse else f"{part0}/{part1}"]
        matches, scores = group["matches0"][()], group["matching_scores0"][()]
    rows = np.where(matches != -1)[0]
    found = np.stack([rows, matches[rows]], -1)
    return (np.flip(found, -1) if reverse else found), scores[rows]


@pytest.fixture
def roots(tmp_path):
    return tmp_path / "match", tmp_path / "images", tmp_path / "embed"


def converted(roots, results, out, *, features: bool, keypoints_only: bool = False):
    match_root, image_root, embed_root = roots
    folder = store_matches(match_root, image_root, results)
    images = [image(image_root, name) for name in NAMES]
    maps = store_features(embed_root, image_root, images) if features else {}
    said = convert_to_hloc(Source(folder, settings(), embed_root), out, keypoints_only)
    return maps, said


def test_hloc_finds_the_same_keypoints_descriptors_and_matches(roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    pairs = [(0, 1), (2, 0), (1, 2)]
    results = [result(refs[a], refs[b], seed=a * 3 + b) for a, b in pairs]
    results[2] = result(refs[1], refs[2], seed=9, count=0)
    maps, said = converted(roots, results, tmp_path / "out", features=True)
    assert said == []
    assert sorted(list_h5_names(tmp_path / "out" / "features.h5")) == sorted(NAMES)
    with h5py.File(tmp_path / "out" / "features.h5") as file:
        for name in NAMES:
            group = file[name]
            width, height = SIZE
            x = (np.arange(GRID[1]) + 0.5) * width / GRID[1] - 0.5
            y = (np.arange(GRID[0]) + 0.5) * height / GRID[0] - 0.5
            expected = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
            np.testing.assert_allclose(group["keypoints"][()], expected, rtol=0, atol=1e-4)
            assert group["image_size"][()].tolist() == [width, height]
            np.testing.assert_array_equal(group["descriptors"][()], maps[name].descriptors.T)
            assert group["descriptors"].dtype == np.float16
            np.testing.assert_array_equal(group["scores"][()], maps[name].norms)
            np.testing.assert_array_equal(group["global_descriptor"][()], maps[name].global_descriptor)
    for (a, b), found in zip(pairs, results, strict=True):
        matches, scores = get_matches(tmp_path / "out" / "matches.h5", NAMES[a], NAMES[b])
        order = np.argsort(found.token_a)
        np.testing.assert_array_equal(matches, np.stack([found.token_a, found.token_b], 1)[order])
        np.testing.assert_array_equal(scores, found.similarity[order].astype(np.float16))
        turned, _ = get_matches(tmp_path / "out" / "matches.h5", NAMES[b], NAMES[a])
        np.testing.assert_array_equal(turned, matches[:, ::-1])
    with h5py.File(tmp_path / "out" / "matches.h5") as file:
        group = file[f"{NAMES[1].replace('/', '-')}/{NAMES[2].replace('/', '-')}"]
        assert group["matches0"].dtype == np.int32
        assert group["matching_scores0"].dtype == np.float16
        assert group["matches0"].shape == (GRID[0] * GRID[1],)
        assert np.all(group["matches0"][()] == -1)
    lines = (tmp_path / "out" / "pairs.txt").read_text().rstrip("\n").split("\n")
    assert [tuple(line.split()) for line in lines] == [(NAMES[a], NAMES[b]) for a, b in pairs]


def test_points_beside_the_centres_are_keypoints_of_their_own(roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    found = refined(result(refs[0], refs[1], seed=1))
    maps, _ = converted(roots, [found], tmp_path / "out", features=True)
    matches, _ = get_matches(tmp_path / "out" / "matches.h5", NAMES[0], NAMES[1])
    with h5py.File(tmp_path / "out" / "features.h5") as file:
        points_a, points_b = (file[name]["keypoints"][()] for name in NAMES[:2])
        count = file[NAMES[1]]["descriptors"].shape[1]
    order = np.argsort(found.token_a)
    np.testing.assert_allclose(points_a[matches[:, 0]], found.points_a_px[order], atol=1e-4)
    np.testing.assert_allclose(points_b[matches[:, 1]], found.points_b_px[order], rtol=1e-6, atol=1e-3)
    assert count == len(points_b) == len(maps[NAMES[1]]) + len(matches)


def test_only_the_best_of_several_matches_of_a_keypoint(roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    found = result(refs[0], refs[1], seed=1)
    token_a = found.token_a.copy()
    token_a[5:] = np.concatenate([token_a[:5], token_a[10:]])
    _, said = converted(
        roots, [replace(found, token_a=token_a, points_a_px=_centres(token_a))], tmp_path / "out", features=True
    )
    matches, scores = get_matches(tmp_path / "out" / "matches.h5", NAMES[0], NAMES[1])
    assert dict(matches.tolist())[token_a[0]] == found.token_b[0]
    assert scores.max() == np.float16(found.similarity[0])
    assert "5 match(es) left out" in said[0]


def _centres(tokens):
    from engine.coordinates import token_centres_px

    return token_centres_px(tokens, GRID, SIZE)


def test_missing_feature_maps_are_said_and_keypoints_do_without(roots, tmp_path):
    refs = [image(roots[1], name) for name in NAMES]
    results = [result(refs[0], refs[1], ModelKind.NONE)]
    with pytest.raises(WorkError, match=r"engine embed -w vits16 -i 336.*--keypoints-only"):
        converted(roots, results, tmp_path / "out", features=False)
    assert not (tmp_path / "out").exists()
    converted(roots, results, tmp_path / "out", features=False, keypoints_only=True)
    with h5py.File(tmp_path / "out" / "features.h5") as file:
        assert set(file[NAMES[0]]) == {"keypoints", "image_size"}


@pytest.mark.parametrize(
    ("names", "words"),
    [(("한 글/a.jpg", "b/b.jpg"), "spaces"), (("a/b-c.jpg", "a-b/c.jpg"), "both 'a-b/c.jpg' and 'a/b-c.jpg'")],
)
def test_names_that_hloc_cannot_hold(names, words, roots, tmp_path):
    refs = [replace(image(roots[1], NAMES[0]), path=roots[1] / name) for name in names]
    folder = store_matches(roots[0], roots[1], [result(*refs)])
    with pytest.raises(WorkError, match=words):
        convert_to_hloc(Source(folder, settings(), roots[2]), tmp_path / "out", keypoints_only=True)
    assert not (tmp_path / "out").exists()
