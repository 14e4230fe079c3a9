import json
from pathlib import Path

import numpy as np
import pytest

from engine.errors import DataSetError, ResultFileError
from engine.store.result_json import existing_digest, read_result


def earlier_document(n_a=28 * 21, grid_a=None, n_b=21 * 21, grid_b=21, size=336) -> dict:
    """A file as the earlier tool wrote it, reduced to two matches."""
    return {
        "meta": {
            "repo_dir": "/workspace/dinov3",
            "img_root": "/opt/datasets",
            "embed_root": "/exports/dinov3_embeds",
            "match_root": "/exports/pair_match",
            "ckpt": "/opt/weights/dinov3_vits16_pretrain_lvd1689m-08c60483.pth",
            "hub_model": "dinov3_vits16",
            "device": "cuda",
            "image_size": size,
        },
        "image_a": "/opt/datasets/250912150549_400/250912150549_400_0001.jpg",
        "image_b": "/opt/datasets/250912161658_200/250912161658_200_0003.jpg",
        "weight": "vits16",
        "cosine": 0.8,
        "time_ms": {"forward_a": 10.0, "forward_b": 11.0, "total": 30.0},
        "advanced_settings": {
            "match_threshold": 0.1,
            "max_features": 1000,
            "keypoint_threshold": 0.015,
            "line_threshold": 0.2,
            "matching_mode": "mutual_knn_k1_unique",
        },
        "patch": {
            "n_a": n_a,
            "n_b": n_b,
            "n_selected_a": 100,
            "n_selected_b": 90,
            "grid_g_a": grid_a,
            "grid_g_b": grid_b,
            "idx_a": [0, 29],
            "idx_b": [440, 22],
            "similarities": [0.5, 0.75],
        },
    }


def save(folder: Path, document: dict) -> Path:
    path = folder / "vits16_400.0001_200.0003.json"
    path.write_text(json.dumps(document))
    return path


def located(size_a, size_b):
    asked = []

    def locate(recorded: str, key: str):
        asked.append((recorded, key))
        return Path("/here") / Path(recorded).name, size_a if "_400_" in recorded else size_b

    return locate, asked


def test_a_null_grid_comes_from_the_photograph_and_a_square_one_from_the_file(tmp_path):
    locate, asked = located((4000, 3000), (2000, 2000))
    stored = read_result(save(tmp_path, earlier_document()), locate)
    assert stored.earlier_tool
    assert stored.verification is None
    assert asked == [
        ("/opt/datasets/250912150549_400/250912150549_400_0001.jpg", "250912150549:400.0001"),
        ("/opt/datasets/250912161658_200/250912161658_200_0003.jpg", "250912161658:200.0003"),
    ]
    assert (stored.image_a.grid, stored.image_a.encoded_size, stored.image_a.label) == (
        (21, 28),
        (448, 336),
        "400.0001",
    )
    assert (stored.image_b.grid, stored.image_b.encoded_size) == ((21, 21), (336, 336))
    assert stored.image_a.path == Path("/here/250912150549_400_0001.jpg")
    assert stored.similarity.tolist() == [0.75, 0.5]
    assert stored.token_a.tolist() == [29, 0]
    # Hand-computed: a token covers 4000 / 28 = 142.857 px; tokens (1, 1) and (0, 0), best match first.
    np.testing.assert_allclose(stored.points_a_px, [[213.7857143, 213.7857143], [70.9285714, 70.9285714]], atol=1e-6)
    # 2000 / 21 = 95.238 px; tokens 22 = (1, 1) and 440 = (20, 20).
    np.testing.assert_allclose(
        stored.points_b_px, [[142.3571429, 142.3571429], [1951.8809524, 1951.8809524]], atol=1e-6
    )


def test_pixels_that_fill_no_patch_belong_to_no_token(tmp_path):
    # 5472 x 3648 at 336: 504 x 336 encoded, 31 columns of 16 and 8 pixels over.
    locate, _ = located((5472, 3648), (2000, 2000))
    document = earlier_document(n_a=31 * 21)
    document["patch"]["idx_a"] = [0, 30]
    stored = read_result(save(tmp_path, document), locate)
    assert stored.image_a.grid == (21, 31)
    scale = 5472 / 504
    np.testing.assert_allclose(stored.points_a_px[:, 0], [30.5 * 16 * scale - 0.5, 8 * scale - 0.5], atol=1e-6)


def test_portrait_photographs(tmp_path):
    locate, _ = located((3000, 4000), (2000, 2000))
    stored = read_result(save(tmp_path, earlier_document()), locate)
    assert (stored.image_a.grid, stored.image_a.encoded_size) == ((28, 21), (336, 448))


def test_a_photograph_brought_to_a_square(tmp_path):
    locate, _ = located((4000, 3000), (2000, 2000))
    stored = read_result(save(tmp_path, earlier_document(n_a=441, grid_a=21)), locate)
    assert (stored.image_a.grid, stored.image_a.encoded_size) == ((21, 21), (336, 336))
    np.testing.assert_allclose(stored.points_a_px[1], [0.5 * 4000 / 21 - 0.5, 0.5 * 3000 / 21 - 0.5], atol=1e-6)


def test_another_photograph_than_the_one_matched_is_refused(tmp_path):
    locate, _ = located((4000, 2000), (2000, 2000))
    with pytest.raises(ResultFileError, match=r"588 tokens.*gives 21 x 42.*not the photograph that was matched"):
        read_result(save(tmp_path, earlier_document()), locate)


def test_a_grid_that_contradicts_the_token_count_is_refused(tmp_path):
    locate, _ = located((4000, 3000), (2000, 2000))
    with pytest.raises(ResultFileError, match="grid_g_b"):
        read_result(save(tmp_path, earlier_document(grid_b=20)), locate)


def test_the_photographs_are_needed(tmp_path):
    path = save(tmp_path, earlier_document())
    with pytest.raises(ResultFileError, match="IMG_ROOT"):
        read_result(path)
    assert existing_digest(path) is None


def test_an_error_of_locating_passes_through(tmp_path):
    def locate(_recorded, key):
        raise DataSetError(f"no {key}")

    with pytest.raises(DataSetError, match=r"no 250912150549:400\.0001"):
        read_result(save(tmp_path, earlier_document()), locate)


@pytest.mark.parametrize("name", ["image_a", "weight", "cosine", "patch", "meta"])
def test_a_missing_key_is_named(tmp_path, name):
    document = earlier_document()
    del document[name]
    locate, _ = located((4000, 3000), (2000, 2000))
    with pytest.raises(ResultFileError, match=f"'{name}.*' is missing"):
        read_result(save(tmp_path, document), locate)
