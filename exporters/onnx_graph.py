"""From a backbone and its weights to a graph ready to be written."""

from collections.abc import Mapping

from torch import Tensor

from exporters.graph_builder import GraphBuilder
from exporters.number_formats import FULL_RANGE
from exporters.onnx_convnext import build_convnext
from exporters.onnx_vit import build_vit
from exporters.precisions import PRECISIONS, Precision
from exporters.source_weights import SourceWeights
from models.catalogue import Backbone, ViTArch


def build_graph(
    backbone: Backbone,
    state: Mapping[str, Tensor],
    precision: Precision = PRECISIONS["fp32"],
    int8_largest: int = FULL_RANGE,
    ranges: Mapping[str, tuple[float, float]] | None = None,
) -> GraphBuilder:
    """The graph of `models.contract` with the weights of a checked state dict; values are read when it is written.

    Args:
        int8_largest: largest absolute value of 8-bit weights.
        ranges: of the values that go into 8-bit products, see `exporters.calibration`.
    """
    graph = GraphBuilder(backbone.alias, precision, int8_largest, ranges)
    source = SourceWeights(state, graph)
    if isinstance(backbone.arch, ViTArch):
        build_vit(graph, source, backbone.arch, backbone.pretraining)
    else:
        build_convnext(graph, source, backbone.arch, backbone.pretraining)
    return graph
