"""Result files of the earlier tool: no sizes, no points, no verification; a grid only where it is square.

It scaled the shorter side to S and the longer one to `int(S * long / short)`, and its patch layer dropped the pixels
that do not fill a patch of 16. A token therefore covers 16 encoded pixels exactly, also where the last ones of a side
belong to no token: `x = (col + 0.5) * 16 * W / encoded_width - 0.5`.
"""

import re
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
from numpy.typing import NDArray

from engine.coordinates import project, rescale_matrix, token_centres_px
from engine.errors import ResultFileError
from engine.store.checked_json import Node
from engine.store.stored_result import Locate, StoredImage, StoredResult

PATCH = 16
"""Pixels per token of every backbone that the earlier tool ran."""

_IMAGE_STEM = re.compile(r"^(?P<flight>.+)_(?P<altitude>[^_]+)_(?P<frame>[^_]+)$")


def read_earlier_result(root: Node, locate: Locate | None) -> StoredResult:
    """Reads a file of the earlier tool.

    Args:
        root: the whole file.
        locate: finds a photograph and its size by recorded path and key.

    Raises:
        ResultFileError: damaged, of another format, or its grid does not fit the photograph found; or no `locate`.
    """
    patch, shorter = root["patch"], root["meta"]["image_size"].integer(low=PATCH, high=1_000_000)
    weights = root["weight"].text()
    recorded = [root[name].text() for name in ("image_a", "image_b")]
    if locate is None:
        raise ResultFileError(
            f"{root.file}: written by the earlier tool, which recorded no image sizes: its photographs are needed. "
            "Set IMG_ROOT to the folder that holds them"
        )
    images = []
    for side, path in zip("ab", recorded, strict=True):
        key, label = _key_and_label(path)
        found, size = locate(path, key)
        grid, encoded = _grid(patch[f"grid_g_{side}"], patch[f"n_{side}"], size, shorter, found)
        images.append(StoredImage(found, key, label, size, encoded, grid, None))
    image_a, image_b = images
    token_a, token_b = patch["idx_a"].tokens(image_a.grid), patch["idx_b"].tokens(image_b.grid)
    patch["idx_b"].length(len(token_a))
    similarity = patch["similarities"].similarities(len(token_a))
    order = np.argsort(-similarity, kind="stable")
    settings = dict(root["advanced_settings"].mapping())
    mode = settings.get("matching_mode")
    return StoredResult(
        file=root.file,
        weights=weights,
        image_a=image_a,
        image_b=image_b,
        cosine=root["cosine"].number(),
        token_a=token_a[order],
        token_b=token_b[order],
        points_a_px=_points(token_a[order], image_a),
        points_b_px=_points(token_b[order], image_b),
        similarity=similarity[order],
        selected_a=patch["n_selected_a"].integer(low=0),
        selected_b=patch["n_selected_b"].integer(low=0),
        verification=None,
        error_mean_px=None,
        error_median_px=None,
        matching_mode=mode if isinstance(mode, str) else "",
        provider="",
        settings={**settings, "image_size": shorter},
        settings_digest="",
        time_ms=root["time_ms"].numbers_by_name(),
        earlier_tool=True,
    )


def _key_and_label(recorded: str) -> tuple[str, str]:
    path = PureWindowsPath(recorded) if "\\" in recorded else PurePosixPath(recorded)
    found = _IMAGE_STEM.match(path.stem)
    if found is None:
        key = f"{path.parent.name}/{path.stem}"
        return key, key
    label = f"{found['altitude']}.{found['frame']}"
    return f"{found['flight']}:{label}", label


def _grid(
    side: Node, tokens: Node, size: tuple[int, int], shorter: int, photograph: Path
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Grid (rows, cols) and encoded size (width, height), from the recorded side or else from the photograph's size."""
    count = tokens.integer(low=1, high=2**31 - 1)
    width, height = size
    longer = int(shorter * max(size) / min(size))
    encoded = (longer, shorter) if width >= height else (shorter, longer)
    grid = (encoded[1] // PATCH, encoded[0] // PATCH)
    if side.value is not None:
        square = side.integer(low=1, high=46_340)
        if square * square != count:
            raise side.wrong(f"the square root of {count} tokens")
        if grid != (square, square):
            # A photograph brought to a square first: the whole of it, or the part that whole patches cover.
            edge = shorter if shorter // PATCH == square else square * PATCH
            grid, encoded = (square, square), (edge, edge)
    elif grid[0] * grid[1] != count:
        raise ResultFileError(
            f"{side.file}: it has {count} tokens, but {photograph} ({width} x {height} pixels) gives "
            f"{grid[0]} x {grid[1]} at image size {shorter}: not the photograph that was matched. "
            "Point IMG_ROOT at the original data set"
        )
    return grid, encoded


def _points(tokens: NDArray[np.int32], image: StoredImage) -> NDArray[np.float64]:
    covered = (image.grid[1] * PATCH, image.grid[0] * PATCH)
    centres = token_centres_px(tokens, image.grid, covered)
    return project(rescale_matrix(image.encoded_size, image.size), centres)
