import copy
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from store_samples import assert_same_arrays, make_image, make_result, make_run

from engine.errors import ResultFileError
from engine.hooks import ModelKind
from engine.results import Verification
from engine.store.facts import FileFacts
from engine.store.result_json import existing_digest, read_result, result_path, write_result

ARRAYS = ("token_a", "token_b", "points_a_px", "points_b_px", "similarity")


def written(folder: Path, result, run) -> Path:
    path = result_path(folder, run.settings.weights, result.image_a.label, result.image_b.label)
    write_result(path, result, run)
    return path


def strict_json(path: Path):
    def refuse(constant):
        raise AssertionError(f"not JSON: {constant}")

    return json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("model", [True, False])
def test_reading_gives_what_was_written_to_the_bit(tmp_path, seed, model):
    a, b = make_image(1), make_image(3, altitude=200, grid=(30, 21), size=(2111, 3017))
    result, run = make_result(a, b, seed, refined=bool(seed % 2), model=model), make_run()
    stored = read_result(written(tmp_path, result, run))
    assert_same_arrays(stored, result, ARRAYS)
    assert_same_arrays(stored.verification, result.verification, ["inliers"])
    if model:
        assert_same_arrays(stored.verification, result.verification, ["matrix"])
    else:
        assert stored.verification.matrix is None
    assert (stored.cosine, stored.time_ms) == (result.cosine, result.time_ms)
    assert (stored.selected_a, stored.selected_b) == (result.selected_a, result.selected_b)
    for image, given_image in ((stored.image_a, a), (stored.image_b, b)):
        for name in ("path", "key", "label", "size", "encoded_size", "grid"):
            assert getattr(image, name) == getattr(given_image, name), name
        assert image.facts == FileFacts.of(given_image)
    assert stored.weights == "vitl16+"
    assert stored.settings["filter_options"] == run.settings.filter_options
    assert stored.settings_digest == run.settings.digest()
    assert stored.matching_mode == "mutual_knn_k1_unique"
    assert not stored.earlier_tool
    found = stored.verification
    assert (found.filter, found.kind, found.reproj_unit) == ("homography", ModelKind.POINT_MAP, "encoded")
    assert found.options == result.verification.options


def test_keys_of_the_earlier_tool_keep_their_meaning(tmp_path):
    a, b = make_image(1), make_image(2, altitude=200, grid=(21, 21))
    result = make_result(a, b, 5, count=4)
    document = strict_json(written(tmp_path, result, make_run()))
    assert document["meta"] == {
        "repo_dir": "",
        "img_root": "/data/항공 사진",
        "embed_root": "/exports/e",
        "match_root": "/exports/m",
        "ckpt": "dinov3_vitl16plus_pretrain_lvd1689m-46503df0.pth",
        "hub_model": "dinov3_vitl16plus",
        "device": "cpu",
        "image_size": 336,
    }
    assert document["image_a"] == "/data/항공 사진/250912150549_400/250912150549_400_0001.jpg"
    assert (document["weight"], document["cosine"]) == ("vitl16+", result.cosine)
    assert set(document["time_ms"]) == {"forward_a", "forward_b", "total"}
    assert document["advanced_settings"] == {
        "match_threshold": 0.1,
        "max_features": 1000,
        "keypoint_threshold": 0.015,
        "line_threshold": 0.2,
        "matching_mode": "mutual_knn_k1_unique",
    }
    patch = document["patch"]
    assert {name: patch[name] for name in ("n_a", "n_b", "n_selected_a", "n_selected_b", "grid_g_a", "grid_g_b")} == {
        "n_a": 588,
        "n_b": 441,
        "n_selected_a": 585,
        "n_selected_b": 441,
        "grid_g_a": None,
        "grid_g_b": 21,
    }
    assert patch["idx_a"] == result.token_a.tolist()
    assert patch["idx_b"] == result.token_b.tolist()
    assert np.array_equal(np.asarray(patch["similarities"], np.float32), result.similarity)


def test_the_hugging_face_model_and_the_cuda_device_are_named(tmp_path):
    run = replace(make_run(source="hf"), provider="CUDAExecutionProvider")
    document = strict_json(written(tmp_path, make_result(make_image(1), make_image(2)), run))
    assert document["meta"]["hf_model"] == "facebook/dinov3-vitl16plus-pretrain-lvd1689m"
    assert "hub_model" not in document["meta"]
    assert (document["meta"]["device"], document["provider"]) == ("cuda", "CUDAExecutionProvider")


def test_reprojection_error_is_that_of_the_inliers_in_original_pixels(tmp_path):
    result = make_result(make_image(1), make_image(2), 3, count=5)
    shifted = result.points_a_px + np.array([[3.0, 4.0], [0, 0], [6.0, 8.0], [300, 0], [0, 5.0]])
    verification = replace(result.verification, matrix=np.eye(3), inliers=np.array([True, True, True, False, True]))
    result = replace(result, points_b_px=shifted, verification=verification)
    path = written(tmp_path, result, make_run())
    stored = read_result(path)
    assert (stored.error_mean_px, stored.error_median_px) == pytest.approx((5.0, 5.0), abs=1e-9)
    document = strict_json(path)["verification"]
    assert document["inlier_count"] == 4
    assert (document["ransac_method"], document["reproj_threshold"], document["reproj_unit"]) == (
        "magsac",
        8.0,
        "encoded",
    )


