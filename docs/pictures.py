"""Makes the pictures of the documents from the rendered demonstration: `python -m docs.pictures`.

Nothing but the program's own scene is shown, so the pictures may be published with it. Run it again when the bundled
backbone or the look of the pictures changes.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engine.cli import main as engine_main
from engine.demo.accuracy import mean_transfer_error_pct
from engine.demo.run import ERROR_LIMIT_PCT
from engine.drawing import TokenScene
from engine.drawing.layout import Panel
from engine.drawing.token_colours import on_photograph, principal_colours, similarity_to, spread_over, token_at
from engine.errors import WorkError
from engine.features import FeatureMap
from engine.settings import load_roots
from engine.store.result_json import StoredResult, read_result
from engine.vis_pairs import pair_of_file
from engine.vis_tokens import TokenFinder

IMAGES = Path(__file__).resolve().parent / "images"
FIGURES = "figures.json"
"""What the pictures show: the scene, the pair, its true geometry and its result."""
WIDTH_PX = 1280
_GAP_PX = 12
_JPEG_QUALITY = 84
_TILE_PX = 100
"""Side of a field of the checkerboard, pixels of the photograph."""
_LOWEST_PERCENTILE = 5.0

Image = NDArray[np.uint8]


def main(arguments: list[str] | None = None) -> int:
    """Runs the demonstration in a folder of its own and writes the pictures."""
    parser = argparse.ArgumentParser("python -m docs.pictures", description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES, help="folder of the pictures (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="scene of the demonstration (default: %(default)s)")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        demo = Path(folder) / "demo"
        engine_main(["demo", "--out", str(demo), "--seed", str(options.seed)])
        try:
            make_pictures(demo, options.out, options.seed)
        except WorkError as error:
            print(f"docs.pictures: {error}", file=sys.stderr)
            return error.exit_code
    return 0


def make_pictures(demo: Path, out: Path, seed: int) -> None:
    """Writes the pictures of the clearest pair of a finished demonstration, and its figures beside them.

    Raises:
        WorkError: no pair is right, so none may be shown.
    """
    file, result, figures = clearest_pair(demo)
    print(f"shown: {file.stem}, {figures['error_pct']:.2f} % of the diagonal from the true geometry")
    out.mkdir(parents=True, exist_ok=True)
    write(out / "result.png", shrunk(read(demo / "pair_viz" / file.parent.name / f"{file.stem}.png")))
    engine_main(["vis", str(file), "--ransac", "off", "--out", str(demo / "unverified")])
    write(out / "matches.jpg", shrunk(read(demo / "unverified" / file.parent.name / f"{file.stem}.png")))
    modes = ["overlay", "checkerboard", "heatmap", "pca"]
    engine_main(["vis", str(file), "--mode", *modes, "--out", str(demo / "modes")])
    write(out / "modes.jpg", shrunk(read(next((demo / "modes" / file.parent.name).glob("*.png")))))
    a, b = read(result.image_a.path), read(result.image_b.path)
    tokens = matched_tokens(demo, file, result)
    coloured_a, coloured_b = coloured(tokens.a, tokens.b)
    write(out / "tokens.jpg", rows_of([[a, over(a, coloured_a)], [b, over(b, coloured_b)]]))
    point = best_inlier(result)
    heat = similarity_map(tokens.a, tokens.b, point)
    write(out / "similarity.jpg", rows_of([[marked(a, point), over(b, heat, 0.6)]]))
    write(out / "overlay.jpg", rows_of([[checkerboard(a, b, np.asarray(result.verification.matrix))]]))
    (out / FIGURES).write_text(json.dumps({"seed": seed, **figures}, indent=1) + "\n", "utf-8")


def clearest_pair(demo: Path) -> tuple[Path, StoredResult, dict[str, Any]]:
    """Of the pairs with the right geometry that with the largest share of inliers: file, content and figures.

    Raises:
        WorkError: no pair has the right geometry.
    """
    truth = json.loads((demo / "images" / "truth.json").read_text("utf-8"))
    found = []
    for entry in truth["pairs"]:
        for file in (demo / "pair_match").glob(f"*/*_{entry['a']}_{entry['b']}.json"):
            result = read_result(file)
            error = None
            if result.verification is not None:
                sizes = result.image_a.size, result.image_b.size
                true = np.asarray(entry["homography_a_to_b"])
                error = mean_transfer_error_pct(result.verification.matrix, true, *sizes)
            if error is not None and error <= ERROR_LIMIT_PCT:
                matches, inliers = len(result.similarity), result.verification.inlier_count
                counts = {"matches": matches, "inliers": inliers, "error_pct": round(float(error), 4)}
                found.append((inliers / matches, file, result, {**entry, **counts}))
    if not found:
        raise WorkError(f"no pair of {demo} is within {ERROR_LIMIT_PCT:g} % of the truth; no picture was changed")
    return max(found, key=lambda row: row[0])[1:]


def matched_tokens(demo: Path, file: Path, result: StoredResult) -> TokenScene:
    """The tokens that were matched: of b those of the view, turned and scaled, that fitted a."""
    roots = load_roots({"IMG_ROOT": str(demo / "images"), "EXPORT_ROOT": str(demo)})
    pair = pair_of_file(file, lambda path, _: (Path(path), result.image_a.size))
    return TokenFinder(roots).scene(pair, result.image_a.path, result.image_b.path, None)


def coloured(*maps: FeatureMap) -> list[Image]:
    """The three principal components of all tokens together as colours, as large as each map's photograph (BGR)."""
    painted = zip(maps, principal_colours(maps, 0.0), strict=True)
    return [np.asarray(_spread(colours, tokens)[..., ::-1]) for tokens, (colours, _) in painted]


