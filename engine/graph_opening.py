"""Which runtime opens a graph file, and opening it: runtimes are plugins, chosen by name or by the file's suffix."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from engine.errors import Dinov3MatchError, GraphError, ProviderError, UsageError
from engine.graph_data import require_data_file
from engine.graph_info import GraphInfo
from engine.graph_metadata import read_metadata
from engine.hooks import RuntimeRecord
from engine.loaded_graph import DEFAULT_RUNTIME, GraphRuntime, LoadedGraph, require_file
from engine.plugin_registry import Registry
from engine.providers import AUTO
from engine.runtime import OnnxRuntime


def graph_suffixes(registry: Registry, runtime: str | None = None) -> tuple[str, ...]:
    """Suffixes of graph files that can be opened, best first.

    Args:
        runtime: only those that this runtime reads.

    Raises:
        UsageError: no runtime has this name.
    """
    if runtime is not None:
        return registry.runtime(runtime).suffixes
    records = sorted(registry.runtimes.values(), key=lambda record: record.name != DEFAULT_RUNTIME)
    return tuple(dict.fromkeys(suffix for record in records for suffix in record.suffixes))


def runtime_for(path: Path, registry: Registry, runtime: str | None = None) -> RuntimeRecord:
    """The runtime that opens a graph file: the one named, else the default one, else the only one that reads it.

    Raises:
        UsageError: there is none of this name, it does not read such files, or several do.
        GraphError: no runtime reads such files.
    """
    if runtime is not None:
        record = registry.runtime(runtime)
        if path.suffix not in record.suffixes:
            raise UsageError(f"--runtime {runtime} reads {', '.join(record.suffixes)} and not {path}")
        return record
    able = {record.name: record for record in registry.runtimes.values() if path.suffix in record.suffixes}
    if not able:
        known = ", ".join(graph_suffixes(registry))
        raise GraphError(f"no runtime reads {path}: graph files end in {known}; see 'engine plugins'")
    if DEFAULT_RUNTIME in able:
        return able[DEFAULT_RUNTIME]
    if len(able) > 1:
        raise UsageError(f"several runtimes read {path}: choose with --runtime one of {', '.join(able)}")
    return next(iter(able.values()))


def graph_metadata(path: Path, record: RuntimeRecord) -> Mapping[str, str]:
    """What a graph file says of itself, read as its runtime's plugin says.

    Raises:
        GraphError: the file is missing or damaged.
    """
    require_file(path)
    try:
        return (record.metadata or read_metadata)(path)
    except Dinov3MatchError:
        raise
    except Exception as error:
        raise GraphError(f"{path} cannot be read by the runtime {record.name}: {_first_line(error)}") from error


def open_with(record: RuntimeRecord, path: Path, provider: str = AUTO) -> GraphRuntime:
    """Opens a graph with a runtime. File, contract and data file are checked before the plugin sees them.

    Raises:
        GraphError: the file or its data file is missing, damaged, altered, or not ours.
        ProviderError: the runtime could not open it on this provider.
    """
    metadata = graph_metadata(path, record)
    graph = GraphInfo.from_metadata(path, metadata)
    try:
        if record.name != DEFAULT_RUNTIME:  # which looks for it by itself, through links too
            require_data_file(path.resolve(), metadata)
        runtime = record.factory()(path, provider)
    except Dinov3MatchError:
        raise
    except Exception as error:
        raise ProviderError(f"the runtime {record.name} could not open {path}: {_first_line(error)}") from error
    return runtime if isinstance(runtime, OnnxRuntime) else LoadedGraph(runtime, graph)


def results_digest(sha256: str, runtime: str, provider: str) -> str:
    """The digest that stored features and matches go by: the graph file's own SHA-256 (hex) where ONNX Runtime runs it.

    Other runtimes may compute otherwise, as OpenVINO does in bf16: their results must not mix with those of the same
    file. So their name and arithmetic are part of the digest.
    """
    if runtime == DEFAULT_RUNTIME:
        return sha256
    return hashlib.sha256(f"{sha256} {runtime} {provider}".encode()).hexdigest()


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
