"""The metadata that a graph file carries about itself. Keys: `models.contract`; values are text or JSON."""

import importlib.metadata
import json

import onnx
import torch

from exporters.calibration import Calibration
from exporters.graph_builder import MICROSOFT, OPSET
from exporters.graph_file import WrittenGraph
from exporters.number_formats import FULL_RANGE, Int8Range
from exporters.sources.loaded import LoadedSource, OtherNetwork
from models import contract
from models.catalogue import ViTArch


def describe(
    source: LoadedSource,
    precision: str,
    written: WrittenGraph,
    int8: Int8Range | None = None,
    calibration: Calibration | None = None,
) -> dict[str, str]:
    """Everything known before the graph is verified."""
    network, checkpoint = source.network, source.checkpoint
    entries = {
        contract.KEY_CONTRACT: str(contract.CONTRACT_VERSION),
        contract.KEY_ALIAS: network.alias,
        contract.KEY_PRECISION: precision,
        contract.KEY_SOURCE: source.source,
        contract.KEY_STRIDE: str(network.stride),
        contract.KEY_DIM: str(network.dim),
        contract.KEY_GLOBAL: "class_token" if _has_class_token(source) else "mean_token",
        contract.KEY_CHECKPOINT_NAME: str(checkpoint.path)
        if source.source == contract.SOURCE_HF
        else checkpoint.path.name,
        contract.KEY_CHECKPOINT_SHA256: checkpoint.sha256,
        contract.KEY_CHECKPOINT_STATUS: checkpoint.status.value,
        contract.KEY_RESAMPLING: source.resampling,
        contract.KEY_INPUT: json.dumps(_input_contract(source)),
        contract.KEY_VERSIONS: json.dumps(_versions()),
    }
    if source.model_id:
        entries[contract.KEY_MODEL] = source.model_id
    if source.notes:
        entries[contract.KEY_NOTES] = json.dumps(source.notes)
    if written.data_sha256 is not None:
        entries[contract.KEY_EXTERNAL_SHA256] = written.data_sha256
    if int8 is not None:
        entries[contract.KEY_QUANTISATION] = json.dumps(
            {
                "weights": "int8, symmetric, a scale per output channel",
                "activations": f"uint8, a scale and zero point {'per call' if calibration is None else 'calibrated'}",
                "calibration": calibration and calibration.described(),
                "largest_weight": int8.largest,
                "reduced_range": int8.largest < FULL_RANGE,
                "reason": int8.reason,
            }
        )
    return entries


def _has_class_token(source: LoadedSource) -> bool:
    if isinstance(source.network, OtherNetwork):
        return source.network.has_class_token
    return isinstance(source.network.arch, ViTArch)


def _input_contract(source: LoadedSource) -> dict[str, object]:
    network = source.network
    return {
        "name": contract.INPUT_IMAGE,
        "type": "uint8",
        "layout": "BHWC",
        "colour": "RGB",
        "multiple_of": network.stride,
        "resampling": f"antialiased {source.resampling}",
        "normalisation": "inside the graph",
        "mean": network.pretraining.mean,
        "std": network.pretraining.std,
    }


def _versions() -> dict[str, str]:
    opsets = {"opset": str(OPSET), MICROSOFT: "1"}
    return {"dinov3-match": _own_version(), "torch": torch.__version__, "onnx": onnx.__version__, **opsets}


def _own_version() -> str:
    try:
        return importlib.metadata.version("dinov3-match")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