def best_inlier(result: StoredResult) -> tuple[float, float]:
    """Where the most similar match that the geometry keeps lies in a, pixels."""
    inliers = np.flatnonzero(np.asarray(result.verification.inliers)) if result.verification else np.array([0])
    x, y = result.points_a_px[inliers[0]]
    return float(x), float(y)


def similarity_map(a: FeatureMap, b: FeatureMap, point: tuple[float, float]) -> Image:
    """How similar each token of b is to that of a at the point, as colours (BGR) as large as the photograph b."""
    similarity = similarity_to(a, token_at(a, point), b)
    real = similarity[on_photograph(b)]
    low, high = np.percentile(real, _LOWEST_PERCENTILE), real.max()
    grey = (np.clip((similarity - low) / max(high - low, 1e-6), 0, 1) * 255).astype(np.uint8)
    return _spread(np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS), np.uint8), b)


def _spread(small: Image, tokens: FeatureMap) -> Image:
    return spread_over(small, tokens, Panel(0, 0, *tokens.image_size, tokens.image_size))


def over(photograph: Image, tokens: Image, opacity: float = 0.85) -> Image:
    """A picture of tokens laid over its photograph."""
    return np.asarray(cv2.addWeighted(tokens, opacity, photograph, 1 - opacity, 0), np.uint8)


def marked(photograph: Image, point: tuple[float, float]) -> Image:
    """The photograph with a cross at the point."""
    picture = photograph.copy()
    middle = (round(point[0]), round(point[1]))
    for colour, thickness in (((0, 0, 0), 9), ((255, 255, 255), 4)):
        cv2.drawMarker(picture, middle, colour, cv2.MARKER_CROSS, 60, thickness)
    return picture


def checkerboard(a: Image, b: Image, a_to_b: NDArray[np.float64]) -> Image:
    """a warped onto b, shown in every second field: lines that go on from field to field mean a right geometry."""
    size = (b.shape[1], b.shape[0])
    warped = cv2.warpPerspective(a, a_to_b, size, flags=cv2.INTER_AREA)
    inside = cv2.warpPerspective(np.full(a.shape[:2], 255, np.uint8), a_to_b, size) > 127
    rows, cols = np.indices(b.shape[:2]) // _TILE_PX
    shown = ((rows + cols) % 2 == 0) & inside
    return np.where(shown[..., None], warped, b).astype(np.uint8)


def rows_of(rows: list[list[Image]]) -> Image:
    """Pictures of one size side by side and below each other, `WIDTH_PX` wide in all."""
    lines = []
    for row in rows:
        width = (WIDTH_PX - _GAP_PX * (len(row) - 1)) // len(row)
        cells: list[Any] = []
        for picture in row:
            height = round(picture.shape[0] * width / picture.shape[1])
            cell = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
            cells += [np.full((height, _GAP_PX, 3), 255, np.uint8), cell] if cells else [cell]
        line = np.concatenate(cells, axis=1)
        lines += [np.full((_GAP_PX, line.shape[1], 3), 255, np.uint8), line] if lines else [line]
    return np.concatenate(lines)


def shrunk(picture: Image) -> Image:
    """The picture `WIDTH_PX` wide."""
    height = round(picture.shape[0] * WIDTH_PX / picture.shape[1])
    return np.asarray(cv2.resize(picture, (WIDTH_PX, height), interpolation=cv2.INTER_AREA), np.uint8)


def read(path: Path) -> Image:
    """A picture file as BGR [H, W, 3] uint8."""
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise WorkError(f"{path} is not a readable picture")
    return np.asarray(picture, np.uint8)


def write(path: Path, picture: Image) -> None:
    """Writes BGR [H, W, 3] uint8 as PNG or JPEG."""
    done, data = cv2.imencode(
        path.suffix, picture, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY, cv2.IMWRITE_PNG_COMPRESSION, 9]
    )
    if not done:
        raise WorkError(f"{path} cannot be encoded")
    path.write_bytes(data.tobytes())
    print(f"wrote {path}")


if __name__ == "__main__":
    sys.exit(main())
