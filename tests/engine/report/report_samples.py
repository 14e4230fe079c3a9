"""Made-up runs with known geometry. Imported by the tests of reports."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from engine.coordinates import project
from engine.features import FeatureMap
from engine.hooks import ModelKind
from engine.photographs import Photographs
from engine.report import ReportLimits, write_report
from engine.report.source import RunDescription, SourcePair
from engine.results import ImageRef, MatchSettings, PairResult, RunInfo, Verdict, Verification
from engine.store.facts import FileFacts
from engine.store.features_h5 import FeatureIdentity, FeatureStore
from engine.store.names import image_name

SIZE_A, SIZE_B, GRID_A, GRID_B, DIM = (480, 360), (440, 400), (9, 12), (10, 11), 48
ANGLE, SCALE = np.radians(20.0), 1.25
TRUE_MAP = np.array(
    [
        [SCALE * np.cos(ANGLE), -SCALE * np.sin(ANGLE), -20.0],
        [SCALE * np.sin(ANGLE), SCALE * np.cos(ANGLE), -120.0],
        [0.0, 0.0, 1.0],
    ]
)
INLIERS, OUTLIERS = 40, 25
WEIGHTS, GRAPH_SHA, IMAGE_SIZE = "vits16", "ab" * 32, 144


class ListSource:
    """A source of pairs held in memory."""

    def __init__(self, results: list[SourcePair], image_root: Path) -> None:
        self._results = results
        self.problems: list[str] = []
        self.description = RunDescription(
            name="0123456789ab",
            weights=WEIGHTS,
            provider="CPUExecutionProvider",
            matching_mode="mutual_knn_k1_unique",
            filter="homography",
            graph="vits16-fp32.onnx",
            checkpoint="dinov3_vits16_pretrain_lvd1689m-08c60483.pth",
            image_root=str(image_root),
            graph_sha256=GRAPH_SHA,
            image_size=IMAGE_SIZE,
            settings={"match_threshold": 0.1, "max_features": 1000},
            versions={"numpy": "2.0.0"},
        )

    def __len__(self) -> int:
        return len(self._results)

    def pairs(self) -> Iterator[SourcePair]:
        yield from self._results


def photograph(path: Path, size: tuple[int, int], seed: int) -> None:
    """A photograph of coarse random texture."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 226, (size[1] // 20, size[0] // 20, 3)).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".jpg", cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))
    assert done
    path.write_bytes(data.tobytes())


