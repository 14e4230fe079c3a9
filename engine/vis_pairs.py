"""Pairs that can be drawn: from a result file, or by their names from the packed store, which holds every pair."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.convert.runs import StoredRun, stored_runs
from engine.errors import ResultFileError, UsageError, WorkError
from engine.keys import looks_like_selector, parse_selector
from engine.naming import NameRule
from engine.result_picker import result_folders
from engine.results import ImageRef, PairResult, RunInfo
from engine.store.facts import FileFacts
from engine.store.match_shard_reading import MatchShardReader
from engine.store.matches_h5 import PREFIX, MatchStore
from engine.store.result_json import read_result, result_path
from engine.store.shards import list_shards
from engine.store.stored_result import Locate, StoredImage, StoredResult
from engine.verification import residuals_px
from engine.views import UPRIGHT, View

_LISTED = 6


@dataclass(frozen=True, eq=False)
class DrawablePair:
    """A stored pair.

    Attributes:
        stored: what was found; its file need not exist where the pair came from the packed store.
        view_a, view_b: the views that were matched.
        image_root: folder of the photographs as recorded, or empty.
    """

    stored: StoredResult
    view_a: View = UPRIGHT
    view_b: View = UPRIGHT
    image_root: str = ""


def pair_of_file(file: Path, locate: Locate) -> DrawablePair:
    """The pair of a result file. Arguments and errors as `read_result`."""
    stored = read_result(file, locate)
    if stored.earlier_tool:
        return DrawablePair(stored)
    document = json.loads(file.read_bytes())
    view_a, view_b = (_view(document, name, file) for name in ("view_a", "view_b"))
    root = (document.get("meta") or {}).get("img_root")
    return DrawablePair(stored, view_a, view_b, root if isinstance(root, str) else "")


def _view(document: dict[str, Any], name: str, file: Path) -> View:
    """A view of the document's search; upright in files of versions that had none."""
    try:
        found = (document.get("search") or {}).get(name) or {}
        return View(float(found.get("rotation_deg", 0.0)), float(found.get("scale", 1.0)))
    except (TypeError, ValueError, AttributeError) as error:
        raise ResultFileError(
            f"{file}: search.{name} is no view ({error}). Delete it and match the pair again"
        ) from error


