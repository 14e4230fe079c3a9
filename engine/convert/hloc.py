"""Files of hloc (Hierarchical-Localization): `features.h5`, `matches.h5` and `pairs.txt`.

Layouts are those hloc reads. Features: a group per image named by the image, with `keypoints` (N, 2), the first pixel's
centre at (0, 0). Matches: a group `<a>/<b>` per pair, slashes in names replaced by dashes, with `matches0` (N_a,), the
keypoint of b for each of a or -1, and `matching_scores0` (N_a,) float16. Pairs: a line `<a> <b>` for each.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from engine.convert.source import Source, StoredPair
from engine.convert.target import hdf5_aside
from engine.errors import WorkError
from engine.store.atomic import write_aside

FEATURES, MATCHES, PAIRS = "features.h5", "matches.h5", "pairs.txt"
FILES = (MATCHES, FEATURES, PAIRS)


def convert_to_hloc(source: Source, out: Path, keypoints_only: bool) -> list[str]:
    """Writes the three files; `pairs.txt` last, so that it stands for a finished conversion.

    Args:
        keypoints_only: leave out descriptors and scores, which need stored feature maps.

    Returns:
        Lines about what the format could not hold.

    Raises:
        WorkError: names that hloc cannot tell apart, a feature map not stored, or a file that cannot be written.
    """
    _check_names(source)
    if not keypoints_only and not source.has_features():
        raise WorkError(
            f"not every feature map of this run is stored in {source.feature_folder}. Run 'engine embed "
            f"-w {source.settings.weights} -i {source.settings.image_size}', or convert with --keypoints-only "
            "(enough for triangulation)"
        )
    with hdf5_aside(out / FEATURES) as file:
        for name in source.images:
            _write_features(file.create_group(name), source, name, keypoints_only)
    pairs: list[str] = []
    dropped = 0
    with hdf5_aside(out / MATCHES) as file:
        counts = {name: len(source.tokens(name)) for name in source.images}
        for pair in source.pairs():
            dropped += _write_pair(file, pair, counts[pair.name_a])
            pairs.append(f"{pair.name_a} {pair.name_b}\n")
    with write_aside(out / PAIRS) as partial, partial.open("w", encoding="utf-8", newline="\n") as lines:
        lines.writelines(pairs)
    return [f"{dropped} match(es) left out: hloc holds one, the best, for each keypoint of a"] if dropped else []


def _write_features(group: Any, source: Source, name: str, keypoints_only: bool) -> None:
    group["keypoints"] = source.keypoints_px(name).astype(np.float32)
    group["image_size"] = np.asarray(source.images[name].size, np.int64)
    if not keypoints_only:
        features, tokens = source.features(name), source.tokens(name)
        group["descriptors"] = np.ascontiguousarray(features.descriptors[tokens].T)
        group["scores"] = features.norms[tokens]
        group["global_descriptor"] = features.global_descriptor


def _write_pair(file: h5py.File, pair: StoredPair, count_a: int) -> int:
    matches = np.full(count_a, -1, np.int32)
    scores = np.zeros(count_a, np.float16)
    # Best first: assigned from the back, the best of several matches of one keypoint stays.
    matches[pair.keypoint_a[::-1]] = pair.keypoint_b[::-1]
    scores[pair.keypoint_a[::-1]] = pair.result.similarity[::-1]
    group = file.create_group(f"{_part(pair.name_a)}/{_part(pair.name_b)}")
    group["matches0"] = matches
    group["matching_scores0"] = scores
    return len(pair.keypoint_a) - int(np.count_nonzero(matches >= 0))


def _part(name: str) -> str:
    return name.replace("/", "-")


def _check_names(source: Source) -> None:
    def first(what: Callable[[str], bool]) -> str | None:
        return next(filter(what, source.images), None)

    spaced = first(lambda name: len(name.split()) != 1)
    if spaced is not None:
        raise WorkError(
            f"hloc's pair lists separate names by spaces, and '{spaced}' has one. Rename the folder or file and match "
            "again, or convert to colmap, npy or csv"
        )
    parts: dict[str, str] = {}
    for name in source.images:
        other = parts.setdefault(_part(name), name)
        if other != name:
            raise WorkError(
                f"hloc writes both '{other}' and '{name}' as '{_part(name)}'. Rename one of them and match again, or "
                "convert to colmap, npy or csv"
            )