def warped_photograph(source: Path, path: Path) -> None:
    """What a camera at b's place sees of photograph a: b = TRUE_MAP(a)."""
    pixels = cv2.imdecode(np.frombuffer(source.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(".jpg", cv2.warpPerspective(pixels, TRUE_MAP, SIZE_B), [cv2.IMWRITE_JPEG_QUALITY, 95])
    assert done
    path.write_bytes(data.tobytes())


def reference(path: Path, key: str, letter: str) -> ImageRef:
    size, grid = (SIZE_A, GRID_A) if letter == "a" else (SIZE_B, GRID_B)
    facts = path.stat() if path.exists() else None
    return ImageRef(
        key=key,
        label=key.replace(":", "_"),
        path=path,
        size=size,
        encoded_size=(grid[1] * 16, grid[0] * 16),
        grid=grid,
        bytes=facts.st_size if facts else 0,
        modified_ns=facts.st_mtime_ns if facts else 0,
    )


def pair_result(image_a: ImageRef, image_b: ImageRef, inliers: int = INLIERS, seed: int = 0) -> PairResult:
    """A pair under TRUE_MAP: inliers half a pixel off it, outliers anywhere; no model where `inliers` is 0."""
    rng = np.random.default_rng(seed)
    points_b = np.empty((0, 2))
    points_a = np.empty((0, 2))
    while len(points_a) < inliers:
        tried = rng.uniform([10, 10], [SIZE_A[0] - 10, SIZE_A[1] - 10], (200, 2))
        mapped = project(TRUE_MAP, tried)
        inside = ((mapped > 5) & (mapped < np.array(SIZE_B) - 5)).all(axis=1)
        points_a, points_b = np.vstack([points_a, tried[inside]]), np.vstack([points_b, mapped[inside] + 0.5])
    points_a = np.vstack([points_a[:inliers], rng.uniform([0, 0], SIZE_A, (OUTLIERS, 2))])
    points_b = np.vstack([points_b[:inliers], rng.uniform([0, 0], SIZE_B, (OUTLIERS, 2))])
    order = rng.permutation(inliers + OUTLIERS)
    kept = (np.arange(inliers + OUTLIERS) < inliers)[order]
    count = inliers + OUTLIERS
    return PairResult(
        image_a=image_a,
        image_b=image_b,
        cosine=round(float(rng.uniform(0.1, 0.9)), 4),
        token_a=np.zeros(count, np.int32),
        token_b=np.zeros(count, np.int32),
        points_a_px=points_a[order],
        points_b_px=points_b[order],
        similarity=np.linspace(0.95, 0.35, count).astype(np.float32),
        selected_a=100,
        selected_b=99,
        verification=Verification(
            filter="homography",
            kind=ModelKind.POINT_MAP,
            options={"ransac_method": "cv2_usac_magsac", "reproj_th": 8.0},
            reproj_unit="encoded",
            matrix=TRUE_MAP if inliers else None,
            inliers=kept,
        ),
        time_ms={"forward_a": 12.5, "forward_b": 0.0, "total": 20.25},
    )


def tokens_of(letter: str, seed: int) -> np.ndarray:
    """[N, D] float16 unit tokens, distinct enough that the best partner of each is clear."""
    grid = GRID_A if letter == "a" else GRID_B
    values = np.random.default_rng(seed).normal(size=(grid[0] * grid[1], DIM)).astype(np.float32)
    return (values / np.linalg.norm(values, axis=1, keepdims=True)).astype(np.float16)


def store_tokens(embed_root: Path, image_root: Path, images: list[tuple[ImageRef, np.ndarray]]) -> None:
    with FeatureStore(embed_root, WEIGHTS, FeatureIdentity(GRAPH_SHA, IMAGE_SIZE)) as store:
        for ref, tokens in images:
            features = FeatureMap(
                key=ref.key,
                descriptors=tokens,
                norms=np.ones(len(tokens), np.float32),
                token_index=np.arange(len(tokens), dtype=np.int32),
                global_descriptor=np.ones(DIM, np.float32) / np.sqrt(DIM),
                grid=ref.grid,
                image_size=ref.size,
                encoded_size=ref.encoded_size,
            )
            store.add(image_name(ref.path, image_root), FileFacts(ref.bytes, ref.modified_ns), features)


def run_info(root: Path) -> RunInfo:
    """What `small_run` was made with."""
    settings = MatchSettings(WEIGHTS, "hub", GRAPH_SHA, IMAGE_SIZE, 1000, 0.015, 0.1, 0.2, "mutual_knn")
    paths = {"repo_dir": "", "img_root": str(root / "images"), "embed_root": "", "match_root": str(root / "match")}
    provider = "CPUExecutionProvider"
    return RunInfo(settings, "mutual_knn_k1_unique", provider, Path("g.onnx"), "c.pth", "class_token", paths, {})


def small_run(root: Path) -> tuple[ListSource, Path]:
    """3 photographs at 400 and 3 at 200; same numbers show the same place, others have few inliers or no model.

    Returns:
        the source, and the folder of its feature maps (of the first pair only).
    """
    images = root / "images"
    a, b = [], []
    for frame in (1, 2, 3):
        path_a, path_b = images / f"F_400/F_400_{frame:04d}.jpg", images / f"G_200/G_200_{frame:04d}.jpg"
        photograph(path_a, SIZE_A, frame)
        warped_photograph(path_a, path_b)
        a.append(reference(path_a, f"400.{frame:04d}", "a"))
        b.append(reference(path_b, f"200.{frame:04d}", "b"))
    pairs, run = [], run_info(root)
    for row, ref_a in enumerate(a):
        for col, ref_b in enumerate(b):
            inliers = INLIERS - 5 * row if row == col else 0 if (row, col) == (2, 0) else 6 + row + col
            result = pair_result(ref_a, ref_b, inliers, 10 * row + col)
            pairs.append(SourcePair(result, root / "pair_match" / f"{WEIGHTS}_{row}" / f"{row}-{col}.json", run))
    store_tokens(root / "embeds", images, [(a[0], tokens_of("a", 1)), (b[0], tokens_of("b", 2))])
    return ListSource(pairs, images), root / "embeds"


def judged_run(root: Path, probabilities: Sequence[float | None]) -> ListSource:
    """`small_run` with verdicts of these probabilities, row by row of its map."""
    source, _ = small_run(root)
    judged = []
    for pair, probability in zip(source.pairs(), probabilities, strict=True):
        verdict = None if probability is None else Verdict(probability, (), 0.5, 0.5, 0.5, -3.0)
        judged.append(replace(pair, result=replace(pair.result, verdict=verdict)))
    return ListSource(judged, root / "images")


def write_small_report(root: Path, limits: ReportLimits | None = None) -> Path:
    """The report of `small_run`; returns its folder."""
    source, embeds = small_run(root)
    return write_report(source, root / "report", Photographs(root / "images"), embeds, limits).index.parent
