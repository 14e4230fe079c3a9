"""Reading a shard of matches (its layout: `engine.store.match_shard`)."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.hooks import ModelKind
from engine.results import ImageRef, MatchSettings, PairResult, Refinement, RunInfo, Verdict, Verification
from engine.store.hdf5 import READ_ERRORS, damaged, open_hdf5
from engine.store.match_shard import FORMAT, TEXTS, VERDICT, NamedImage, centres_px
from engine.store.pair_index import SHARD_ROWS
from engine.views import UPRIGHT, View


class MatchShardReader:
    """An open shard: tables in memory, nothing kept open.

    Attributes:
        settings_digest: digest of the settings its pairs were matched with.
        run: what they were made with.
        images: the photographs of its pairs.
        image_a, image_b: [P] int32; rows of `images`.
    """

    def __init__(self, path: Path, settings_digest: str | None, *, tables_only: bool = False) -> None:
        """Reads a shard.

        Args:
            path: the shard.
            settings_digest: what it must have been made with; None to take any.
            tables_only: leaves out the matches: enough to know which pairs are in it.

        Raises:
            ResultFileError: cut, altered, of another format, or made with other settings.
        """
        self._path = path
        with open_hdf5(path) as file:
            try:
                if file.attrs.get("format") != FORMAT:
                    raise damaged(path, "its format is not that of matches of this program version")
                self.settings_digest = str(file.attrs["settings_digest"])
                if settings_digest is not None and self.settings_digest != settings_digest:
                    raise damaged(path, "its pairs were matched with other settings than its folder's")
                self.images = _read_images(file["images"])
                self._pairs = {name: item[()] for name, item in file["pairs"].items()}
                self._times: list[str] = json.loads(file["pairs"].attrs["time_names"])
                self._shares: dict[str, Any] = json.loads(file.attrs["verification"])
                self.run = _read_run(str(file.attrs["run"]))
                self._matches = {} if tables_only else {name: item[()] for name, item in file["matches"].items()}
            except READ_ERRORS as error:
                raise damaged(path, str(error)) from error
        if len(self._pairs.get("image_a", ())) > SHARD_ROWS:
            raise damaged(path, f"it holds more than {SHARD_ROWS} pairs")
        self.image_a: NDArray[np.int32] = self._pairs["image_a"]
        self.image_b: NDArray[np.int32] = self._pairs["image_b"]

    def __len__(self) -> int:
        return len(self.image_a)

    def names(self, row: int) -> tuple[str, str] | None:
        """Names of the images of a row; None where there is no such row."""
        if not 0 <= row < len(self):
            return None
        return self.images[self.image_a[row]].name, self.images[self.image_b[row]].name

    def read(self, row: int) -> PairResult:
        """The result in a row of the shard, to the bit as it was stored."""
        try:
            return self._read(row)
        except READ_ERRORS as error:
            raise damaged(self._path, f"pair {row}: {error}") from error

    def _read(self, row: int) -> PairResult:
        pairs, part = self._pairs, slice(*(int(at) for at in self._pairs["offset"][row : row + 2]))
        matches = {name: values[part].copy() for name, values in self._matches.items()}
        image_a, image_b = self.images[self.image_a[row]].image, self.images[self.image_b[row]].image
        token_a, token_b = matches["token_a"], matches["token_b"]
        centred = "points_a_px" not in matches
        # Shards of an earlier version hold one kind for all pairs, and no verdict.
        kind = pairs["kind"][row].decode() if "kind" in pairs else self._shares["kind"]
        model = pairs["model"][row].decode() if "model" in pairs else ""
        times = zip(self._times, pairs["time_ms"][row].tolist(), strict=True)
        return PairResult(
            image_a=image_a,
            image_b=image_b,
            cosine=float(pairs["cosine"][row]),
            token_a=token_a,
            token_b=token_b,
            points_a_px=centres_px(token_a, image_a) if centred else matches["points_a_px"],
            points_b_px=centres_px(token_b, image_b) if centred else matches["points_b_px"],
            similarity=matches["similarity"],
            selected_a=int(pairs["selected_a"][row]),
            selected_b=int(pairs["selected_b"][row]),
            verification=Verification(
                filter=self._shares["filter"],
                kind=ModelKind(kind),
                options=dict(self._shares["options"]),
                reproj_unit=self._shares["reproj_unit"],
                matrix=pairs["matrix"][row].copy() if pairs["has_model"][row] else None,
                inliers=matches["inlier"].astype(np.bool_),
                model=model or None,
            ),
            time_ms={name: value for name, value in times if not np.isnan(value)},
            view_a=_view_a(pairs, row),
            view_b=View(float(pairs["rotation_b_deg"][row]), float(pairs["scale_b"][row])),
            views_tried=int(pairs["views_tried"][row]),
            refinement=_read_refinement(pairs["refinement"][row]),
            verdict=_read_verdict(pairs, row),
        )


def _view_a(pairs: dict[str, Any], row: int) -> View:
    """The view of a; shards of an earlier version only know upright ones."""
    if "rotation_a_deg" not in pairs:
        return UPRIGHT
    return View(float(pairs["rotation_a_deg"][row]), float(pairs["scale_a"][row]))


def _read_refinement(text: bytes) -> Refinement | None:
    return Refinement.from_json(json.loads(text)) if text else None


def _read_verdict(pairs: dict[str, Any], row: int) -> Verdict | None:
    if "verdict" not in pairs or np.isnan(pairs["verdict"][row][0]):
        return None
    values: dict[str, Any] = {
        name: None if np.isnan(value) else float(value)
        for name, value in zip(VERDICT, pairs["verdict"][row], strict=True)
    }
    return Verdict(flags=tuple(pairs["verdict_flags"][row].decode().split()), **values)


def _read_run(text: str) -> RunInfo:
    values = json.loads(text)
    return RunInfo(**{**values, "settings": MatchSettings(**values["settings"]), "graph": Path(values["graph"])})


def _read_images(group: Any) -> list[NamedImage]:
    texts = [group[name].asstr(errors="surrogateescape")[()].tolist() for name in TEXTS]
    pairs = [_pairs_of(group[name][()]) for name in ("size", "encoded_size", "grid")]
    numbers = [group[name][()].tolist() for name in ("bytes", "modified_ns")]
    # Shards of an earlier version hold no digests.
    digests = group["sha256"].asstr()[()].tolist() if "sha256" in group else [""] * len(numbers[0])
    rows: Iterable[tuple[Any, ...]] = zip(*texts, *pairs, *numbers, digests, strict=True)
    return [NamedImage(name, ImageRef(key, label, Path(path), *rest)) for name, key, label, path, *rest in rows]


def _pairs_of(values: NDArray[np.int32]) -> list[tuple[int, int]]:
    return [(int(first), int(second)) for first, second in values]
