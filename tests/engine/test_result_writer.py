"""The files a run writes: every key of the JSON with its meaning, HDF5 equal to it, and names of every script."""

import json
import shutil
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from engine import result_writer
from engine.errors import WorkError
from engine.pair_matching import PairMatcher
from engine.result_writer import require_writable
from engine.store.atomic import WriteError
from engine.store.matches_h5 import MatchStore
from engine.store.result_json import read_result


def documents(folder: Path) -> dict[Path, dict]:
    return {path: json.loads(path.read_text("utf-8")) for path in sorted(folder.rglob("*.json"))}


def keys_of(value: object, prefix: str = "") -> set[str]:
    if not isinstance(value, dict):
        return {prefix}
    return {prefix} | {found for key in value for found in keys_of(value[key], f"{prefix}.{key}" if prefix else key)}


KEPT_KEYS = {
    *("meta.repo_dir", "meta.img_root", "meta.embed_root", "meta.match_root", "meta.ckpt", "meta.hub_model"),
    *("meta.device", "meta.image_size", "image_a", "image_b", "weight", "cosine"),
    *("time_ms.forward_a", "time_ms.forward_b", "time_ms.total"),
    *("advanced_settings.match_threshold", "advanced_settings.max_features", "advanced_settings.keypoint_threshold"),
    *("advanced_settings.line_threshold", "advanced_settings.matching_mode"),
    *("patch.n_a", "patch.n_b", "patch.n_selected_a", "patch.n_selected_b", "patch.grid_g_a", "patch.grid_g_b"),
    *("patch.idx_a", "patch.idx_b", "patch.similarities"),
}
NEW_KEYS = {
    *("schema", "settings_digest", "provider", "graph.sha256", "versions", "global_descriptor"),
    *("images.a.grid", "images.b.grid", "points_px.a", "points_px.b"),
    *("verification.filter", "verification.matrix", "verification.inliers", "verification.reproj_unit"),
    *("verification.reproj_threshold", "verification.ransac_method"),
}


def test_every_key_of_the_json_with_its_meaning(match, data_set: Path, tiny_graph: Path, tmp_path: Path) -> None:
    import hashlib

    assert match("-a", "400.1", "-b", "200.2", "-i", "128", "-x", "90", "-t", "0.2", "-k", "0.1", "-l", "0.3").code == 0
    [(path, text)] = documents(tmp_path / "exports" / "pair_match").items()
    assert path.relative_to(tmp_path / "exports").as_posix() == (
        "pair_match/vits16_400_0001/vits16_400.0001_200.0002.json"
    )
    assert keys_of(text) >= KEPT_KEYS | NEW_KEYS
    meta = text["meta"]
    assert Path(meta["img_root"]) == data_set
    assert Path(meta["match_root"]) == tmp_path / "exports" / "pair_match"
    assert Path(meta["embed_root"]) == tmp_path / "exports" / "dinov3_embeds"
    assert (meta["ckpt"], meta["hub_model"]) == ("tiny.pth", "dinov3_vits16")
    assert (meta["device"], meta["image_size"], text["weight"]) == ("cpu", 128, "vits16")
    assert Path(text["image_a"]) == data_set / "A1_400" / "A1_400_0001.png"
    assert Path(text["image_b"]) == data_set / "B2_200" / "B2_200_0002.png"
    assert text["advanced_settings"] == {
        "match_threshold": 0.2,
        "max_features": 90,
        "keypoint_threshold": 0.1,
        "line_threshold": 0.3,
        "matching_mode": "mutual_knn_k1_unique",
    }
    times = text["time_ms"]
    assert times["total"] >= times["forward_a"] + times["forward_b"] > 0
    patch = text["patch"]
    # 384 x 320 px at a shorter side of 128: 153.6 x 128, rounded to 160 x 128, is 10 x 8 tokens.
    assert text["images"]["a"]["encoded_size"] == [160, 128]
    assert text["images"]["a"]["size"] == [384, 320]
    assert text["images"]["a"]["grid"] == [8, 10]
    assert (patch["n_a"], patch["n_b"], patch["grid_g_a"], patch["grid_g_b"]) == (80, 80, None, None)
    assert patch["n_selected_a"] <= 80
    for side in "ab":
        row, col = np.divmod(np.array(patch[f"idx_{side}"]), 10)
        expected = np.stack([(col + 0.5) * 38.4 - 0.5, (row + 0.5) * 40 - 0.5], axis=1)
        assert np.array(text["points_px"][side]) == pytest.approx(expected)
    assert len(patch["similarities"]) == len(patch["idx_a"]) == len(patch["idx_b"])
    assert len(text["verification"]["inliers"]) == len(patch["idx_a"])
    assert (text["verification"]["filter"], text["verification"]["reproj_unit"]) == ("homography", "encoded")
    assert text["verification"]["reproj_threshold"] == 8.0
    assert text["verification"]["ransac_method"] == "cv2_usac_magsac"
    assert text["provider"] == "CPUExecutionProvider"
    assert text["graph"]["sha256"] == hashlib.sha256(tiny_graph.read_bytes()).hexdigest()
    assert {"numpy", "h5py"} <= set(text["versions"])


