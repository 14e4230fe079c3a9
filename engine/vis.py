"""From a result file to its picture: photographs found, verification read or made anew, painted, written."""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engine.drawing import TOKEN_MODES, PairScene, Strokes, TokenScene, draw_pair
from engine.errors import ResultFileError, UsageError, WorkError
from engine.hooks import FilterRecord, ModelKind
from engine.photographs import Photographs
from engine.plugin_calls import require_filter
from engine.plugin_options import as_typed, parse_options
from engine.plugin_registry import Registry
from engine.results import Verification
from engine.store.atomic import write_bytes
from engine.store.result_json import StoredResult
from engine.verification import ENCODED, residuals_px, verify_matches
from engine.vis_pairs import DrawablePair, pair_of_file
from engine.vis_tokens import TokenFinder

_DEFAULT_FILTER = "homography"
_PNG_COMPRESSION = 4
"""Of 0 to 9; beyond, files hardly shrink and take several times as long."""


@dataclass(frozen=True)
class NewVerification:
    """What a user asks of a new verification. Where nothing is asked, the stored one's values hold, then defaults.

    Attributes:
        filter: name of the filter, or None for the stored one.
        options: option name to value.
        sources: option name to what asked for it, such as `--reproj-th` or `VIS_REPROJ_TH`.
        optional: names of options that are left out, rather than refused, where the filter has none of that name.
    """

    filter: str | None = None
    options: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, str] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()


LINES_ONLY = ("lines",)


def picture_path(
    result_file: Path,
    picture_root: Path,
    modes: Sequence[str] = LINES_ONLY,
    point_px: tuple[float, float] | None = None,
) -> Path:
    """Where the picture of a result file lies: the same folder name and stem below the root of pictures.

    Pictures of other modes carry their names, and that of a chosen point the point, so that none replaces another:
    `<stem>.png`, `<stem>-overlay+pca.png`, `<stem>-heatmap-120,340.png`.
    """
    words = [] if tuple(modes) == LINES_ONLY else ["+".join(modes)]
    if point_px is not None and "heatmap" in modes:
        words.append(",".join(f"{value:g}" for value in point_px))
    name = "-".join([result_file.stem, *words])
    return picture_root / Path(os.path.abspath(result_file)).parent.name / f"{name}.png"  # noqa: PTH100 - links stay


class PictureMaker:
    """Draws stored pairs.

    Attributes:
        photographs: finds and reads the photographs.
        strokes: how matches are drawn.
        asked: the new verification asked for, or None to draw the stored one.
        modes: what is drawn, of `engine.drawing.MODES`.
        point_px: the point (x, y) of a for the heat map, in original pixels; None for that of the best match.
    """

    def __init__(
        self,
        photographs: Photographs,
        registry: Registry,
        strokes: Strokes,
        asked: NewVerification | None = None,
        modes: Sequence[str] = LINES_ONLY,
        tokens: TokenFinder | None = None,
        point_px: tuple[float, float] | None = None,
    ) -> None:
        """Nothing is read yet; `tokens` is needed for modes that show tokens."""
        self.photographs = photographs
        self.strokes = strokes
        self.asked = asked
        self.modes = tuple(modes)
        self.point_px = point_px
        self._tokens = tokens
        self._registry = registry

    def make(self, result: Path | DrawablePair, picture: Path) -> None:
        """Draws a result file, or a pair of the packed store, to a PNG file, which is complete or absent.

        Raises:
            ResultFileError: the result cannot be used.
            DataSetError: a photograph is missing.
            ImageReadError: a photograph cannot be read.
            GraphError: tokens are to be shown, and there is neither a feature map nor its graph.
            UsageError: what is asked does not fit the filter, or the photograph.
            WorkError: a mode needs a geometry or matches that there are not.
            WriteError: the picture cannot be written.
        """
        pair = result if isinstance(result, DrawablePair) else pair_of_file(result, self.photographs.locate)
        scene = self.scene(pair.stored)
        tokens = self._token_scene(pair, scene) if set(self.modes) & set(TOKEN_MODES) else None
        try:
            drawn = draw_pair(scene, self.strokes, self.modes, tokens)
        except WorkError as error:
            raise WorkError(f"{pair.stored.file}: {error}") from error
        painted = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
        done, data = cv2.imencode(".png", painted, [cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION])
        if not done:
            raise WorkError(f"{picture}: OpenCV could not encode the picture as PNG")
        write_bytes(picture, data.tobytes())

    def _token_scene(self, pair: DrawablePair, scene: PairScene) -> TokenScene:
        if self._tokens is None:
            raise ValueError("modes that show tokens need a TokenFinder")
        point = _checked_point(self.point_px, pair.stored) if self.point_px is not None else _best_point(scene)
        path_a, path_b = (
            self.photographs.find(str(image.path), image.key) for image in (pair.stored.image_a, pair.stored.image_b)
        )
        return self._tokens.scene(pair, path_a, path_b, point)

    def scene(self, stored: StoredResult) -> PairScene:
        """What the picture of a result shows. Errors as `make`."""
        verification, anew = stored.verification, False
        if self.asked is not None:
            verification, anew = verify_anew(stored, self.asked, self._registry), True
        images = []
        for image in (stored.image_a, stored.image_b):
            path = self.photographs.find(str(image.path), image.key)
            pixels = self.photographs.read(path)
            size = (pixels.shape[1], pixels.shape[0])
            if size != image.size:
                raise ResultFileError(
                    f"{stored.file}: the photograph {path} has {size[0]} x {size[1]} pixels, but had "
                    f"{image.size[0]} x {image.size[1]} when it was matched. Restore it, or match the pair again"
                )
            images.append((path, pixels))
        (path_a, pixels_a), (path_b, pixels_b) = images
        _check_points(stored)
        judged = verification if verification is not None and verification.kind is not ModelKind.NONE else None
        points_a_px, points_b_px = stored.points_a_px, stored.points_b_px
        return PairScene(
            image_a=pixels_a,
            image_b=pixels_b,
            key_a=stored.image_a.key,
            key_b=stored.image_b.key,
            file_a=path_a.name,
            file_b=path_b.name,
            subtitle=_subtitle(stored, verification, anew),
            points_a_px=points_a_px,
            points_b_px=points_b_px,
            similarity=stored.similarity,
            inliers=judged.inliers if judged else None,
            point_map=judged.matrix if judged and judged.kind is ModelKind.POINT_MAP else None,
            model_found=judged is None or judged.matrix is not None,
            residuals_px=residuals_px(judged, points_a_px, points_b_px) if judged else None,
        )