def test_no_filter_and_no_matches(tmp_path):
    result = make_result(make_image(1), make_image(2), count=0, model=False)
    off = Verification("off", ModelKind.NONE, {}, "encoded", None, np.ones(0, bool))
    stored = read_result(written(tmp_path, replace(result, verification=off), make_run()))
    assert len(stored.token_a) == 0
    assert stored.points_a_px.shape == (0, 2)
    assert stored.error_mean_px is None


def test_values_that_are_not_finite_are_written_as_null(tmp_path):
    result = make_result(make_image(1), make_image(2), count=2)
    result.similarity[1] = np.nan
    result.points_b_px[1, 0] = np.inf
    path = written(tmp_path, replace(result, cosine=math.nan), make_run())
    strict_json(path)
    stored = read_result(path)
    assert math.isnan(stored.cosine)
    assert np.isnan(stored.similarity).tolist() == [False, True]
    assert np.isnan(stored.points_b_px).tolist() == [[False, False], [True, False]]


def test_each_list_of_numbers_is_on_one_line(tmp_path):
    path = written(tmp_path, make_result(make_image(1), make_image(2), count=300), make_run())
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") < 200
    assert '"img_root": "/data/항공 사진"' in text


def test_file_names_that_are_not_unicode_survive(tmp_path):
    strange = make_image(1)
    strange = replace(strange, path=strange.path.with_name("caf\udce9.jpg"), label="x/caf\udce9")
    path = written(tmp_path, make_result(strange, make_image(2)), make_run())
    path.read_bytes().decode("utf-8")
    assert read_result(path).image_a.path == strange.path


def test_an_up_to_date_file_is_recognised(tmp_path):
    run, a, b = make_run(), make_image(1), make_image(2)
    path = written(tmp_path, make_result(a, b), run)
    existing = existing_digest(path)
    digest, facts_a, facts_b = run.settings.digest(), FileFacts.of(a), FileFacts.of(b)
    assert existing.is_of(digest, facts_a, facts_b)
    assert not existing.is_of(make_run(image_size=672).settings.digest(), facts_a, facts_b)
    assert not existing.is_of(digest, replace(facts_a, modified_ns=1), facts_b)
    assert not existing.is_of(digest, facts_a, replace(facts_b, bytes=1))


def test_a_missing_or_damaged_file_is_not_up_to_date(tmp_path):
    path = tmp_path / "x.json"
    assert existing_digest(path) is None
    path.write_text('{"schema": 2, "settings_digest": "')
    assert existing_digest(path) is None


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b"[" * 100_000, "not valid JSON"),
        (b'{"a": ' + b"9" * 10_000 + b"}", "not valid JSON"),
        (b"[1]", "no JSON object"),
        (b"{}", "'patch' is missing"),
        (b'{"schema": 3}', "layout 3"),
        (b'{"schema": "two"}', "'schema' must be"),
    ],
)
def test_foreign_and_damaged_files_are_refused_by_name(tmp_path, content, words):
    path = tmp_path / "결과 1.json"
    path.write_bytes(content)
    with pytest.raises(ResultFileError, match=words) as caught:
        read_result(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ResultFileError, match="cannot be read"):
            read_result(path)


@pytest.fixture(scope="module", params=["this tool", "earlier tool"])
def sample(request, tmp_path_factory) -> tuple[Path, dict]:
    folder = tmp_path_factory.mktemp("fuzz")
    path = written(folder, make_result(make_image(1), make_image(2), count=3), make_run())
    document = strict_json(path)
    if request.param == "earlier tool":
        kept = ("meta", "image_a", "image_b", "weight", "cosine", "time_ms", "advanced_settings", "patch")
        document = {name: document[name] for name in kept}
    (folder / "changed.json").write_text(json.dumps(document))
    read_or_refuse(folder / "changed.json")
    return folder / "changed.json", document


def places(value, at=()):
    yield at
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, child in children:
        yield from places(child, (*at, name))


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.integers(-5, 700) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


def read_or_refuse(path: Path) -> None:
    """Whole results only: arrays agree and indices lie in the grid; or an error that names the file."""
    try:
        stored = read_result(path, locate=lambda _path, _key: (Path("x.jpg"), (4000, 3000)))
    except ResultFileError as error:
        named = str(path) in str(error)
        assert named, error  # noqa: PT017 - a refusal is one of two right outcomes
        return
    count = len(stored.token_a)
    assert len(stored.token_b) == len(stored.similarity) == len(stored.points_a_px) == len(stored.points_b_px) == count
    for tokens, image in ((stored.token_a, stored.image_a), (stored.token_b, stored.image_b)):
        assert not count or 0 <= tokens.min() <= tokens.max() < image.grid[0] * image.grid[1]
    if stored.verification is not None:
        assert len(stored.verification.inliers) == count


@settings(max_examples=600, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_value_may_be_wrong_without_a_traceback(sample, data):
    path, document = sample
    changed = copy.deepcopy(document)
    at = data.draw(st.sampled_from([place for place in places(document) if place]))
    parent = changed
    for name in at[:-1]:
        parent = parent[name]
    if data.draw(st.booleans()):
        parent[at[-1]] = data.draw(JSON_VALUES)
    else:
        del parent[at[-1]]
    path.write_text(json.dumps(changed))
    read_or_refuse(path)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_any_byte_may_be_wrong_without_a_traceback(sample, data):
    path, document = sample
    content = bytearray(json.dumps(document).encode())
    start = data.draw(st.integers(0, len(content) - 1))
    content[start : start + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=4))
    path.write_bytes(content)
    read_or_refuse(path)