def test_the_side_of_a_square_grid(match, data_set: Path, tmp_path: Path) -> None:
    for path in data_set.rglob("*.png"):
        cv2.imwrite(str(path), cv2.imread(str(path))[:320, :320])
    assert match("-a", "400.1", "-b", "200.1", "-i", "160").code == 0
    [text] = documents(tmp_path / "exports" / "pair_match").values()
    assert (text["patch"]["grid_g_a"], text["patch"]["grid_g_b"], text["patch"]["n_a"]) == (10, 10, 100)


@pytest.mark.parametrize("name", ["homography", "affine", "similarity", "fundamental", "off"])
def test_hdf5_holds_what_the_json_holds(match, tmp_path: Path, name: str) -> None:
    assert match("--filter", name).code == 0
    root = tmp_path / "exports" / "pair_match"
    by_pair = {(text["images"]["a"]["key"], text["images"]["b"]["key"]): text for text in documents(root).values()}
    [folder] = {path.parent for path in root.rglob("*.h5")}
    assert {"index.h5", "json.h5", "matches-00000.h5"} == {path.name for path in folder.iterdir()}
    with h5py.File(folder / "matches-00000.h5") as file:
        assert len(file) > 0
    found = list(MatchStore(folder).results())
    assert len(found) == len(by_pair) == 6
    for result in found:
        text = by_pair[result.image_a.key, result.image_b.key]
        assert result.token_a.tolist() == text["patch"]["idx_a"]
        assert result.token_b.tolist() == text["patch"]["idx_b"]
        assert result.similarity.tolist() == np.array(text["patch"]["similarities"], np.float32).tolist()
        assert result.points_a_px.tolist() == text["points_px"]["a"]
        assert result.points_b_px.tolist() == text["points_px"]["b"]
        stored, written = result.verification, text["verification"]
        assert stored.inliers.tolist() == written["inliers"]
        assert (stored.filter, stored.kind.value) == (written["filter"], written["kind"])
        assert stored.options == written["options"]
        assert (stored.matrix is None) == (written["matrix"] is None)
        if stored.matrix is not None:
            assert stored.matrix.tolist() == written["matrix"]
        assert result.cosine == pytest.approx(text["cosine"], abs=1e-7)


def test_names_of_every_script_through_the_whole_program(
    match, command, data_set: Path, tmp_path: Path, monkeypatch
) -> None:
    """Spaces and Korean letters in folders, files and the flight survive JSON, HDF5 and PNG."""
    images = tmp_path / "드론 사진 폴더"
    for flight, source in (("한강 1차", "A1_400"), ("한강 2차", "B2_200")):
        altitude = source.split("_")[1]
        (images / f"{flight}_{altitude}").mkdir(parents=True)
        for frame in ("0001", "0002"):
            shutil.copy(
                data_set / source / f"{source}_{frame}.png",
                images / f"{flight}_{altitude}" / f"{flight}_{altitude}_{frame}.png",
            )
    exports = tmp_path / "결과 폴더"
    monkeypatch.setenv("IMG_ROOT", str(images))
    monkeypatch.setenv("EXPORT_ROOT", str(exports))
    rule = r"(?P<id>.+)_(?P<alt>\d+)_(?P<frame>\d+)"
    ran = match("-e", "--regex", rule, "-a", "한강 1차:400", "-b", "한강 2차:200")
    assert ran.code == 0, ran.err
    found = documents(exports / "pair_match")
    assert len(found) == 4
    for path, text in found.items():
        assert Path(text["image_a"]).is_file()
        assert "드론 사진 폴더" in text["image_a"]
        assert read_result(path).settings_digest == text["settings_digest"]
    [folder] = {path.parent for path in (exports / "pair_match").rglob("*.h5")}
    names = {name for pair in MatchStore(folder).pairs() for name in pair}
    assert "한강 1차_400/한강 1차_400_0001.png" in names
    [shard] = (exports / "dinov3_embeds").rglob("features-*.h5")
    with h5py.File(shard) as file:
        assert file["한강 2차_200/한강 2차_200_0002.png/descriptors"].shape[0] == 32
    drawn = command("vis", "--all")
    assert drawn.code == 0, drawn.err
    pictures = list((exports / "pair_viz").rglob("*.png"))
    assert {path.stem for path in pictures} == {path.stem for path in found}
    for path in pictures:
        pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
        assert pixels.std() > 10


