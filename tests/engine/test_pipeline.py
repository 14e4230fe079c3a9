"""What a run finds, held against plain loops over the graph's own outputs; and what it does only once."""

import json
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest
from conftest import STRIDE

from engine import encoding, imaging

MATCHES = Path("exports") / "pair_match"


def only_document(folder: Path) -> dict:
    [path] = folder.rglob("*.json")
    return json.loads(path.read_text("utf-8"))


class Oracle:
    """The words of the specification in plain Python, from a picture that needs no resizing."""

    def __init__(self, graph: Path, picture: Path) -> None:
        pixels = cv2.cvtColor(cv2.imread(str(picture)), cv2.COLOR_BGR2RGB)
        session = onnxruntime.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
        tokens, [self.globe] = session.run(None, {"image": pixels[None]})
        self.tokens = tokens[0].astype(np.float64)
        self.norms = [float(np.sqrt((row**2).sum())) for row in self.tokens]
        self.size = pixels.shape[1], pixels.shape[0]
        self.grid = pixels.shape[0] // STRIDE, pixels.shape[1] // STRIDE

    def selected(self, keypoint_th: float, max_features: int) -> list[int]:
        low, high = min(self.norms), max(self.norms)
        kept = [i for i, norm in enumerate(self.norms) if (norm - low) / (high - low) >= keypoint_th]
        if len(kept) > max_features:
            kept = [kept[round(i * (len(kept) - 1) / (max_features - 1))] for i in range(max_features)]
        return kept

    def unit(self, rows: list[int]) -> np.ndarray:
        """As they are stored: rounded to float16 after the division."""
        return np.stack([(self.tokens[i] / self.norms[i]).astype(np.float16) for i in rows]).astype(np.float64)

    def point(self, token: int) -> tuple[float, float]:
        row, col = divmod(token, self.grid[1])
        return (col + 0.5) * self.size[0] / self.grid[1] - 0.5, (row + 0.5) * self.size[1] / self.grid[0] - 0.5


def mutual_best(a: Oracle, b: Oracle, rows_a: list[int], rows_b: list[int]) -> dict[tuple[int, int], float]:
    similarity = a.unit(rows_a) @ b.unit(rows_b).T
    best_b, best_a = similarity.argmax(axis=1), similarity.argmax(axis=0)
    return {(rows_a[i], rows_b[j]): float(similarity[i, j]) for i, j in enumerate(best_b.tolist()) if best_a[j] == i}


