"""One backbone's weights to a verified graph file."""

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

from exporters.aside import folder_aside, publish
from exporters.calibration import Calibration, calibrate
from exporters.check_images import CheckImages
from exporters.checkpoints import Checkpoint, Digest
from exporters.graph_check import GraphCheck, require_close
from exporters.graph_file import SINGLE_FILE_LIMIT_BYTES, WrittenGraph, append_metadata, write_graph
from exporters.metadata import describe
from exporters.number_formats import FULL_RANGE, Int8Range, int8_range
from exporters.onnx_graph import build_graph
from exporters.precisions import PRECISIONS, Precision, precision_named
from exporters.room import require_free_disk, require_memory, require_room, require_room_to_trace
from exporters.sources.builtin import load_builtin
from exporters.sources.loaded import LoadedSource, Progress
from exporters.sources.traced import traced_bytes, write_traced
from exporters.verify import check_graph, comparison_model, weight_bytes
from models.build import build_with_weights
from models.catalogue import Backbone
from models.contract import KEY_VERIFICATION, SOURCE_BUILTIN, CheckpointStatus
from models.errors import UsageError, WorkError

__all__ = [
    "PRECISIONS",
    "ExportReport",
    "Progress",
    "export_backbone",
    "export_source",
    "graph_name",
    "require_memory",
]


@dataclass(frozen=True)
class ExportReport:
    """What an export made.

    Attributes:
        graph_path: the graph file.
        size_bytes: of the graph file and its data file together.
        seconds: from the loaded checkpoint to the verified file.
        check: the comparison with the source model.
        int8: the range of 8-bit weights, where there are any.
        calibration: the ranges of what is multiplied with them, where they were taken from photographs.
        notes: what is worth knowing about the source.
    """

    alias: str
    precision: str
    graph_path: Path
    size_bytes: int
    seconds: float
    checkpoint: Checkpoint
    check: GraphCheck
    int8: Int8Range | None = None
    calibration: Calibration | None = None
    notes: tuple[str, ...] = ()

    @property
    def largest_difference(self) -> float:
        """The largest absolute difference of any output value."""
        return self.check.largest_difference

    @property
    def smallest_cosine(self) -> float:
        """The smallest cosine of any output token and its counterpart."""
        return self.check.smallest_cosine

    def summary(self) -> str:
        """One line for the user."""
        status = (
            "" if self.checkpoint_status is CheckpointStatus.OFFICIAL else f" ({self.checkpoint_status} checkpoint)"
        )
        on = f"{self.check.photographs} photographs" if self.check.photographs else "made-up images"
        kept = "" if self.check.matches is None else f", {self.check.matches.share:.1%} of matches kept"
        quantised = "" if self.int8 is None else f"; weights within ±{self.int8.largest}, as {self.int8.reason}"
        limit, reach = precision_named(self.precision).largest_value, self.check.largest_activation
        if limit is not None and reach is not None:
            quantised = (
                f"; 16-bit values reach {reach:.5g} of {limit:.5g} on these photographs, which proves nothing of others"
            )
        if self.calibration is not None:
            quantised += f"; activations calibrated on {self.calibration.photographs} photographs"
        return (
            f"{self.graph_path} ({self.size_bytes / 1e6:.0f} MB, {self.seconds:.1f} s){status}; against the source "
            f"model on {on}: largest difference {self.largest_difference:.2g}, smallest cosine "
            f"{self.smallest_cosine:.6f}, mean {self.check.mean_cosine:.6f}{kept}{quantised}"
        )

    @property
    def checkpoint_path(self) -> Path:
        return self.checkpoint.path

    @property
    def checkpoint_status(self) -> CheckpointStatus:
        return self.checkpoint.status


def graph_name(alias: str, precision: str = "fp32", source: str = SOURCE_BUILTIN) -> str:
    """The file name of a graph below GRAPH_ROOT."""
    return f"{alias}-{precision}.onnx" if source == SOURCE_BUILTIN else f"{alias}-{source}-{precision}.onnx"


def graph_file(graph: Path, alias: str, precision: str, source: str = SOURCE_BUILTIN) -> Path:
    """Where a graph goes that was asked for at `graph`, a file or its folder."""
    return graph if graph.suffix == ".onnx" else graph / graph_name(alias, precision, source)


def export_backbone(
    backbone: Backbone,
    checkpoint: Path,
    graph: Path,
    precision: str = "fp32",
    unofficial: bool = False,
    progress: Progress | None = None,
    *,
    images: CheckImages | None = None,
    calibration_images: CheckImages | None = None,
    single_file_limit_bytes: int = SINGLE_FILE_LIMIT_BYTES,
    digest: Digest | None = None,
) -> ExportReport:
    """Turns a checkpoint into a graph file, verifies it against the source model, and only then gives it its name.

    Args:
        checkpoint: a `.pth` file, or a folder that is searched for the published name.
        graph: the `.onnx` file to write, or the folder for `<alias>-<precision>.onnx`.
        unofficial: accept a checkpoint whose SHA-256 is neither the published one nor that in its name.
        images: what graph and source are compared on, made up by default. fp16 takes photographs only.
        calibration_images: photographs that the ranges of int8 activations are taken from; by default every call takes
            them from its own values.
        single_file_limit_bytes: weights of more bytes go to a data file beside the graph.
        digest: gives the SHA-256 of the checkpoint, by default by reading it.

    Raises:
        UsageError: an unknown precision, fp16 without photographs, or photographs to calibrate another than int8 on.
        WorkError: the checkpoint is missing, bad or one of several, the folder is not writable, disk or memory are
            short, or the graph differs from its source model. Nothing new is left under the final name; an earlier
            graph stays.
    """
    numbers = require_settings(precision, images, calibration_images)
    require_room(graph_file(graph, backbone.alias, precision), backbone, numbers)
    source = load_builtin(backbone, checkpoint, unofficial=unofficial, progress=progress, digest=digest)
    return export_source(
        source,
        graph,
        precision,
        progress,
        images=images,
        calibration_images=calibration_images,
        single_file_limit_bytes=single_file_limit_bytes,
    )


