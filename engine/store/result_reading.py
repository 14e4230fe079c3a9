"""Reading result files, those of the earlier tool too. Whatever a file holds, it is read whole or refused by name."""

import json
from pathlib import Path
from typing import Any

from engine.errors import ResultFileError
from engine.hooks import ModelKind
from engine.results import SCHEMA_VERSION, Verdict, Verification
from engine.store.checked_json import Node
from engine.store.earlier_tool import read_earlier_result
from engine.store.facts import FileFacts
from engine.store.stored_result import Locate, StoredImage, StoredResult


def read_result(path: Path, locate: Locate | None = None) -> StoredResult:
    """Reads a result file.

    Args:
        path: the JSON file.
        locate: finds the photographs of an earlier tool's file, which records neither their sizes nor, outside its
            container, a path that exists. Its own errors pass through.

    Raises:
        ResultFileError: the file is missing, damaged, of another format or of a later version; or it is the earlier
            tool's and `locate` is None.
    """
    root = Node(_load(path), path)
    if "schema" not in root.value:
        return read_earlier_result(root, locate)
    version = root["schema"].integer(low=0)
    if version != SCHEMA_VERSION:
        raise ResultFileError(
            f"{path}: written with layout {version}, and this program reads {SCHEMA_VERSION}. "
            "Use the program version that wrote it, or match the pair again"
        )
    patch = root["patch"]
    image_a, image_b = _image(root["images"]["a"]), _image(root["images"]["b"])
    token_a, token_b = patch["idx_a"].tokens(image_a.grid), patch["idx_b"].tokens(image_b.grid)
    count = len(token_a)
    patch["idx_b"].length(count)
    found = root["verification"]
    errors = found["reprojection_error_px"]
    return StoredResult(
        file=path,
        weights=root["weight"].text(),
        image_a=image_a,
        image_b=image_b,
        cosine=root["cosine"].number(),
        token_a=token_a,
        token_b=token_b,
        points_a_px=root["points_px"]["a"].numbers((count, 2)),
        points_b_px=root["points_px"]["b"].numbers((count, 2)),
        similarity=patch["similarities"].similarities(count),
        selected_a=patch["n_selected_a"].integer(low=0),
        selected_b=patch["n_selected_b"].integer(low=0),
        verification=_verification(found, count),
        error_mean_px=errors["mean"].number_or_none(),
        error_median_px=errors["median"].number_or_none(),
        matching_mode=root["advanced_settings"]["matching_mode"].text(),
        provider=root["provider"].text(),
        settings=root["settings"].mapping(),
        settings_digest=root["settings_digest"].text(),
        time_ms=root["time_ms"].numbers_by_name(),
        earlier_tool=False,
        verdict=_verdict(root),
    )


def read_stamp(path: Path) -> tuple[str, FileFacts, FileFacts, float | None]:
    """What a result file was made from: settings digest, both photographs' files, and its verdict's probability.

    The rest of the file is read as JSON, so that a cut file is noticed, but not looked at: a run reads thousands.

    Raises:
        ResultFileError: as for `read_result`, of what is looked at.
    """
    root = Node(_load(path), path)
    if root["schema"].integer(low=0) != SCHEMA_VERSION:
        raise ResultFileError(f"{path}: written with another layout")
    facts = [_facts(image) for image in (root["images"]["a"], root["images"]["b"])]
    verdict = root.mapping().get("verdict")
    probability = None if verdict is None else root["verdict"]["probability"].number()
    return root["settings_digest"].text(), facts[0], facts[1], probability


def _load(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
    except OSError as error:
        raise ResultFileError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ResultFileError(
            f"{path}: damaged, not valid JSON ({error}). Delete it and match the pair again"
        ) from error
    if not isinstance(value, dict):
        raise ResultFileError(f"{path}: not a result file: it holds no JSON object")
    return value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _image(node: Node) -> StoredImage:
    return StoredImage(
        path=Path(node["path"].text()),
        key=node["key"].text(),
        label=node["label"].text(),
        size=node["size"].pair(),
        encoded_size=node["encoded_size"].pair(),
        grid=node["grid"].pair(),
        facts=_facts(node),
    )


def _facts(image: Node) -> FileFacts:
    """What a photograph's file was; files of earlier versions hold no digest."""
    digest = "" if image.mapping().get("sha256") is None else image["sha256"].text()
    return FileFacts(image["bytes"].integer(low=0), image["modified_ns"].integer(), digest)


def _verdict(root: Node) -> Verdict | None:
    if root.mapping().get("verdict") is None:
        return None
    node = root["verdict"]
    overlap = node["overlap"]
    return Verdict(
        probability=node["probability"].number(),
        flags=tuple(node["flags"].texts()),
        overlap_a=overlap["a"].number_or_none(),
        overlap_b=overlap["b"].number_or_none(),
        covered=overlap["covered"].number(),
        log10_false_alarms=node["log10_false_alarms"].number(),
    )


def _verification(node: Node, count: int) -> Verification:
    matrix = None if node["matrix"].value is None else node["matrix"].numbers((3, 3))
    try:
        kind = ModelKind(node["kind"].text())
    except ValueError as error:
        raise node["kind"].wrong(f"one of {', '.join(ModelKind)}") from error
    chosen = node["model"].text() if "model" in node.mapping() else None
    return Verification(
        filter=node["filter"].text(),
        kind=kind,
        options=node["options"].mapping(),
        reproj_unit=node["reproj_unit"].text(),
        matrix=matrix,
        inliers=node["inliers"].flags(count),
        model=chosen if chosen != node["filter"].text() else None,
    )