def test_files_given_by_path_with_korean_names(match, command, data_set: Path, tmp_path: Path) -> None:
    for number, name in enumerate(("사진 하나", "사진 둘"), 1):
        shutil.copy(data_set / "A1_400" / f"A1_400_000{number}.png", tmp_path / f"{name}.png")
    assert match("-a", "사진 하나.png", "-b", "사진 둘.png").code == 0
    [path] = documents(tmp_path / "exports" / "pair_match")
    assert path.name.endswith("사진 둘.json")
    assert command("vis", "--all").code == 0
    assert [picture.stem for picture in (tmp_path / "exports").rglob("*.png")] == [path.stem]


def test_json_is_written_only_after_its_shard(match, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(result_writer, "PAIRS_A_SHARD", 2)
    seen = []
    real = result_writer.write_result

    def write(path, result, run):
        [folder] = {shard.parent for shard in (tmp_path / "exports").rglob("matches-*.h5")}
        stored = {(r.image_a.key, r.image_b.key) for r in MatchStore(folder).results()}
        seen.append((result.image_a.key, result.image_b.key) in stored)
        return real(path, result, run)

    monkeypatch.setattr(result_writer, "write_result", write)
    assert match().code == 0
    assert seen == [True] * 6
    assert len(list((tmp_path / "exports").rglob("matches-*.h5"))) == 3


def test_slow_pairs_are_written_every_minute(match, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(result_writer, "SECONDS_A_SHARD", 0.0)
    assert match("-a", "400.1").code == 0
    assert len(list((tmp_path / "exports").rglob("matches-*.h5"))) == 3


def test_an_error_in_the_middle_keeps_what_is_finished(match, tmp_path: Path, monkeypatch) -> None:
    real, calls = PairMatcher.complete, []

    def complete(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            raise WorkError("the filter failed")
        return real(self, *arguments)

    monkeypatch.setattr(PairMatcher, "complete", complete)
    ran = match()
    assert ran.code == 1
    assert "the filter failed" in ran.err
    assert len(documents(tmp_path / "exports" / "pair_match")) == 2
    monkeypatch.setattr(PairMatcher, "complete", real)
    again = match()
    assert again.code == 0
    assert "2 pair(s) already done" in again.out
    assert len(documents(tmp_path / "exports" / "pair_match")) == 6


def test_a_graph_that_fails_keeps_the_maps_that_are_finished(match, tmp_path: Path, monkeypatch) -> None:
    import onnxruntime

    real, calls = onnxruntime.InferenceSession.run, []

    def run(session, outputs, feeds, *rest):
        calls.append(1)
        if len(calls) == 4:
            raise RuntimeError("a fault of the driver")
        return real(session, outputs, feeds, *rest)

    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    ran = match("-e")
    assert ran.code == 1
    assert "CPUExecutionProvider failed on 1 image(s)" in ran.err
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", real)
    again = match("-e")
    assert again.code == 0
    assert "1 encoded, 3 reused" in again.out
    assert len(documents(tmp_path / "exports" / "pair_match")) == 6


def test_require_writable(tmp_path: Path) -> None:
    require_writable(tmp_path / "new" / "folders")
    assert list((tmp_path / "new" / "folders").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="is a file where a folder is needed"):
        require_writable(tmp_path / "file" / "below")
