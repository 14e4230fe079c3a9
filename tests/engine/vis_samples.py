"""Made-up result files and photographs, and running `engine vis` on them. Imported by the tests of drawing results."""

import io
from pathlib import Path

import cv2
import numpy as np

from engine.cli_vis import VisOptions, run_vis
from engine.coordinates import project, token_centres_px
from engine.hooks import ModelKind
from engine.plugin_registry import Registry
from engine.results import ImageRef, MatchSettings, PairResult, RunInfo, Verification
from engine.settings import Roots, load_roots
from engine.store.result_json import result_path, write_result

SIZE_A, SIZE_B, GRID = (400, 300), (360, 300), (21, 28)
ENCODED_A, ENCODED_B = (448, 336), (400, 336)
TRUE_MAP = np.array([[0.8, 0.1, 20.0], [-0.1, 0.85, 40.0], [0.0, 0.0, 1.0]])


class Terminal(io.StringIO):
    """A terminal in which everything was typed beforehand; Ctrl-C where `interrupt` is set and the text ends."""

    interrupt = False

    def isatty(self) -> bool:
        return True

    def readline(self, *arguments) -> str:
        line = super().readline(*arguments)
        if not line and self.interrupt:
            raise KeyboardInterrupt
        return line


def make_roots(folder: Path) -> Roots:
    return load_roots({"IMG_ROOT": str(folder / "항공 사진"), "EXPORT_ROOT": str(folder / "out put")})


def save_photograph(root: Path, flight: str, altitude: int, frame: int, size=SIZE_A) -> Path:
    folder = root / f"{flight}_{altitude}"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{flight}_{altitude}_{frame:04d}.jpg"
    blocks = np.random.default_rng(frame).integers(60, 120, (3, 4, 3), dtype=np.uint8)
    pixels = cv2.resize(blocks, size, interpolation=cv2.INTER_NEAREST)
    path.write_bytes(cv2.imencode(".jpg", pixels)[1].tobytes())
    return path


def image_ref(path: Path, size, encoded) -> ImageRef:
    _, altitude, frame = path.stem.split("_")
    label = f"{altitude}.{frame}"
    return ImageRef(label, label, path, size, encoded, GRID, 1, 1)


def make_result(path_a: Path, path_b: Path, outliers: int = 15) -> PairResult:
    """Sixty matches of a known map, the last `outliers` of them spoilt."""
    rng = np.random.default_rng(5)
    token_a = rng.choice(GRID[0] * GRID[1], 60, replace=False).astype(np.int32)
    points_a = token_centres_px(token_a, GRID, SIZE_A)
    points_b = project(TRUE_MAP, points_a)
    points_b[-outliers:] = rng.random((outliers, 2)) * [300, 250] + 20
    inliers = np.arange(60) < 60 - outliers
    found = Verification(
        "homography",
        ModelKind.POINT_MAP,
        {"ransac_method": "cv2_usac_magsac", "reproj_th": 8.0, "confidence": 0.9999, "iters": 10000},
        "encoded",
        TRUE_MAP,
        inliers,
    )
    return PairResult(
        image_a=image_ref(path_a, SIZE_A, ENCODED_A),
        image_b=image_ref(path_b, SIZE_B, ENCODED_B),
        cosine=0.7,
        token_a=token_a,
        token_b=token_a,
        points_a_px=points_a,
        points_b_px=points_b,
        similarity=np.linspace(0.9, 0.3, 60).astype(np.float32),
        selected_a=588,
        selected_b=588,
        verification=found,
        time_ms={"forward_a": 1.0, "forward_b": 1.0, "total": 3.0},
    )


RUN = RunInfo(
    settings=MatchSettings("vitt16", "pth", "ab" * 32, 336, 1000, 0.0, 0.1, 0.2, "mutual_knn"),
    matching_mode="mutual_knn_k1_unique",
    provider="CPUExecutionProvider",
    graph=Path("vitt16-fp32.onnx"),
    checkpoint="vitt16.pth",
    global_descriptor="class_token",
    paths={},
    versions={},
)


def write_results(roots: Roots) -> list[Path]:
    """Two folders of result files: one file in the first, two in the second."""
    b = save_photograph(roots.images, "250912161658", 200, 1, SIZE_B)
    c = save_photograph(roots.images, "250912161658", 200, 2, SIZE_B)
    written = []
    for frame, partners in ((1, (b,)), (2, (b, c))):
        a = save_photograph(roots.images, "250912150549", 400, frame)
        for partner in partners:
            result = make_result(a, partner)
            path = result_path(roots.matches, "vitt16", result.image_a.label, result.image_b.label)
            write_result(path, result, RUN)
            written.append(path)
    return written


def vis(
    options: VisOptions, roots: Roots, registry: Registry, values=None, typed: str | None = None
) -> tuple[int, str]:
    stdin, stdout = (io.StringIO(), io.StringIO()) if typed is None else (Terminal(typed), Terminal())
    code = run_vis(options, roots, registry, stdin, stdout, values or {})
    return code, stdout.getvalue()


def pictures(root: Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


ALL_PICTURES = {
    "vitt16_400_0001/vitt16_400.0001_200.0001.png",
    "vitt16_400_0002/vitt16_400.0002_200.0001.png",
    "vitt16_400_0002/vitt16_400.0002_200.0002.png",
}
