"""The aerial tiles that the bundled backbone learns from, and those kept aside to measure it."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

HELD_OUT_EVERY = 11


def split_tiles(folder: Path) -> tuple[list[Path], list[Path]]:
    """Training and held-out tile paths: of the sorted names, every eleventh is held out."""
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if len(paths) < HELD_OUT_EVERY:
        raise FileNotFoundError(f"{folder} holds {len(paths)} tiles; training needs at least {HELD_OUT_EVERY}")
    held_out = paths[::HELD_OUT_EVERY]
    return [path for path in paths if path not in set(held_out)], held_out


def read_tiles(paths: list[Path]) -> list[NDArray[np.uint8]]:
    """Decodes tiles to RGB uint8 [H, W, 3]."""
    tiles = []
    for path in paths:
        bgr = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if bgr is None:
            raise OSError(f"{path} is not a readable image")
        tiles.append(np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
    return tiles