def pair_of_result(result: PairResult, run: RunInfo, file: Path) -> DrawablePair:
    """The pair of a result of the packed store; `file` is where its JSON is, or would be."""
    residuals = residuals_px(result.verification, result.points_a_px, result.points_b_px)
    errors = residuals[result.verification.inliers] if residuals is not None else None
    has_errors = errors is not None and len(errors) > 0
    stored = StoredResult(
        file=file,
        weights=run.settings.weights,
        image_a=_stored_image(result.image_a),
        image_b=_stored_image(result.image_b),
        cosine=result.cosine,
        token_a=result.token_a,
        token_b=result.token_b,
        points_a_px=result.points_a_px,
        points_b_px=result.points_b_px,
        similarity=result.similarity,
        selected_a=result.selected_a,
        selected_b=result.selected_b,
        verification=result.verification,
        error_mean_px=float(errors.mean()) if errors is not None and has_errors else None,
        error_median_px=float(sorted(errors)[len(errors) // 2]) if errors is not None and has_errors else None,
        matching_mode=run.matching_mode,
        provider=run.provider,
        settings=asdict(run.settings),
        settings_digest=run.settings.digest(),
        time_ms=result.time_ms,
        earlier_tool=False,
    )
    return DrawablePair(stored, result.view_a, result.view_b, run.paths.get("img_root", ""))


def find_pair(
    match_root: Path, a: str, b: str, weights: str | None = None, run: str | None = None
) -> DrawablePair | Path:
    """The stored pair of two photographs, in the order asked for where it is stored so, else in the other one.

    Of several runs that hold it, the newest.

    Args:
        match_root: `MATCH_ROOT`.
        a, b: `ALT.FRAME`, `ID:ALT.FRAME`, or the name of a file.
        weights: alias of the backbone, or None for any.
        run: beginning of the run's name, or None for any.

    Returns:
        The pair, or, where no packed store holds it, its result file.

    Raises:
        UsageError: a name stands for several photographs, or for a whole altitude.
        WorkError: the pair is not stored.
    """
    partners: set[str] = set()
    for stored_run in _asked_runs(match_root, weights, run):
        images = _images(stored_run)
        side_a, side_b = _named(images, a), _named(images, b)
        with MatchStore(stored_run.folder) as store:
            found, turned_round = [], []
            for pair in store.pairs():
                if pair[0] in side_a and pair[1] in side_b:
                    found.append(pair)
                elif pair[0] in side_b and pair[1] in side_a:
                    turned_round.append(pair)
                elif pair[0] in side_a or pair[1] in side_a:
                    partners.add(images[pair[1] if pair[0] in side_a else pair[0]].key)
            asked = {frozenset(pair) for pair in found}
            found += [pair for pair in turned_round if frozenset(pair) not in asked]
            if len(found) > 1:
                raise UsageError(_several(found, images, a, b))
            if found:
                entry = store.find(*found[0])
                if entry is None:
                    raise ResultFileError(f"{store.problems[0]}. Match the pair again")
                labels = (entry[0].image_a.label, entry[0].image_b.label)
                return pair_of_result(*entry, result_path(match_root, entry[1].settings.weights, *labels))
    file = _result_file(match_root, a, b, weights) if run is None else None
    if file is not None:
        return file
    where = f"no stored pair {a} - {b} below {match_root}" + (f" of {weights}" if weights else "")
    known = f". {a} is stored with {', '.join(sorted(partners)[:_LISTED])}" if partners else ""
    more = f" and {len(partners) - _LISTED} more" if len(partners) > _LISTED else ""
    raise WorkError(f"{where}{known}{more}. Run 'engine match -a {a} -b {b}', or name the folder with --root")


def _asked_runs(match_root: Path, weights: str | None, name: str | None) -> list[StoredRun]:
    runs = stored_runs(match_root)
    asked = [entry for entry in runs if weights is None or entry.settings.weights == weights]
    asked = [entry for entry in asked if name is None or entry.name.startswith(name.lower())]
    if not asked and (name is not None or (weights is not None and runs)):
        wanted = " ".join(
            part for part in (f"-w {weights}" if weights else "", f"--run {name}" if name else "") if part
        )
        listed = "\n  ".join(entry.line() for entry in runs) or "none"
        raise UsageError(f"no stored run fits {wanted}. There are:\n  {listed}")
    return asked


def _images(run: StoredRun) -> dict[str, ImageRef]:
    """Every photograph of a run, by its name in the store."""
    found: dict[str, ImageRef] = {}
    for shard in list_shards(run.folder, PREFIX):
        try:
            images = MatchShardReader(shard.path, None, tables_only=True).images
        except ResultFileError:
            continue  # the store says so itself where the pair is missing for it
        found.update((entry.name, entry.image) for entry in images)
    return found


def _named(images: dict[str, ImageRef], argument: str) -> set[str]:
    """Names of the photographs that a person means."""
    wanted = parse_selector(argument) if looks_like_selector(argument) else None
    if wanted is not None and wanted.frame is None:
        raise UsageError(f"--pair {argument} names a whole altitude: give one photograph, such as {argument}.0001")
    rule = NameRule.make(None, ["jpg"])
    names = set()
    for name, image in images.items():
        key = rule.key_of(image.path.name)
        if wanted is not None and key is not None:
            fits = wanted.fits(key)
        else:
            fits = argument in (image.key, image.label, name, image.path.name, image.path.stem, str(image.path))
        if fits:
            names.add(name)
    return names


def _several(found: list[tuple[str, str]], images: dict[str, ImageRef], a: str, b: str) -> str:
    listed = "; ".join(f"{images[first].path.name} - {images[second].path.name}" for first, second in found[:_LISTED])
    return f"--pair {a} {b} fits {len(found)} stored pairs ({listed}): name the flights too, as ID:ALT.FRAME"


def _result_file(match_root: Path, a: str, b: str, weights: str | None) -> Path | None:
    """A result file without a packed store beside it, such as the earlier tool's, by the end of its name."""
    try:
        files: Iterable[Path] = [path for group in result_folders(match_root).values() for path in group]
    except WorkError:
        return None
    endings = tuple(f"_{x.replace(':', '_')}_{y.replace(':', '_')}" for x, y in ((a, b), (b, a)))
    return next(
        (
            path
            for path in files
            if path.stem.endswith(endings) and (not weights or path.stem.startswith(f"{weights}_"))
        ),
        None,
    )


def _stored_image(image: ImageRef) -> StoredImage:
    values: dict[str, Any] = {name: getattr(image, name) for name in ("path", "key", "label", "size", "encoded_size")}
    return StoredImage(**values, grid=image.grid, facts=FileFacts.of(image))
