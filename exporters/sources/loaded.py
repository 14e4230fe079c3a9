"""What every source gives: a network's description, its weights and the source model that graphs are compared with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from exporters.checkpoints import Checkpoint
from models.build import DinoModel
from models.catalogue import Backbone, Pretraining
from models.contract import BILINEAR, SOURCE_BUILTIN

SourceModel = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Normalised float32 image [B, 3, H, W] to patch tokens [B, N, D] in grid order and global descriptors [B, D]."""

Progress = Callable[[str, int, int], None]
"""Called with (stage, done, in all): `hash` and `write` count bytes, `load`, `calibrate` and `verify` steps."""


class Network(Protocol):
    """What is known of a network whatever its source. `models.catalogue.Backbone` is one."""

    @property
    def alias(self) -> str: ...
    @property
    def stride(self) -> int: ...
    @property
    def dim(self) -> int: ...
    @property
    def pretraining(self) -> Pretraining: ...
    @property
    def arch(self) -> object: ...


@dataclass(frozen=True)
class OtherNetwork:
    """A network of another family than DINOv3, known by its outputs.

    Attributes:
        arch: the name of its architecture, for example `dinov2`.
        has_class_token: whether its first token describes the whole image; else the mean of its patches does.
    """

    alias: str
    arch: str
    stride: int
    dim: int
    pretraining: Pretraining
    has_class_token: bool


@dataclass(frozen=True, eq=False)
class LoadedSource:
    """A network with its weights.

    Attributes:
        network: a `Backbone` where `state` is given.
        checkpoint: the file or folder of the weights, and their digest.
        state: tensors under the names of the official checkpoints; None for other networks, which are traced.
        model: what a graph is compared with.
        source: a `models.contract.SOURCES` name.
        model_id: what it is called at its source: a hub entry, a repository or a folder; empty for `builtin`.
        resampling: how photographs are resized for it, one of `models.contract.RESAMPLINGS`.
        notes: lines for the user about how it was loaded.
    """

    network: Network
    checkpoint: Checkpoint
    state: Mapping[str, Tensor] | None
    model: SourceModel | DinoModel
    source: str = SOURCE_BUILTIN
    model_id: str = ""
    notes: tuple[str, ...] = ()
    resampling: str = BILINEAR

    @property
    def backbone(self) -> Backbone:
        """The network as a backbone, with a known architecture.

        Raises:
            TypeError: it is another network.
        """
        if not isinstance(self.network, Backbone):
            raise TypeError(f"{self.network.alias} is no backbone")
        return self.network
