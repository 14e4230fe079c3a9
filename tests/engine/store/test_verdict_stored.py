"""The verdict and the chosen model in JSON and HDF5, and files of versions that knew neither."""

import json
from dataclasses import replace

import h5py
import numpy as np
import pytest
from store_samples import make_image, make_result, make_run

from engine.hooks import ModelKind
from engine.results import Verdict
from engine.store.hdf5 import build_hdf5, write_hdf5
from engine.store.matches_h5 import MatchStore, match_folder
from engine.store.result_json import existing_digest, read_result, write_result

VERDICTS = (
    Verdict(0.97, (), 0.5, 0.25, 0.75, -81.5),
    Verdict(0.004, ("too_few", "collinear"), None, None, 0.125, 0.0),
    None,
)


def judged(number: int):
    result = make_result(make_image(1), make_image(number + 2), number, count=6)
    found = result.verification
    if number == 1:
        found = replace(found, filter="auto", kind=ModelKind.EPIPOLAR, model="fundamental")
    elif number == 0:
        found = replace(found, filter="auto", model="affine")
    return replace(result, verdict=VERDICTS[number], verification=found)


@pytest.mark.parametrize("number", range(3))
def test_both_come_back_from_json(tmp_path, number: int) -> None:
    result, path = judged(number), tmp_path / "a.json"
    write_result(path, result, make_run())
    stored = read_result(path)
    assert stored.verdict == result.verdict
    assert stored.verification is not None
    assert (stored.verification.model, stored.verification.kind) == (
        result.verification.model,
        result.verification.kind,
    )
    existing = existing_digest(path)
    assert existing is not None
    assert existing.probability == (result.verdict.probability if result.verdict else None)
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["verification"]["model"] == (result.verification.model or "homography")


def test_both_come_back_from_hdf5_and_pairs_of_another_kind_share_a_shard(tmp_path) -> None:
    run = make_run()
    results = [
        replace(judged(number), verification=replace(judged(number).verification, filter="auto"))
        for number in (0, 1, 0)
    ]
    results[2] = replace(results[2], verdict=None, image_b=make_image(9))
    with MatchStore(match_folder(tmp_path, run.settings), run) as store:
        for result in results:
            store.append(result)
    (shard,) = tmp_path.rglob("matches-*.h5")
    for stored, result in zip(MatchStore(shard.parent).results(), results, strict=True):
        assert stored.verdict == result.verdict
        assert stored.verification.kind is result.verification.kind
        assert stored.verification.model == result.verification.model


def test_files_without_a_verdict_are_read(tmp_path) -> None:
    """As versions before wrote them: one kind for a whole shard, no verdict and no model."""
    run, result = make_run(), judged(2)
    path = tmp_path / "a.json"
    write_result(path, result, run)
    content = json.loads(path.read_text(encoding="utf-8"))
    del content["verdict"], content["verification"]["model"]
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_result(path).verdict is None
    with MatchStore(match_folder(tmp_path, run.settings), run) as store:
        store.append(result)
    (shard,) = tmp_path.rglob("matches-*.h5")

    def without(file: h5py.File) -> None:
        with h5py.File(shard, "r") as present:
            for name in present:
                present.copy(name, file)
            for name, value in present.attrs.items():
                file.attrs[name] = value
        for name in ("verdict", "verdict_flags", "kind", "model"):
            del file["pairs"][name]
        shares = json.loads(file.attrs["verification"])
        file.attrs["verification"] = json.dumps({**shares, "kind": "point_map"})

    write_hdf5(shard, build_hdf5(without))
    (index,) = tmp_path.rglob("index.h5")
    index.unlink()
    (stored,) = MatchStore(shard.parent).results()
    assert stored.verdict is None
    assert stored.verification.kind is ModelKind.POINT_MAP
    assert np.array_equal(stored.points_a_px, result.points_a_px)


@pytest.mark.parametrize(("key", "value"), [("probability", "high"), ("flags", [1]), ("overlap", 3)])
def test_a_damaged_verdict_is_refused_by_name(tmp_path, key: str, value: object) -> None:
    path = tmp_path / "a.json"
    write_result(path, judged(0), make_run())
    content = json.loads(path.read_text(encoding="utf-8"))
    content["verdict"][key] = value
    path.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(Exception, match=rf"a.json: damaged .*'verdict.{key}"):
        read_result(path)
