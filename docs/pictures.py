"""Makes the pictures of the documents from the rendered demonstration: `python -m docs.pictures`.

Nothing but the program's own scene is shown, so the pictures may be published with it. Run it again when the bundled
backbone or the look of the pictures changes.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from engine.cli import main as engine_main
from engine.coordinates import token_centres_px
from engine.demo.accuracy import mean_transfer_error_pct
from engine.demo.run import ERROR_LIMIT_PCT
from engine.errors import WorkError
from engine.store.result_json import StoredResult, read_result

IMAGES = Path(__file__).resolve().parent / "images"
WIDTH_PX = 1280
_GAP_PX = 12
_JPEG_QUALITY = 84
_TILE_PX = 100
"""Side of a field of the checkerboard, pixels of the photograph."""

Image = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Tokens:
    """Tokens of a photograph, [N, D] float32 of length one, their grid (rows, cols) and their centres [N, 2] pixels."""

    descriptors: NDArray[np.float32]
    grid: tuple[int, int]
    centres_px: NDArray[np.float64]


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
            make_pictures(demo, options.out)
        except WorkError as error:
            print(f"docs.pictures: {error}", file=sys.stderr)
            return error.exit_code
    return 0


def make_pictures(demo: Path, out: Path) -> None:
    """Writes the pictures of the best pair of a finished demonstration.

    Raises:
        WorkError: no pair is right, so none may be shown.
    """
    file, result, error_pct = best_pair(demo)
    print(f"shown: {file.stem}, {error_pct:.2f} % of the diagonal from the true geometry")
    out.mkdir(parents=True, exist_ok=True)
    write(out / "result.png", shrunk(read(demo / "pair_viz" / file.parent.name / f"{file.stem}.png")))
    engine_main(["vis", str(file), "--ransac", "off", "--out", str(demo / "unverified")])
    write(out / "matches.jpg", shrunk(read(demo / "unverified" / file.parent.name / f"{file.stem}.png")))
    modes = ["overlay", "checkerboard", "heatmap", "pca"]
    engine_main(["vis", str(file), "--mode", *modes, "--out", str(demo / "modes")])
    write(out / "modes.jpg", shrunk(read(next((demo / "modes" / file.parent.name).glob("*.png")))))
    a, b = read(result.image_a.path), read(result.image_b.path)
    tokens_a, tokens_b = (stored_tokens(demo, ref.path) for ref in (result.image_a, result.image_b))
    coloured_a, coloured_b = principal_colours(tokens_a, tokens_b)
    write(out / "tokens.jpg", rows_of([[a, over(a, coloured_a)], [b, over(b, coloured_b)]]))
    point, heat = similarity_map(tokens_a, tokens_b, result)
    write(out / "similarity.jpg", rows_of([[marked(a, point), over(b, heat, 0.6)]]))
    write(out / "overlay.jpg", rows_of([[checkerboard(a, b, np.asarray(result.verification.matrix))]]))


def best_pair(demo: Path) -> tuple[Path, StoredResult, float]:
    """The result file nearest to the true geometry, its content, and its distance in percent of the diagonal."""
    truth = json.loads((demo / "images" / "truth.json").read_text("utf-8"))
    found = []
    for entry in truth["pairs"]:
        for file in (demo / "pair_match").glob(f"*/*_{entry['a']}_{entry['b']}.json"):
            result = read_result(file)
            matrix = None if result.verification is None else result.verification.matrix
            error = mean_transfer_error_pct(
                matrix, np.asarray(entry["homography_a_to_b"]), result.image_a.size, result.image_b.size
            )
            if error is not None:
                found.append((error, file, result))
    error, file, result = min(found, key=lambda row: row[0], default=(np.inf, Path(), None))
    if result is None or error > ERROR_LIMIT_PCT:
        raise WorkError(f"no pair of {demo} is within {ERROR_LIMIT_PCT:g} % of the truth; no picture was changed")
    return file, result, float(error)


def stored_tokens(demo: Path, photograph: Path) -> Tokens:
    """Tokens of a photograph from the shards that the demonstration wrote."""
    name = f"{photograph.parent.name}/{photograph.name}"
    for shard in sorted((demo / "dinov3_embeds").rglob("features-*.h5")):
        with h5py.File(shard) as file:
            if name in file:
                group = file[name]
                rows, cols = (int(value) for value in group.attrs["grid"])
                width, height = (int(value) for value in group["image_size"][()])
                centres = token_centres_px(np.arange(rows * cols), (rows, cols), (width, height))
                return Tokens(group["descriptors"][()].T.astype(np.float32), (rows, cols), centres)
    raise WorkError(f"{name} is in no shard below {demo / 'dinov3_embeds'}")


def principal_colours(*maps: Tokens) -> list[Image]:
    """The three principal components of all tokens together as colours, one small picture [rows, cols, 3] per map."""
    together = np.concatenate([tokens.descriptors for tokens in maps])
    mean = together.mean(axis=0)
    axes = np.linalg.svd(together - mean, full_matrices=False)[2][:3]
    low, high = np.percentile((together - mean) @ axes.T, (2, 98), axis=0)
    pictures = []
    for tokens in maps:
        values = ((tokens.descriptors - mean) @ axes.T - low) / (high - low)
        pictures.append((np.clip(values, 0, 1) * 255).astype(np.uint8).reshape(*tokens.grid, 3))
    return pictures


def similarity_map(a: Tokens, b: Tokens, result: StoredResult) -> tuple[tuple[int, int], Image]:
    """The best inlier's place in a, and the similarity of its token to every token of b as colours [rows, cols, 3]."""
    inliers = np.flatnonzero(np.asarray(result.verification.inliers)) if result.verification else np.array([0])
    place = result.points_a_px[inliers[0]]
    token = int(np.linalg.norm(a.centres_px - place, axis=1).argmin())
    similarity = (b.descriptors @ a.descriptors[token]).reshape(b.grid)
    low, high = np.percentile(similarity, 5), similarity.max()
    grey = (np.clip((similarity - low) / (high - low), 0, 1) * 255).astype(np.uint8)
    return (round(place[0]), round(place[1])), np.asarray(cv2.applyColorMap(grey, cv2.COLORMAP_VIRIDIS), np.uint8)


def over(photograph: Image, small: Image, opacity: float = 0.85) -> Image:
    """A small picture of tokens laid over its photograph, each token a square."""
    large = cv2.resize(small, photograph.shape[1::-1], interpolation=cv2.INTER_NEAREST)
    return np.asarray(cv2.addWeighted(large, opacity, photograph, 1 - opacity, 0), np.uint8)


def marked(photograph: Image, point: tuple[int, int]) -> Image:
    """The photograph with a cross at the point."""
    picture = photograph.copy()
    for colour, thickness in (((0, 0, 0), 9), ((255, 255, 255), 4)):
        cv2.drawMarker(picture, point, colour, cv2.MARKER_CROSS, 60, thickness)
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
