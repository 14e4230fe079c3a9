"""A small stored run with known geometry, for the tests of the converters."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.coordinates import project, token_centres_px
from engine.features import FeatureMap
from engine.hooks import ModelKind
from engine.results import ImageRef, MatchSettings, PairResult, RunInfo, Verification
from engine.store.facts import FileFacts
from engine.store.features_h5 import FeatureIdentity, FeatureStore
from engine.store.matches_h5 import MatchStore, match_folder
from engine.store.names import image_name

SIZE, GRID, DIM = (640, 480), (21, 28), 8
NAMES = ("A1_400/A1_400_0001.jpg", "B2_200/B2_200_0001.jpg", "B2_200/B2_200_0002.jpg")
HOMOGRAPHY = np.array([[0.8, -0.3, 100.0], [0.25, 0.85, -20.0], [1e-4, -5e-5, 1.0]])
FUNDAMENTAL = np.array([[1e-6, 2e-5, -4e-3], [-1e-5, 3e-6, 9e-3], [1e-3, -8e-3, 1.0]])


def image(root: Path, name: str, modified_ns: int = 1_700_000_000_123) -> ImageRef:
    key = ".".join(name.removesuffix(".jpg").split("_")[-2:])
    return ImageRef(key, key, root / name, SIZE, (GRID[1] * 16, GRID[0] * 16), GRID, 1000 + len(name), modified_ns)


def result(a: ImageRef, b: ImageRef, kind: ModelKind = ModelKind.POINT_MAP, *, seed: int = 0, count: int = 200):
    """Random one-to-one matches; of a point map, the true ones have b exactly where the homography sends a."""
    rng = np.random.default_rng(seed)
    cells = GRID[0] * GRID[1]
    token_a = rng.choice(cells, count, replace=False).astype(np.int32)
    token_b = rng.choice(cells, count, replace=False).astype(np.int32)
    matrix = {ModelKind.POINT_MAP: HOMOGRAPHY, ModelKind.EPIPOLAR: FUNDAMENTAL, ModelKind.NONE: None}[kind]
    inliers = rng.random(count) < 0.6 if matrix is not None else np.ones(count, bool)
    return PairResult(
        image_a=a,
        image_b=b,
        cosine=0.25,
        token_a=token_a,
        token_b=token_b,
        points_a_px=token_centres_px(token_a, GRID, SIZE),
        points_b_px=token_centres_px(token_b, GRID, SIZE),
        similarity=np.sort(rng.random(count).astype(np.float32))[::-1].copy(),
        selected_a=cells,
        selected_b=cells,
        verification=Verification("some", kind, {}, "encoded", matrix, inliers),
        time_ms={"total": 1.0},
    )


def refined(found: PairResult) -> PairResult:
    """The same matches with b's points where the homography sends a's, as a refining step would leave them."""
    return replace(found, points_b_px=project(HOMOGRAPHY, found.points_a_px))


def settings(**changes) -> MatchSettings:
    values = {
        "weights": "vits16",
        "source": "builtin",
        "graph_sha256": "cd" * 32,
        "image_size": 336,
        "max_features": 1000,
        "keypoint_threshold": 0.0,
        "match_threshold": 0.1,
        "line_threshold": 0.2,
        "matcher": "mutual_knn",
    }
    return MatchSettings(**{**values, **changes})


def run_info(root: Path, chosen: MatchSettings) -> RunInfo:
    paths = {"repo_dir": "", "img_root": str(root), "embed_root": "", "match_root": ""}
    return RunInfo(
        chosen, "mutual_knn_k1_unique", "CPUExecutionProvider", Path("g.onnx"), "c.pth", "class_token", paths, {}
    )


def store_matches(match_root: Path, image_root: Path, results: list[PairResult], chosen: MatchSettings | None = None):
    chosen = chosen or settings()
    with MatchStore(match_folder(match_root, chosen), run_info(image_root, chosen)) as store:
        for found in results:
            store.append(found)
    return match_folder(match_root, chosen)


def store_features(embed_root: Path, image_root: Path, images: list[ImageRef]) -> dict[str, FeatureMap]:
    chosen = settings()
    maps = {}
    with FeatureStore(embed_root, chosen.weights, FeatureIdentity(chosen.graph_sha256, chosen.image_size)) as store:
        for row, ref in enumerate(images):
            rng = np.random.default_rng(row)
            tokens = rng.normal(size=(GRID[0] * GRID[1], DIM)).astype(np.float32)
            norms = np.linalg.norm(tokens, axis=1)
            overall = rng.normal(size=DIM)
            features = FeatureMap(
                key=ref.key,
                descriptors=(tokens / norms[:, None]).astype(np.float16),
                norms=norms,
                token_index=np.arange(len(tokens), dtype=np.int32),
                global_descriptor=(overall / np.linalg.norm(overall)).astype(np.float32),
                grid=GRID,
                image_size=SIZE,
                encoded_size=ref.encoded_size,
            )
            name = image_name(ref.path, image_root)
            store.add(name, FileFacts.of(ref), features)
            maps[name] = features
    return maps
