"""What a graph file says of itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import GraphError
from engine.graph_figures import StoredCheck, StoredQuantisation, stored_check, stored_quantisation
from models import contract


@dataclass(frozen=True)
class GraphInfo:
    """What a graph file says of itself (see `models.contract`).

    Attributes:
        resampling: how photographs are resized for it, one of `models.contract.RESAMPLINGS`.
        verification: its comparison with the source model; None where it was never compared.
    """

    path: Path
    alias: str
    precision: str
    source: str
    stride: int
    dim: int
    global_descriptor: str
    checkpoint_name: str
    checkpoint_status: contract.CheckpointStatus
    metadata: Mapping[str, str] = field(repr=False)
    resampling: str = contract.BILINEAR
    verification: StoredCheck | None = None
    quantisation: StoredQuantisation = field(default_factory=StoredQuantisation)

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
                stride=_positive(metadata[contract.KEY_STRIDE]),
                dim=_positive(metadata[contract.KEY_DIM]),
                global_descriptor=metadata[contract.KEY_GLOBAL],
                checkpoint_name=metadata[contract.KEY_CHECKPOINT_NAME],
                checkpoint_status=contract.CheckpointStatus(metadata[contract.KEY_CHECKPOINT_STATUS]),
                metadata=metadata,
                resampling=resampling,
                verification=stored_check(path, metadata),
                quantisation=stored_quantisation(path, metadata),
            )
        except (KeyError, ValueError) as error:
            raise GraphError(
                f"{path} has incomplete or altered metadata ({error}): export it again with 'engine export'"
            ) from error


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError(f"{number} in place of a positive number")
    return number
