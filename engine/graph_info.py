"""What a graph file says of itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine.errors import GraphError
from models import contract


@dataclass(frozen=True)
class GraphInfo:
    """What a graph file says of itself (see `models.contract`).

    Attributes:
        resampling: how photographs are resized for it, one of `models.contract.RESAMPLINGS`.
    """

    path: Path
    alias: str
    precision: str
    source: str
    stride: int
    dim: int
    global_descriptor: str
    checkpoint_name: str
    checkpoint_status: str
    metadata: Mapping[str, str] = field(repr=False)
    resampling: str = contract.BILINEAR

    @classmethod
    def from_metadata(cls, path: Path, metadata: Mapping[str, str]) -> "GraphInfo":
        """Reads the metadata of a graph file.

        Raises:
            GraphError: the file is not a graph of this program, or of a version that it cannot read.
        """
        if contract.KEY_CONTRACT not in metadata:
            raise GraphError(f"{path} is not a graph exported by this program: make one with 'engine export'")
        if metadata[contract.KEY_CONTRACT] != str(contract.CONTRACT_VERSION):
            raise GraphError(
                f"{path} follows graph contract {metadata[contract.KEY_CONTRACT]}; this version reads "
                f"{contract.CONTRACT_VERSION}: export it again with 'engine export'"
            )
        resampling = metadata.get(contract.KEY_RESAMPLING, contract.BILINEAR)
        if resampling not in contract.RESAMPLINGS:
            raise GraphError(
                f"{path} wants photographs resized by {resampling!r}; this version knows "
                f"{', '.join(contract.RESAMPLINGS)}: export it again with 'engine export', or update this program"
            )
        try:
            return cls(
                path=path,
                alias=metadata[contract.KEY_ALIAS],
                precision=metadata[contract.KEY_PRECISION],
                source=metadata[contract.KEY_SOURCE],
                stride=int(metadata[contract.KEY_STRIDE]),
                dim=int(metadata[contract.KEY_DIM]),
                global_descriptor=metadata[contract.KEY_GLOBAL],
                checkpoint_name=metadata[contract.KEY_CHECKPOINT_NAME],
                checkpoint_status=metadata[contract.KEY_CHECKPOINT_STATUS],
                metadata=metadata,
                resampling=resampling,
            )
        except (KeyError, ValueError) as error:
            raise GraphError(
                f"{path} has incomplete metadata ({error}): export it again with 'engine export'"
            ) from error

    @property
    def verification(self) -> dict[str, Any]:
        """Figures of the comparison with the source model, made at export."""
        return dict(json.loads(self.metadata.get(contract.KEY_VERIFICATION, "{}")))
