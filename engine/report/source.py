"""Where a report's pairs come from: a stored run, or loose result files."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from engine.errors import ResultFileError, WorkError
from engine.hooks import ModelKind
from engine.photographs import Photographs
from engine.result_picker import result_folders
from engine.results import ImageRef, PairResult, RunInfo, Verification
from engine.store.match_shard_reading import MatchShardReader
from engine.store.matches_h5 import PREFIX, MatchStore
from engine.store.result_json import read_result, result_path, result_text
from engine.store.shards import list_shards
from engine.store.stored_result import StoredImage, StoredResult


@dataclass(frozen=True)
class RunDescription:
    """What a report says about the run as a whole.

    Attributes:
        name: the beginning of the settings' digest, or empty for loose result files.
        image_root: folder of the photographs as recorded, or empty.
        graph_sha256: digest of the graph, or empty where it is not known: no feature maps can then be found.
        image_size: shorter side of the encoded image in pixels.
        settings, versions: JSON-ready.
    """

    name: str
    weights: str
    provider: str
    matching_mode: str
    filter: str
    graph: str
    checkpoint: str
    image_root: str
    graph_sha256: str
    image_size: int
    settings: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, run: RunInfo, name: str) -> "RunDescription":
        """The description of a stored run."""
        settings = run.settings
        return cls(
            name=name,
            weights=settings.weights,
            provider=run.provider,
            matching_mode=run.matching_mode,
            filter=settings.filter,
            graph=run.graph.name,
            checkpoint=run.checkpoint,
            image_root=run.paths.get("img_root", ""),
            graph_sha256=settings.graph_sha256,
            image_size=settings.image_size,
            settings=asdict(settings),
            versions=dict(run.versions),
        )


@dataclass(frozen=True, eq=False)
class SourcePair:
    """A pair and where it comes from.

    Attributes:
        file: its result file; of a stored run, where such a file would lie.
        run: what a stored run made the pair with; None of a pair that was read from its file.
    """

    result: PairResult
    file: Path
    run: RunInfo | None = None

    def as_json(self) -> bytes:
        """The result file. That of a stored run is written anew: at its place may lie the file of another run.

        Raises:
            WorkError: the file that it was read from cannot be read any more.
        """
        if self.run is not None:
            return result_text(self.result, self.run).encode()
        try:
            return self.file.read_bytes()
        except OSError as error:
            problem = f"{self.file} cannot be read: {error.strerror or error}"
            raise WorkError(f"{problem}. Allow reading it, or delete it") from error


class ResultSource(Protocol):
    """Pairs of one run. `pairs` may be called again and then gives the same ones in the same order."""

    @property
    def description(self) -> RunDescription: ...

    @property
    def problems(self) -> list[str]:
        """What could not be read, one line each; complete once `pairs` has been gone through."""
        ...

    def __len__(self) -> int: ...

    def pairs(self) -> Iterator[SourcePair]: ...


class StoreSource:
    """The pairs of a stored run, from its packed shards.

    Raises:
        ResultFileError: no shard can be read.
    """

    def __init__(self, folder: Path, match_root: Path) -> None:
        self._store = MatchStore(folder)
        self._match_root = match_root
        self._names = list(self._store.pairs())
        self._description = RunDescription.of(_run_info(folder), folder.name)

    @property
    def description(self) -> RunDescription:
        return self._description

    @property
    def problems(self) -> list[str]:
        return self._store.problems

    def __len__(self) -> int:
        return len(self._names)

    def pairs(self) -> Iterator[SourcePair]:
        for name_a, name_b in self._names:
            found = self._store.find(name_a, name_b)
            if found is not None:
                result, run = found
                labels = (result.image_a.label, result.image_b.label)
                yield SourcePair(result, result_path(self._match_root, self._description.weights, *labels), run)


def _run_info(folder: Path) -> RunInfo:
    shards = list_shards(folder, PREFIX)
    problem = ResultFileError(f"{folder} holds no stored matches. Run 'engine match' first")
    for shard in reversed(shards):
        try:
            return MatchShardReader(shard.path, None, tables_only=True).run
        except ResultFileError as error:
            problem = error
    raise problem


class FileSource:
    """The pairs of result files (JSON), those of the earlier tool too; files that cannot be read are left out and said.

    Args:
        root: folder of the result files; with several backbones, those of `weights` are taken.
        photographs: finds the photographs of the earlier tool's files.

    Raises:
        WorkError: there are no result files, or none can be read.
    """

    def __init__(self, root: Path, photographs: Photographs, weights: str | None = None) -> None:
        self.problems: list[str] = []
        self._photographs = photographs
        self._stored: dict[Path, StoredResult] = {}
        for files in result_folders(root).values():
            for path in files:
                try:
                    stored = read_result(path, photographs.locate)
                except ResultFileError as error:
                    self.problems.append(str(error))
                    continue
                if weights is None or stored.weights == weights:
                    self._stored[path] = stored
        if not self._stored:
            of = f" of the backbone '{weights}'" if weights else ""
            first = f" The first problem: {self.problems[0]}" if self.problems else ""
            raise ResultFileError(f"no usable result file{of} below {root}.{first} Run 'engine match' first")
        used = {stored.weights for stored in self._stored.values()}
        if len(used) > 1:
            names = ", ".join(sorted(used))
            raise ResultFileError(f"the result files below {root} are of several backbones ({names}): name one with -w")
        self._description = _describe(next(iter(self._stored.values())))

    @property
    def description(self) -> RunDescription:
        return self._description

    def __len__(self) -> int:
        return len(self._stored)

    def pairs(self) -> Iterator[SourcePair]:
        for path, stored in self._stored.items():
            yield SourcePair(_as_result(stored), path)


def _describe(stored: StoredResult) -> RunDescription:
    return RunDescription(
        name="",
        weights=stored.weights,
        provider=stored.provider,
        matching_mode=stored.matching_mode,
        filter=stored.verification.filter if stored.verification else "",
        graph="",
        checkpoint="",
        image_root="",
        graph_sha256="",
        image_size=int(stored.settings.get("image_size") or min(stored.image_a.encoded_size)),
        settings=dict(stored.settings),
    )


def _as_result(stored: StoredResult) -> PairResult:
    unverified = Verification("", ModelKind.NONE, {}, "encoded", None, np.ones(len(stored.similarity), np.bool_))
    return PairResult(
        image_a=_as_image(stored.image_a),
        image_b=_as_image(stored.image_b),
        cosine=stored.cosine,
        token_a=stored.token_a,
        token_b=stored.token_b,
        points_a_px=stored.points_a_px,
        points_b_px=stored.points_b_px,
        similarity=stored.similarity,
        selected_a=stored.selected_a,
        selected_b=stored.selected_b,
        verification=stored.verification or unverified,
        time_ms=stored.time_ms,
        verdict=stored.verdict,
    )


def _as_image(image: StoredImage) -> ImageRef:
    facts = image.facts
    return ImageRef(
        key=image.key,
        label=image.label,
        path=image.path,
        size=image.size,
        encoded_size=image.encoded_size,
        grid=image.grid,
        bytes=facts.bytes if facts else 0,
        modified_ns=facts.modified_ns if facts else 0,
    )
