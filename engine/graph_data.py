"""The data file of a large graph: is it there, and is it the one the graph was exported with?"""

from collections.abc import Mapping
from pathlib import Path

from engine.digest_cache import DigestCache
from engine.errors import GraphError
from engine.graph_metadata import data_location
from models.contract import KEY_EXTERNAL_SHA256


def require_data_file(graph: Path, metadata: Mapping[str, str], fresh: bool = False) -> Path | None:
    """The data file beside a graph, after its digest was compared; None where the graph needs none.

    Args:
        metadata: of the graph.
        fresh: read the whole file even where its digest is remembered.

    Raises:
        GraphError: the data file is missing, renamed, a link that leads nowhere, or altered.
    """
    wanted = metadata.get(KEY_EXTERNAL_SHA256)
    if wanted is None:
        return None
    location = data_location(graph)
    if location is None:
        raise GraphError(f"{graph} names a data file and no weight in it: it was altered; export it again")
    data = graph.parent / location
    again = f"bring it back beside {graph.name}, or export the graph again with 'engine export'"
    if data.is_symlink() and not data.exists():
        raise GraphError(f"{data} is a link to {data.resolve()}, which does not exist; {again}")
    if not data.is_file():
        renamed = sorted(graph.parent.glob(f"*-{wanted[:8]}.data"))
        if renamed:
            raise GraphError(f"the weights of {graph} lie under another name: rename {renamed[0]} to {data.name}")
        raise GraphError(f"the weights of {graph} are not there: {data.name} was moved or removed; {again}")
    try:
        sha256 = DigestCache(graph.parent).sha256(data, fresh)
    except OSError as error:
        raise GraphError(f"{data} cannot be read: {error.strerror or error}") from error
    if sha256 != wanted:
        raise GraphError(
            f"{data} was altered: its SHA-256 begins with {sha256[:8]} and not with {wanted[:8]}, as {graph.name} "
            f"says; {again}"
        )
    return data


def data_folder(data: Path) -> Path:
    """The folder that the bytes of a data file really lie in. ONNX Runtime refuses data files that are links, so it is
    told where they lead.

    Raises:
        GraphError: a link to a file of another name than the one in the graph.
    """
    real = data.resolve()
    if real.name != data.name:
        raise GraphError(f"{data} is a link to a file of another name, {real}: copy the file or give it its name")
    return real.parent
