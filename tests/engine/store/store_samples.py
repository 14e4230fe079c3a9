"""Made-up results and feature maps, the same for the same seed. Imported by the tests of the stores."""

from pathlib import Path

import numpy as np

from engine.coordinates import token_centres_px
from engine.features import FeatureMap
from engine.hooks import ModelKind
from engine.results import ImageRef, MatchSettings, PairResult, RunInfo, Verification

IMG_ROOT = Path("/data/항공 사진")


def make_image(frame: int, *, altitude: int = 400, grid=(21, 28), size=(4000, 3000), root: Path = IMG_ROOT) -> ImageRef:
    name = f"250912150549_{altitude}"
    path = root / name / f"{name}_{frame:04d}.jpg"
    label = f"{altitude}.{frame:04d}"
    return ImageRef(label, label, path, size, (grid[1] * 16, grid[0] * 16), grid, 1_234_567 + frame, 1_700_000_000_123)


def make_settings(**changes) -> MatchSettings:
    values = {
        "weights": "vitl16+",
        "source": "pth",
        "graph_sha256": "ab" * 32,
        "image_size": 336,
        "max_features": 1000,
        "keypoint_threshold": 0.015,
        "match_threshold": 0.1,
        "line_threshold": 0.2,
        "matcher": "mutual_knn",
        "matcher_options": {"k": 1},
        "filter": "homography",
        "filter_options": {"ransac_method": "magsac", "reproj_th": 8.0},
    }
    return MatchSettings(**{**values, **changes})


def make_run(**changes) -> RunInfo:
    return RunInfo(
        settings=make_settings(**changes),
        matching_mode="mutual_knn_k1_unique",
        provider="CPUExecutionProvider",
        graph=Path("/exports/그래프/vitl16+-fp32.onnx"),
        checkpoint="dinov3_vitl16plus_pretrain_lvd1689m-46503df0.pth",
        global_descriptor="class_token",
        paths={"repo_dir": "", "img_root": str(IMG_ROOT), "embed_root": "/exports/e", "match_root": "/exports/m"},
        versions={"numpy": np.__version__},
    )


def make_result(
    a: ImageRef, b: ImageRef, seed: int = 0, *, count: int | None = None, refined: bool = False, model=True
):
    rng = np.random.default_rng(seed)
    cells_a, cells_b = a.grid[0] * a.grid[1], b.grid[0] * b.grid[1]
    count = int(rng.integers(0, min(cells_a, cells_b))) if count is None else count
    token_a = rng.choice(cells_a, count, replace=False).astype(np.int32)
    token_b = rng.choice(cells_b, count, replace=False).astype(np.int32)
    points_a, points_b = token_centres_px(token_a, a.grid, a.size), token_centres_px(token_b, b.grid, b.size)
    if refined:
        points_b = points_b + rng.normal(size=points_b.shape)
    matrix = np.eye(3) + rng.normal(size=(3, 3)) * 1e-3
    verification = Verification(
        filter="homography",
        kind=ModelKind.POINT_MAP,
        options={"ransac_method": "magsac", "reproj_th": 8.0, "confidence": 0.9999},
        reproj_unit="encoded",
        matrix=matrix if model else None,
        inliers=rng.random(count) < 0.5 if model else np.zeros(count, bool),
    )
    return PairResult(
        image_a=a,
        image_b=b,
        cosine=float(rng.normal() / 4),
        token_a=token_a,
        token_b=token_b,
        points_a_px=points_a,
        points_b_px=points_b,
        similarity=np.sort(rng.random(count).astype(np.float32))[::-1].copy(),
        selected_a=cells_a - 3,
        selected_b=cells_b,
        verification=verification,
        time_ms={"forward_a": 1.25, "forward_b": float(rng.random()), "total": 3.5},
    )


def make_features(key: str, seed: int = 0, *, grid=(6, 7), dim: int = 24, size=(1000, 750)) -> FeatureMap:
    rng = np.random.default_rng(seed)
    count = grid[0] * grid[1]
    tokens = rng.normal(size=(count, dim)).astype(np.float32)
    norms = np.linalg.norm(tokens, axis=1)
    descriptor = rng.normal(size=dim)
    return FeatureMap(
        key=key,
        descriptors=(tokens / norms[:, None]).astype(np.float16),
        norms=norms,
        token_index=np.arange(count, dtype=np.int32),
        global_descriptor=(descriptor / np.linalg.norm(descriptor)).astype(np.float32),
        grid=grid,
        image_size=size,
        encoded_size=(grid[1] * 16, grid[0] * 16),
    )


def assert_same_arrays(one, other, names) -> None:
    """The same values and the same types, to the bit."""
    for name in names:
        a, b = getattr(one, name), getattr(other, name)
        assert a.dtype == b.dtype, name
        assert a.shape == b.shape, name
        assert a.tobytes() == b.tobytes(), name