def export_source(
    source: LoadedSource,
    graph: Path,
    precision: str = "fp32",
    progress: Progress | None = None,
    *,
    images: CheckImages | None = None,
    calibration_images: CheckImages | None = None,
    single_file_limit_bytes: int = SINGLE_FILE_LIMIT_BYTES,
) -> ExportReport:
    """`export_backbone` for a network of any source, already loaded.

    Raises:
        UsageError, WorkError: as `export_backbone`; and a traced network in another precision than fp32.
    """
    numbers = require_settings(precision, images, calibration_images)
    if source.state is None and precision != "fp32":
        raise UsageError(
            f"{source.model_id} is no DINOv3 model, and its graph is traced: only --precision fp32 is offered for it"
        )
    start = time.perf_counter()
    tell = progress or _silent
    network = source.network
    final = graph_file(graph, network.alias, precision, source.source)
    with folder_aside(final) as aside:
        try:
            quantised = int8_range() if numbers.integer else None
            calibration = None
            if source.state is None:
                require_room_to_trace(final, traced_bytes(source))
                written = write_traced(source, aside / final.name)
            else:
                backbone, largest = source.backbone, FULL_RANGE if quantised is None else quantised.largest
                builder = build_graph(backbone, source.state, numbers, largest)
                require_free_disk(final, builder.weight_bytes)
                require_memory(final.name, builder, numbers, backbone)
                if calibration_images is not None:
                    calibration = calibrate(
                        build_with_weights(backbone, source.state),
                        backbone,
                        calibration_images,
                        lambda done, total: tell("calibrate", done, total),
                    )
                    builder = build_graph(backbone, source.state, numbers, largest, calibration.ranges)
                written = write_graph(
                    builder,
                    aside / final.name,
                    single_file_limit_bytes,
                    lambda done, total: tell("write", done, total),
                )
            append_metadata(written.path, describe(source, precision, written, quantised, calibration))
            tell("verify", 0, 1)
            model, remark = comparison_model(source, weight_bytes(written.path), numbers)
            check = check_graph(
                written.path,
                model,
                network,
                images,
                numbers,
                progress=lambda done, total: tell("verify", done, total),
            )
            require_close(check, numbers, final.name)
            append_metadata(written.path, {KEY_VERIFICATION: check.to_json()})
            _publish(written, final)
        except OSError as error:
            raise WorkError(f"{final} could not be written: {error.strerror or error}") from error
    size_bytes = final.stat().st_size + _data_size(written, final)
    seconds = time.perf_counter() - start
    return ExportReport(
        network.alias,
        precision,
        final,
        size_bytes,
        seconds,
        source.checkpoint,
        check,
        quantised,
        calibration,
        (*source.notes, remark) if remark else source.notes,
    )


def require_settings(precision: str, images: CheckImages | None, calibration_images: CheckImages | None) -> Precision:
    """The precision of this name, after it was seen that it fits the images.

    Raises:
        UsageError: an unknown precision, fp16 without photographs, or photographs to calibrate another than int8 on.
    """
    numbers = precision_named(precision)
    require_photographs(numbers, images)
    if calibration_images is not None and not numbers.integer:
        raise UsageError(f"{precision} has no 8-bit activations to calibrate: leave --calibrate out, or export int8")
    return numbers


def require_photographs(precision: Precision, images: CheckImages | None) -> None:
    """Refuses to judge a precision whose range activations may leave by made-up images, on which they do not.

    Raises:
        UsageError: fp16 without photographs.
    """
    if precision.largest_value is not None and not (images and images.photographs):
        raise UsageError(
            f"{precision.name} overflows with some checkpoints, which shows on photographs only: name a folder of them "
            "with --images or IMG_ROOT. bf16 has no such limit"
        )


def _publish(written: WrittenGraph, final: Path) -> None:
    """The data file first: the graph's own rename is the step that counts."""
    if written.data_path is not None:
        publish(written.data_path, final.with_name(written.data_path.name))
    publish(written.path, final)
    kept = None if written.data_path is None else written.data_path.name
    for older in final.parent.glob("*.data"):
        if older.name != kept and _is_data_of(older.name, final.stem):
            with contextlib.suppress(OSError):  # Windows, a run still has it open: the next export removes it
                older.unlink()


def _is_data_of(name: str, stem: str) -> bool:
    digits = name.removeprefix(f"{stem}-").removesuffix(".data")
    return name == f"{stem}-{digits}.data" and len(digits) == 8 and all(digit in "0123456789abcdef" for digit in digits)


def _data_size(written: WrittenGraph, final: Path) -> int:
    return 0 if written.data_path is None else final.with_name(written.data_path.name).stat().st_size


def _silent(stage: str, done: int, total: int) -> None:
    del stage, done, total
