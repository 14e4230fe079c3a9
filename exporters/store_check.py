"""Figures of a comparison, put into a graph file that is in use."""

import shutil
from pathlib import Path

import onnx

from exporters.aside import folder_aside, publish
from exporters.graph_check import GraphCheck
from exporters.graph_file import append_metadata, drop_last_metadata
from models.contract import KEY_VERIFICATION
from models.errors import WorkError


def store_check(graph: Path, check: GraphCheck) -> str:
    """Replaces a graph by a copy with these figures, in one step; returns what was done, for the user.

    A graph that holds the very same figures is left alone: its SHA-256, which stored feature maps go by, stays.

    Raises:
        WorkError: the copy cannot be written; the graph is as it was.
    """
    wanted = check.to_json()
    entries = {entry.key: entry.value for entry in onnx.load(graph, load_external_data=False).metadata_props}
    if entries.get(KEY_VERIFICATION) == wanted:
        return "the graph holds these figures already"
    with folder_aside(graph) as aside:
        try:
            copy = aside / graph.name
            shutil.copyfile(graph, copy)
            if KEY_VERIFICATION in entries:
                drop_last_metadata(copy, KEY_VERIFICATION, entries[KEY_VERIFICATION])
            append_metadata(copy, {KEY_VERIFICATION: wanted})
            publish(copy, graph)
        except OSError as error:
            raise WorkError(f"the figures could not be stored in {graph}: {error.strerror or error}") from error
    return "the figures were stored in the graph; feature maps are encoded again, as the file is another now"