def _best_point(scene: PairScene) -> tuple[float, float] | None:
    """The point in a of the most similar inlier, or of the most similar match where there is no inlier."""
    if not len(scene.similarity):
        return None
    rows = np.flatnonzero(scene.kept) if scene.kept.any() else np.arange(len(scene.similarity))
    x, y = scene.points_a_px[rows[int(np.argmax(scene.similarity[rows]))]]
    return float(x), float(y)


def _checked_point(point_px: tuple[float, float], stored: StoredResult) -> tuple[float, float]:
    (x, y), (width, height) = point_px, stored.image_a.size
    if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
        raise UsageError(
            f"--point {x:g},{y:g} lies outside {stored.image_a.key} with its {width} x {height} pixels: x is 0 to "
            f"{width - 1}, y is 0 to {height - 1}"
        )
    return point_px


def verify_anew(stored: StoredResult, asked: NewVerification, registry: Registry) -> Verification:
    """Verifies a stored pair's matches with another filter or other options.

    Options not asked for are the stored ones of the same name, also of another filter, where they suit this one; else
    the filter's defaults.

    Raises:
        UsageError: no such filter or option, or a value that does not suit the filter.
    """
    before = stored.verification
    name = asked.filter or (before.filter if before is not None else _DEFAULT_FILTER)
    record = registry.filter(name)
    names = {entry.name for entry in dataclasses.fields(record.options)}
    values: dict[str, Any] = {}
    if before is not None:
        kept = {key: value for key, value in before.options.items() if key in names}
        values = {key: value for key, value in kept.items() if before.filter == name or _suits(record, key, value)}
    typed: dict[str, str] = {}
    for key, value in asked.options.items():
        if key in names:
            values[key] = value
            if key in asked.sources:
                typed[f"{key}={_typed(value)}"] = f"{asked.sources[key]} {as_typed(value)} with the filter '{name}'"
        elif key not in asked.optional:
            raise UsageError(
                f"{asked.sources.get(key, key)} does not apply to the filter '{name}': it has no such option"
            )
    assignments = [f"{key}={_typed(value)}" for key, value in values.items()]
    flag = f"filter '{name}' (asked by {', '.join(asked.sources.values())}):" if asked.sources else f"filter '{name}':"
    options = parse_options(record.options, assignments, flag, typed)
    require_filter(record, options)
    return _verify(record, options, stored, before.reproj_unit if before is not None else ENCODED)


def _suits(record: FilterRecord, name: str, value: Any) -> bool:
    """Whether a value of another filter's option is one for this filter's option of the same name."""
    try:
        options = parse_options(record.options, [f"{name}={_typed(value)}"], "stored")
        require_filter(record, options)
    except UsageError:
        return False
    return True


def _verify(record: FilterRecord, options: Any, stored: StoredResult, unit: str) -> Verification:
    a, b = stored.image_a, stored.image_b
    return verify_matches(
        record,
        options,
        stored.points_a_px,
        stored.points_b_px,
        a.size,
        a.encoded_size,
        b.size,
        b.encoded_size,
        unit,
    )


def _check_points(stored: StoredResult) -> None:
    for letter, points, image in (
        ("a", stored.points_a_px, stored.image_a),
        ("b", stored.points_b_px, stored.image_b),
    ):
        inside = (points >= -1.0) & (points <= np.asarray(image.size, np.float64))
        if not inside.all():
            raise ResultFileError(
                f"{stored.file}: points of image {letter} lie outside its {image.size[0]} x {image.size[1]} pixels. "
                "Delete the file and match the pair again"
            )


def _typed(value: Any) -> str:
    """A value as a user would type it."""
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _subtitle(stored: StoredResult, verification: Verification | None, anew: bool) -> str:
    parts = [stored.weights, stored.matching_mode]
    if verification is not None:
        described = verification.filter
        method = verification.options.get("ransac_method")
        threshold = verification.options.get("reproj_th")
        if method is not None:
            described += f", {method}"
        if threshold is not None:
            described += f", {threshold:g} px {verification.reproj_unit}"
        parts.append(described)
    if anew:
        parts.append("verified again")
    if stored.earlier_tool:
        parts.append("file of the earlier tool")
    return "  ·  ".join(part for part in parts if part)
