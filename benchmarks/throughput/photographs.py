"""Photographs for measuring: cut from real ones where they are at hand, else made up. Seeded."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def write_photographs(folder: Path, count: int, size: tuple[int, int], sources: list[Path]) -> list[Path]:
    """Writes `count` JPEGs of (width, height) pixels as a data set of two altitudes, and returns their paths."""
    rng = np.random.default_rng(0)
    pictures = [np.asarray(cv2.imread(str(path)), np.uint8) for path in sources] or [_ground(rng) for _ in range(6)]
    paths = []
    for number in range(count):
        picture = pictures[number % len(pictures)]
        side = int(rng.integers(min(picture.shape[:2]) // 2, min(picture.shape[:2])))
        row, column = (int(rng.integers(0, length - side + 1)) for length in picture.shape[:2])
        part = cv2.resize(picture[row : row + side, column : column + side], size, interpolation=cv2.INTER_AREA)
        altitude = "400" if number % 2 else "200"
        path = folder / f"F1_{altitude}" / f"F1_{altitude}_{number // 2 + 1:04d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".jpg", part)[1].tobytes())
        paths.append(path)
    return paths


def _ground(rng: np.random.Generator) -> Pixels:
    ground = np.zeros((1080, 1080, 3), np.float32)
    for cells in (6, 20, 70, 240):
        noise = rng.uniform(-1, 1, (cells, cells, 3)).astype(np.float32)
        ground += cv2.resize(noise, (1080, 1080), interpolation=cv2.INTER_CUBIC)
    return np.clip(128 + 45 * ground, 0, 255).astype(np.uint8)
