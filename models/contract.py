"""What a graph file promises: names of inputs and outputs, and the keys of its metadata. Standard library only.

Graph: input `image` uint8 [B, H, W, 3] RGB, H and W multiples of the stride; outputs `patch_tokens` float32 [B, N, D]
in row-major grid order and `global_descriptor` float32 [B, D], both as the final norm gives them (not L2-normalised).
"""

from enum import StrEnum

INPUT_IMAGE = "image"
OUTPUT_PATCH_TOKENS = "patch_tokens"
OUTPUT_GLOBAL_DESCRIPTOR = "global_descriptor"

SOURCE_BUILTIN, SOURCE_HUB, SOURCE_HF = "builtin", "hub", "hf"
SOURCES = (SOURCE_BUILTIN, SOURCE_HUB, SOURCE_HF)
"""Where a graph's weights and source model came from: our own definition with an official checkpoint, a clone of the
original code with one, or Hugging Face."""

BILINEAR, BICUBIC, LANCZOS = "bilinear", "bicubic", "lanczos"
RESAMPLINGS = (BILINEAR, BICUBIC, LANCZOS)
"""How photographs are resized for a graph, antialiased in every case."""

METADATA_PREFIX = "dinov3_match."
"""All metadata keys of a graph file begin with this."""

CONTRACT_VERSION = 1
"""Raised when a graph of an earlier version can no longer be read."""

KEY_CONTRACT = METADATA_PREFIX + "contract"
KEY_ALIAS = METADATA_PREFIX + "alias"
KEY_PRECISION = METADATA_PREFIX + "precision"
KEY_SOURCE = METADATA_PREFIX + "source"
KEY_MODEL = METADATA_PREFIX + "model"
"""What the network is called at its source: a hub entry, a repository or a folder. Absent for `builtin`."""
KEY_NOTES = METADATA_PREFIX + "notes"
"""JSON list: what was changed or is worth knowing about how the source was loaded."""
KEY_STRIDE = METADATA_PREFIX + "stride"
KEY_DIM = METADATA_PREFIX + "dim"
KEY_GLOBAL = METADATA_PREFIX + "global_descriptor"
KEY_CHECKPOINT_NAME = METADATA_PREFIX + "checkpoint_name"
KEY_CHECKPOINT_SHA256 = METADATA_PREFIX + "checkpoint_sha256"
KEY_CHECKPOINT_STATUS = METADATA_PREFIX + "checkpoint_status"
KEY_RESAMPLING = METADATA_PREFIX + "resampling"
"""One of `RESAMPLINGS`. Absent in graphs of earlier versions: bilinear."""
KEY_INPUT = METADATA_PREFIX + "input"
KEY_VERIFICATION = METADATA_PREFIX + "verification"
KEY_VERSIONS = METADATA_PREFIX + "versions"
KEY_EXTERNAL_SHA256 = METADATA_PREFIX + "external_data_sha256"
KEY_QUANTISATION = METADATA_PREFIX + "quantisation"
"""Of int8 graphs: how values were quantised, and whether the range was reduced for processors without VNNI."""


class CheckpointStatus(StrEnum):
    """What the SHA-256 of a file says about it."""

    OFFICIAL = "official"
    """It begins with the catalogue's hash: Meta's published file."""
    OWN = "own"
    """It begins with the hash in the file's own name: fine-tuned or test weights, whole."""
    MISMATCH = "mismatch"
    """Neither: truncated or altered."""
    UNLISTED = "unlisted"
    """Of a source that publishes no hash to compare with, as Hugging Face."""
