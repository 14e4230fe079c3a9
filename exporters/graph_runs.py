"""Running a graph file for its verification: as a whole, or part by part where it is too large for that.

A part is run in a session of its own whose weights stay in the data file, mapped and not copied, so that memory holds
one block at a time. What one part gives to another is kept by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper

from engine.runtime import DATA_FOLDER, data_folder
from engine.runtime import open_session as engine_session
from exporters.emulation import RANGE_SUFFIX, emulate_half
from models.contract import INPUT_IMAGE, OUTPUT_GLOBAL_DESCRIPTOR, OUTPUT_PATCH_TOKENS
from models.errors import WorkError

CPU = "CPUExecutionProvider"
OUTPUTS = (OUTPUT_PATCH_TOKENS, OUTPUT_GLOBAL_DESCRIPTOR)

Array = NDArray[Any]
Values = dict[str, Array]


class VerificationError(WorkError):
    """A graph cannot be run, or its outputs differ too much from those of its source model."""


@dataclass
class Reach:
    """The largest absolute value seen among 16-bit values before rounding, and where; or the first infinite one."""

    largest: float = 0.0
    at: str = ""

    def take(self, values: Mapping[str, Array]) -> None:
        for name, value in values.items():
            if name.endswith(RANGE_SUFFIX) and np.isfinite(self.largest) and not float(value) <= self.largest:
                self.largest, self.at = float(value), name.removesuffix(RANGE_SUFFIX)


def open_session(graph_path: Path) -> onnxruntime.InferenceSession:
    """A session of the whole graph on the CPU, as the engine opens it.

    Raises:
        GraphError: the file or its data file is missing, damaged or altered.
        ProviderError: this processor cannot run such a graph.
    """
    session: onnxruntime.InferenceSession = engine_session(onnxruntime, graph_path, CPU, None, None)
    return session


def run_session(
    session: onnxruntime.InferenceSession, label: Path | str, names: Sequence[str], feeds: Values
) -> Values:
    """The named outputs.

    Raises:
        VerificationError: the run failed.
    """
    try:
        return dict(zip(names, session.run(list(names), feeds), strict=True))
    except Exception as error:  # ONNX Runtime's exceptions share no base class of their own
        raise VerificationError(f"ONNX Runtime {onnxruntime.__version__} cannot run {label}: {error}") from error


@dataclass
class WholeGraph:
    """A graph in one session on the CPU.

    Args:
        half: the 16-bit float to emulate in float32, or None to run the graph as it is.
    """

    path: Path
    half: int | None = None
    reach: Reach = field(default_factory=Reach)

    def __post_init__(self) -> None:
        if self.half is None:
            self._session, self._names = open_session(self.path), list(OUTPUTS)
            return
        model = onnx.load(self.path, load_external_data=False)
        folder = weights_folder(model, self.path)
        onnx.load_external_data_for_model(model, str(folder))
        emulate_half(model, self.half)
        self._names = [output.name for output in model.graph.output]
        self._session = _memory_session(model, self.path, folder)

    def run(self, images: NDArray[np.uint8]) -> tuple[Array, Array]:
        values = run_session(self._session, self.path, self._names, {INPUT_IMAGE: images})
        self.reach.take(values)
        return values[OUTPUT_PATCH_TOKENS], values[OUTPUT_GLOBAL_DESCRIPTOR]


class PartedGraph:
    """A graph cut after some of its values into parts that are opened one at a time, in order, on the CPU.

    Args:
        cuts: names of values in the order they are computed; each ends a part.
        half: as for `WholeGraph`.
    """

    def __init__(self, path: Path, cuts: Sequence[str], half: int | None = None) -> None:
        self.path, self._half = path, half
        self.reach = Reach()
        self._model = onnx.load(path, load_external_data=False)
        self._folder = weights_folder(self._model, path)
        self._halves: frozenset[str] = frozenset()
        self._parts = self._cut(cuts)

    def __len__(self) -> int:
        return len(self._parts)

    def _cut(self, cuts: Sequence[str]) -> list[list[onnx.NodeProto]]:
        parts: list[list[onnx.NodeProto]] = [[]]
        waiting = list(cuts)
        for node in self._model.graph.node:
            parts[-1].append(node)
            if waiting and waiting[0] in node.output:
                waiting.pop(0)
                parts.append([])
        if waiting:
            raise VerificationError(f"{self.path} has no value '{waiting[0]}': it was not exported by this program")
        return parts

    def open_part(self, index: int, example: Values) -> "OpenPart":
        """Part `index`, ready to run. `example` holds what earlier parts gave: names and types count."""
        nodes = self._parts[index]
        made = {name for node in nodes for name in node.output}
        taken = {name for node in nodes for name in node.input if name} - made
        later = {name for part in self._parts[index + 1 :] for node in part for name in node.input}
        given = sorted(made & (later | set(OUTPUTS)))
        weights = [tensor for tensor in self._model.graph.initializer if tensor.name in taken]
        fed = sorted(taken - {tensor.name for tensor in weights})
        inputs = [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(example[name].dtype), None)
            for name in fed
        ]
        graph = helper.make_graph(nodes, f"part {index}", inputs, [onnx.ValueInfoProto(name=name) for name in given])
        graph.initializer.extend(weights)
        model = helper.make_model(
            graph, opset_imports=self._model.opset_import, ir_version=self._model.ir_version, producer_name="part"
        )
        if self._half is not None:
            self._halves |= emulate_half(model, self._half, self._halves)
        names = [output.name for output in model.graph.output]
        session = _memory_session(model, self.path, self._folder)
        return OpenPart(session, f"{self.path}, part {index}", fed, names, self.reach)


@dataclass(frozen=True)
class OpenPart:
    """One part of a graph in a session."""

    session: onnxruntime.InferenceSession
    label: str
    fed: Sequence[str]
    names: Sequence[str]
    reach: Reach

    def run(self, values: Values) -> Values:
        """What this part gives, from all that earlier ones gave."""
        given = run_session(self.session, self.label, self.names, {name: values[name] for name in self.fed})
        self.reach.take(given)
        return {name: value for name, value in given.items() if not name.endswith(RANGE_SUFFIX)}


def weights_folder(model: onnx.ModelProto, path: Path) -> Path:
    """The folder of the data file of the graph at `path`: beside it, or where a link beside it leads.

    Raises:
        GraphError: a link to a file of another name.
    """
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    location = next((entry.value for entry in entries if entry.key == "location"), None)
    return path.parent if location is None else data_folder(path.parent / location)


def _memory_session(model: onnx.ModelProto, path: Path, folder: Path) -> onnxruntime.InferenceSession:
    """A session of a model in memory, made from the graph at `path`, whose external weights lie in `folder`.

    Nothing is optimised: casts there and back would be taken for superfluous, and packed weights would be copies.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.enable_cpu_mem_arena = False
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry(DATA_FOLDER, str(folder))
    try:
        return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])
    except Exception as error:  # as above
        raise VerificationError(f"ONNX Runtime {onnxruntime.__version__} cannot load {path}: {error}") from error