def add_noise(picture: Path) -> None:
    """More and more of it from left to right, so that similarities are of every size."""
    pixels = cv2.imread(str(picture)).astype(np.float64)
    strength = np.linspace(0, 150, pixels.shape[1])[None, :, None]
    noisy = pixels + np.random.default_rng(3).normal(0, 1, pixels.shape) * strength
    cv2.imwrite(str(picture), np.clip(noisy, 0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("match_th", "line_th", "keypoint_th", "max_features"),
    [
        (0.1, 0.2, 0.015, 1000),
        (0.9, 0.2, 0.015, 1000),
        (-1, 0.95, 0.015, 1000),
        (0.1, 0.2, 0.5, 1000),
        (0.1, 0.2, 0.0, 100),
        (-1, 0.0, 0.3, 77),
        (0.1, 0.2, 0.015, 1),
    ],
)
def test_thresholds_mean_what_the_specification_says(
    match, data_set, tiny_graph, tmp_path, match_th, line_th, keypoint_th, max_features
) -> None:
    add_noise(data_set / "B2_200" / "B2_200_0002.png")
    ran = match(
        *("-a", "400.1", "-b", "200.2", "-i", 320, "--filter", "off"),
        *("-t", match_th, "-l", line_th, "-k", keypoint_th, "-x", max_features),
    )
    assert ran.code == 0, ran.err
    a = Oracle(tiny_graph, data_set / "A1_400" / "A1_400_0001.png")
    b = Oracle(tiny_graph, data_set / "B2_200" / "B2_200_0002.png")
    if max_features == 1:
        rows_a, rows_b = (side.selected(keypoint_th, 1000)[:1] for side in (a, b))
    else:
        rows_a, rows_b = (side.selected(keypoint_th, max_features) for side in (a, b))
    found = mutual_best(a, b, rows_a, rows_b)
    best = max(found.values())
    expected = {pair: value for pair, value in found.items() if value >= match_th and value >= line_th * best}

    patch = only_document(tmp_path / MATCHES)["patch"]
    assert (patch["n_a"], patch["n_selected_a"]) == (len(a.tokens), len(rows_a))
    assert (patch["n_b"], patch["n_selected_b"]) == (len(b.tokens), len(rows_b))
    given = dict(zip(zip(patch["idx_a"], patch["idx_b"], strict=True), patch["similarities"], strict=True))
    # A similarity within rounding of a threshold, or a tie of two, may fall either way.
    doubtful = set(given) ^ set(expected)
    assert len(doubtful) <= 2, doubtful
    for pair in set(given) & set(expected):
        assert given[pair] == pytest.approx(expected[pair], abs=2e-3)
    assert patch["similarities"] == sorted(patch["similarities"], reverse=True)
    if (line_th, match_th) == (0.95, -1) or match_th == 0.9 or keypoint_th == 0.5:
        assert 20 < len(expected) < 0.9 * len(mutual_best(a, b, a.selected(0.015, 1000), b.selected(0.015, 1000)))


@pytest.mark.parametrize("matcher", [("-M", "k=5"), ("--matcher", "ratio_test", "-M", "mutual=false", "ratio=1")])
def test_matches_are_one_to_one_and_inside_the_grid(match, tmp_path: Path, matcher: tuple[str, ...]) -> None:
    assert match("-a", "400.1", "-b", "200.1", "-t", "-1", "-l", "0", *matcher).code == 0
    patch = only_document(tmp_path / MATCHES)["patch"]
    assert len(patch["idx_a"]) > 100
    for side in "ab":
        index = patch[f"idx_{side}"]
        assert len(set(index)) == len(index)
        assert 0 <= min(index) <= max(index) < patch[f"n_{side}"]


def test_points_and_geometry_of_a_known_shift(match, tmp_path: Path) -> None:
    """b sees a's ground 32 px further left: two tokens at full size, so the similarity there is 1."""
    assert match("-a", "400.1", "-b", "200.1", "-i", "320").code == 0
    text = only_document(tmp_path / MATCHES)
    a, b = (np.array(text["points_px"][side]) for side in "ab")
    right = np.all(a - b == [32, 0], axis=1)
    assert right.mean() > 0.9
    assert np.array(text["patch"]["similarities"])[right] == pytest.approx(1, abs=1e-3)
    matrix = np.array(text["verification"]["matrix"])
    assert matrix == pytest.approx(np.array([[1, 0, -32], [0, 1, 0], [0, 0, 1]]), abs=1e-4)
    assert np.array_equal(np.array(text["verification"]["inliers"]), right)
    assert text["verification"]["inlier_count"] == right.sum()
    assert text["verification"]["reprojection_error_px"]["median"] == pytest.approx(0, abs=1e-3)


def test_the_cosine_compares_class_tokens(match, data_set: Path, tiny_graph: Path, tmp_path: Path) -> None:
    assert match("-a", "400.1", "-b", "200.2", "-i", "320").code == 0
    a = Oracle(tiny_graph, data_set / "A1_400" / "A1_400_0001.png").globe
    b = Oracle(tiny_graph, data_set / "B2_200" / "B2_200_0002.png").globe
    text = only_document(tmp_path / MATCHES)
    assert text["cosine"] == pytest.approx(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), abs=1e-5)
    assert text["global_descriptor"] == "class_token"


def test_each_photograph_is_decoded_and_encoded_once(match, monkeypatch) -> None:
    decoded: Counter[Path] = Counter()
    runs: list[tuple[int, ...]] = []
    real_read = imaging.read_reduced

    def read(path: Path, needed) -> imaging.Decoded:
        decoded[path] += 1
        return real_read(path, needed)

    real_run = onnxruntime.InferenceSession.run

    def run(session, outputs, feeds, *rest):
        if "image" in feeds:  # matchers have sessions of their own
            runs.append(feeds["image"].shape)
        return real_run(session, outputs, feeds, *rest)

    monkeypatch.setattr(encoding, "read_reduced", read)
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", run)
    assert match("-e").code == 0
    assert sorted(decoded.values()) == [1, 1, 1, 1]
    assert len(runs) == 4
    assert match("-e", "-t", "0.2").code == 0
    assert len(runs) == 4, "stored features are used again"
    assert match("-x", "500").code == 0
    assert match("-i", "64").code == 0
    assert len(runs) == 4 + 4 + 4


def test_an_unreadable_photograph_is_tried_once(match, data_set: Path, monkeypatch) -> None:
    (data_set / "A1_400" / "A1_400_0003.png").write_bytes(b"no picture")
    tried: Counter[str] = Counter()
    real_read = imaging.read_reduced

    def read(path: Path, needed) -> imaging.Decoded:
        tried[path.name] += 1
        return real_read(path, needed)

    monkeypatch.setattr(encoding, "read_reduced", read)
    assert match().code == 1
    assert tried["A1_400_0003.png"] == 1


def test_results_do_not_depend_on_where_features_came_from(match, tmp_path: Path) -> None:
    match("-a", "400", "-b", "200", "--tag", "fresh")
    match("-e", "-a", "400", "-b", "200", "--tag", "storing")
    match("-e", "-a", "400", "-b", "200", "--tag", "stored")
    found = []
    for tag in ("fresh", "storing", "stored"):
        texts = [json.loads(path.read_text("utf-8")) for path in sorted(Path(f"{MATCHES}-{tag}").rglob("*.json"))]
        assert len(texts) == 4
        for text in texts:
            text.pop("time_ms")
            text["meta"].pop("match_root")
        found.append(texts)
    assert found[0] == found[1] == found[2]
