"""One shard of matches: the results of many pairs packed into a few arrays of one HDF5 file.

| data set | shape and type | holds |
| --- | --- | --- |
| `images/name, key, label, path` | (I,) text | the images of the shard's pairs |
| `images/size, encoded_size` | (I, 2) int32 | width, height in pixels |
| `images/grid` | (I, 2) int32 | rows, cols of tokens |
| `images/bytes, modified_ns` | (I,) int64 | the image file when it was read |
| `images/sha256` | (I,) text | of its content (hex), empty where it was not taken |
| `pairs/image_a, image_b` | (P,) int32 | rows of `images` |
| `pairs/offset` | (P + 1,) int64 | matches of pair p are rows offset[p] to offset[p + 1] |
| `pairs/cosine` | (P,) float64 | cosine of the global descriptors |
| `pairs/selected_a, selected_b` | (P,) int32 | tokens left after selection |
| `pairs/rotation_b_deg, scale_b` | (P,) float64 | the view of b that was matched; `rotation_a_deg, scale_a` likewise |
| `pairs/views_tried` | (P,) int32 | views of b looked at to choose it |
| `pairs/refinement` | (P,) text | how the model was refined (JSON); empty where it was not |
| `pairs/verdict` | (P, 5) float64 | whether it is one place; attribute `verdict_names` names the columns; NaN if none |
| `pairs/verdict_flags` | (P,) text | what is degenerate, separated by spaces |
| `pairs/kind`, `pairs/model` | (P,) text | how the matrix relates points; the model, where the filter chose one |
| `pairs/has_model`, `pairs/matrix` | (P,) uint8, (P, 3, 3) float64 | from original pixels of a to b; NaN if none |
| `pairs/time_ms` | (P, T) float64 | times, named by the attribute `time_names`; NaN if not taken |
| `matches/token_a, token_b` | (M,) int32 | row-major token indices, best match first within a pair |
| `matches/similarity` | (M,) float32 | cosine similarity |
| `matches/inlier` | (M,) uint8 | 1 where the filter kept the match |
| `matches/points_a_px, points_b_px` | (M, 2) float64 | only where positions are not the tokens' centres |

Attributes of the file: `format`, `settings_digest`, `run` and `verification` (JSON: what all pairs have in common).
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from engine.coordinates import token_centres_px
from engine.results import ImageRef, PairResult, RunInfo, Verdict
from engine.store.hdf5 import build_hdf5
from engine.store.image_versions import ImageVersion

FORMAT = "dinov3-match matches 1"
_TEXT = h5py.string_dtype("utf-8")
TEXTS = ("name", "key", "label", "path")
VERDICT = ("probability", "overlap_a", "overlap_b", "covered", "log10_false_alarms")


@dataclass(frozen=True)
class NamedImage:
    """A photograph and its name in the stores."""

    name: str
    image: ImageRef

    @property
    def version(self) -> ImageVersion:
        """What its file was."""
        return self.name, self.image.bytes, self.image.modified_ns


@dataclass(frozen=True, eq=False)
class PackedPair:
    """A pair's result as it waits for its shard.

    Attributes:
        result: the result, with no rows in its points where they are the tokens' centres.
        shares: what it must have in common with its shard's other pairs (JSON).
        centred: whether the points are the tokens' centres.
    """

    a: NamedImage
    b: NamedImage
    result: PairResult
    shares: str
    centred: bool

    @classmethod
    def of(cls, a: NamedImage, b: NamedImage, result: PairResult) -> "PackedPair":
        """Packs a result.

        Raises:
            ValueError: its arrays differ in length.
        """
        count = len(result.similarity)
        arrays = (result.token_a, result.token_b, result.points_a_px, result.points_b_px, result.verification.inliers)
        if any(len(array) != count for array in arrays):
            raise ValueError(f"{a.name}, {b.name}: arrays of matches must have one length")
        found = result.verification
        shares = json.dumps(
            {
                "filter": found.filter,
                "options": found.options,
                "reproj_unit": found.reproj_unit,
            }
        )
        centred = np.array_equal(result.points_a_px, centres_px(result.token_a, a.image)) and np.array_equal(
            result.points_b_px, centres_px(result.token_b, b.image)
        )
        if centred:
            result = replace(result, points_a_px=np.empty((0, 2)), points_b_px=np.empty((0, 2)))
        return cls(a, b, result, shares, centred)

    def whole(self) -> PairResult:
        """The result as it was packed."""
        if not self.centred:
            return self.result
        points_a, points_b = (
            centres_px(self.result.token_a, self.a.image),
            centres_px(self.result.token_b, self.b.image),
        )
        return replace(self.result, points_a_px=points_a, points_b_px=points_b)

    def __len__(self) -> int:
        return len(self.result.similarity)


def match_shard_image(pairs: list[PackedPair], run: RunInfo) -> bytes:
    """The bytes of a shard. All pairs must have the same `shares`."""

    def fill(file: h5py.File) -> None:
        file.attrs["format"] = FORMAT
        file.attrs["settings_digest"] = run.settings.digest()
        file.attrs["run"] = json.dumps({**asdict(run), "graph": str(run.graph)})
        file.attrs["verification"] = pairs[0].shares
        images = list(dict.fromkeys(image for pair in pairs for image in (pair.a, pair.b)))
        _fill_images(file.create_group("images"), images)
        _fill_pairs(file.create_group("pairs"), pairs, {image: row for row, image in enumerate(images)})
        _fill_matches(file.create_group("matches"), pairs)

    return build_hdf5(fill)


def _fill_images(group: Any, images: list[NamedImage]) -> None:
    refs = [entry.image for entry in images]
    texts = {
        "name": [entry.name for entry in images],
        "key": [ref.key for ref in refs],
        "label": [ref.label for ref in refs],
        "path": [str(ref.path) for ref in refs],
        "sha256": [ref.sha256 for ref in refs],
    }
    for name, values in texts.items():
        encoded = np.array([value.encode("utf-8", "surrogateescape") for value in values], object)
        group.create_dataset(name, data=encoded, dtype=_TEXT)
    for name in ("size", "encoded_size", "grid"):
        group[name] = np.asarray([getattr(ref, name) for ref in refs], np.int32)
    for name in ("bytes", "modified_ns"):
        group[name] = np.asarray([getattr(ref, name) for ref in refs], np.int64)


def _fill_pairs(group: Any, pairs: list[PackedPair], rows: dict[NamedImage, int]) -> None:
    results = [pair.result for pair in pairs]
    matrices = [result.verification.matrix for result in results]
    times = list(dict.fromkeys(name for result in results for name in result.time_ms))
    group["image_a"] = np.asarray([rows[pair.a] for pair in pairs], np.int32)
    group["image_b"] = np.asarray([rows[pair.b] for pair in pairs], np.int32)
    group["offset"] = np.concatenate([[0], np.cumsum([len(pair) for pair in pairs])]).astype(np.int64)
    group["cosine"] = np.asarray([result.cosine for result in results], np.float64)
    group["selected_a"] = np.asarray([result.selected_a for result in results], np.int32)
    group["selected_b"] = np.asarray([result.selected_b for result in results], np.int32)
    group["rotation_a_deg"] = np.asarray([result.view_a.rotation_deg for result in results], np.float64)
    group["scale_a"] = np.asarray([result.view_a.scale for result in results], np.float64)
    group["rotation_b_deg"] = np.asarray([result.view_b.rotation_deg for result in results], np.float64)
    group["scale_b"] = np.asarray([result.view_b.scale for result in results], np.float64)
    group["views_tried"] = np.asarray([result.views_tried for result in results], np.int32)
    refinements = [json.dumps(r.refinement.as_json()) if r.refinement else "" for r in results]
    group.create_dataset("refinement", data=np.array(refinements, object), dtype=_TEXT)
    group["verdict"] = np.asarray([_verdict_row(result.verdict) for result in results], np.float64)
    group["verdict"].attrs["verdict_names"] = json.dumps(VERDICT)
    flags = [" ".join(result.verdict.flags) if result.verdict else "" for result in results]
    group.create_dataset("verdict_flags", data=np.array(flags, object), dtype=_TEXT)
    kinds = [result.verification.kind.value for result in results]
    group.create_dataset("kind", data=np.array(kinds, object), dtype=_TEXT)
    models = [result.verification.model or "" for result in results]
    group.create_dataset("model", data=np.array(models, object), dtype=_TEXT)
    group["has_model"] = np.asarray([matrix is not None for matrix in matrices], np.uint8)
    no_model = np.full((3, 3), np.nan)
    group["matrix"] = np.stack([no_model if matrix is None else matrix for matrix in matrices]).astype(np.float64)
    group["time_ms"] = np.asarray([[result.time_ms.get(name, np.nan) for name in times] for result in results], float)
    group.attrs["time_names"] = json.dumps(times)


def _verdict_row(verdict: Verdict | None) -> list[float]:
    values = [getattr(verdict, name, None) for name in VERDICT]
    return [np.nan if value is None else value for value in values]


def _fill_matches(group: Any, pairs: list[PackedPair]) -> None:
    results = [pair.result for pair in pairs]
    group["token_a"] = np.concatenate([result.token_a for result in results]).astype(np.int32)
    group["token_b"] = np.concatenate([result.token_b for result in results]).astype(np.int32)
    group["similarity"] = np.concatenate([result.similarity for result in results]).astype(np.float32)
    group["inlier"] = np.concatenate([result.verification.inliers for result in results]).astype(np.uint8)
    if not all(pair.centred for pair in pairs):
        wholes = [pair.whole() for pair in pairs]
        group["points_a_px"] = np.concatenate([result.points_a_px for result in wholes]).astype(np.float64)
        group["points_b_px"] = np.concatenate([result.points_b_px for result in wholes]).astype(np.float64)


def centres_px(tokens: NDArray[np.int32], image: ImageRef) -> NDArray[np.float64]:
    """[M, 2] centres of tokens in original pixels of an image: positions of this kind are not stored."""
    return token_centres_px(tokens, image.grid, image.size)
