"""The bundled backbone `vitt16`: its checkpoint and its exported graph, shipped inside the package."""

from pathlib import Path

from models.catalogue import BUNDLED_ALIAS, backbone

FOLDER = Path(__file__).resolve().parent


def bundled_checkpoint() -> Path:
    """The official-format checkpoint of the bundled backbone."""
    return FOLDER / backbone(BUNDLED_ALIAS).checkpoint_name


def bundled_graph() -> Path:
    """The fp32 ONNX graph exported from the bundled checkpoint."""
    return FOLDER / f"{BUNDLED_ALIAS}-fp32.onnx"
