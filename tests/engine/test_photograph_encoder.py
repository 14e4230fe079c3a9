"""Stored feature maps: layout of hloc, equal to the JSON's matches, reused only while nothing has changed."""

import json
import os
from pathlib import Path

import cv2
import h5py
import numpy as np
import onnxruntime
import pytest
from conftest import texture, write_photograph


def shards(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "exports" / "dinov3_embeds").rglob("features-*.h5"))


def test_feature_maps_follow_the_rules_of_hloc(match, data_set: Path, tiny_graph: Path, tmp_path: Path) -> None:
    assert match("-e", "-i", "320").code == 0
    [path] = shards(tmp_path)
    assert {entry.name for entry in path.parent.iterdir()} == {"features-00000.h5", "index.json"}
    session = onnxruntime.InferenceSession(str(tiny_graph), providers=["CPUExecutionProvider"])
    pictures = sorted(data_set.rglob("*.png"))
    with h5py.File(path) as file:
        names: list[str] = []
        file.visit(names.append)
        found = [name.removesuffix("/keypoints") for name in names if name.endswith("/keypoints")]
        assert sorted(found) == [picture.relative_to(data_set).as_posix() for picture in pictures]
        for picture in pictures:
            group = file[picture.relative_to(data_set).as_posix()]
            assert all(isinstance(entry, h5py.Dataset) for entry in group.values()), "nothing is nested"
            assert all(entry.dtype.kind in "fiu" for entry in group.values()), "no texts"
            pixels = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
            [tokens], [globe] = session.run(None, {"image": pixels[None]})
            norms = np.linalg.norm(tokens, axis=1)
            assert group["keypoints"].dtype == np.float32
            assert group["keypoints"].shape == (480, 2)
            assert group["keypoints"][0].tolist() == [7.5, 7.5]
            assert group["keypoints"][25].tolist() == [23.5, 23.5]
            assert group["descriptors"].dtype == np.float16
            assert group["descriptors"].shape == (32, 480)
            assert pytest.approx(tokens / norms[:, None], abs=1e-3) == group["descriptors"][()].T
            assert group["scores"][()] == pytest.approx(norms, rel=1e-5)
            assert group["image_size"][()].tolist() == [384, 320]
            assert group["global_descriptor"][()] == pytest.approx(globe / np.linalg.norm(globe), abs=1e-5)


def test_feature_maps_agree_with_the_json(match, tmp_path: Path) -> None:
    assert match("-e", "-a", "400", "-b", "200").code == 0
    [path] = shards(tmp_path)
    texts = [json.loads(name.read_text("utf-8")) for name in (tmp_path / "exports" / "pair_match").rglob("*.json")]
    assert len(texts) == 4
    with h5py.File(path) as file:
        for text in texts:
            root = Path(text["meta"]["img_root"])
            sides = {side: file[Path(text[f"image_{side}"]).relative_to(root).as_posix()] for side in "ab"}
            index = {side: text["patch"][f"idx_{side}"] for side in "ab"}
            for side, group in sides.items():
                assert text["patch"][f"n_{side}"] == group["scores"].shape[0]
                assert group["keypoints"][()][index[side]] == pytest.approx(np.array(text["points_px"][side]), abs=1e-3)
            a, b = (sides[side]["descriptors"][()].astype(np.float32)[:, index[side]] for side in "ab")
            assert (a * b).sum(axis=0) == pytest.approx(np.array(text["patch"]["similarities"]), abs=1e-5)
            cosine = float(sides["a"]["global_descriptor"][()] @ sides["b"]["global_descriptor"][()])
            assert text["cosine"] == pytest.approx(cosine, abs=1e-6)


def test_asking_for_feature_maps_later_stores_them(match, tmp_path: Path) -> None:
    """All pairs are up to date then, so nothing is left to match."""
    assert match().code == 0
    assert shards(tmp_path) == []
    ran = match("-e")
    assert ran.code == 0
    assert "6 pair(s) already done" in ran.out
    assert "feature maps: 4 encoded, 0 reused" in ran.out
    assert len(shards(tmp_path)) == 1
    assert "feature maps: 0 encoded, 4 reused" in match("-e").out


def test_a_photograph_that_became_unreadable_is_said_then(match, data_set: Path) -> None:
    (data_set / "A1_400" / "A1_400_0009.png").write_bytes(b"no picture")
    assert match("-a", "400.9").code == 1
    ran = match("-e", "-a", "400.1")
    assert ran.code == 1
    assert "A1_400_0009.png" in ran.err


def test_another_size_or_graph_is_another_folder(match, tmp_path: Path, monkeypatch) -> None:
    from conftest import write_tiny_graph

    match("-e", "-a", "400")
    match("-e", "-a", "400", "-i", "160")
    monkeypatch.setenv("GRAPH_ROOT", str(write_tiny_graph(tmp_path / "g" / "vits16-fp32.onnx", seed=5).parent))
    match("-e", "-a", "400")
    folders = {path.parent for path in shards(tmp_path)}
    assert len(folders) == 3
    assert {folder.parent.name for folder in folders} == {"vits16"}


def test_a_changed_photograph_is_encoded_again(match, data_set: Path) -> None:
    assert "4 encoded, 0 reused" in match("-e").out
    changed = data_set / "A1_400" / "A1_400_0001.png"
    os.utime(changed, ns=(1, 1))
    assert "0 encoded, 4 reused" in match("-e").out
    write_photograph(changed, texture(320, 384, seed=9))
    assert "1 encoded, 3 reused" in match("-e").out


def test_a_damaged_store_is_said_and_made_again(match, tmp_path: Path) -> None:
    match("-e")
    [path] = shards(tmp_path)
    path.write_bytes(path.read_bytes()[:3000])
    ran = match("-e", "-t", "0.2")
    assert ran.code == 0, ran.err
    assert "4 encoded, 0 reused" in ran.out
    assert path.name in ran.out
    assert "0 encoded, 4 reused" in match("-e", "-t", "0.3").out
