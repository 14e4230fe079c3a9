"""Safetensors files, mapped read-only: names and shapes first, values when they are used.

Format (https://huggingface.co/docs/safetensors): eight bytes little-endian, the length of a JSON header; the header,
name to dtype, shape and offsets; then the values. Nothing in such a file can be code.
"""

import json
import math
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from exporters.checkpoints import CheckpointError

_LENGTH_BYTES = 8
_HEADER_LIMIT_BYTES = 100_000_000
_TYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, as views of it.

    Raises:
        CheckpointError: the file cannot be read, is no safetensors file or a cut one, or holds other types than floats.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            (length,) = struct.unpack("<Q", file.read(_LENGTH_BYTES))
            if length > min(_HEADER_LIMIT_BYTES, size):
                raise ValueError("its header is longer than the file")
            header: Any = json.loads(file.read(length))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # that it is not writable; nothing here writes to it
            content = torch.from_numpy(np.memmap(path, mode="r"))
        return {
            name: _view(name, entry, content, _LENGTH_BYTES + length)
            for name, entry in header.items()
            if name != "__metadata__"
        }
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        raise CheckpointError(f"{path} is not a whole safetensors file ({error}). Download it again") from error


def _view(name: str, entry: Mapping[str, Any], content: Tensor, start: int) -> Tensor:
    first, last = (start + int(offset) for offset in entry["data_offsets"])
    shape = [int(side) for side in entry["shape"]]
    dtype = _TYPES.get(entry["dtype"])
    if dtype is None:
        raise ValueError(f"'{name}' holds {entry['dtype']} values, not floats")
    if not start <= first <= last <= len(content) or last - first != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"it ends within '{name}'")
    values = content[first:last]
    # A view needs an offset that is a multiple of the value's size; writers align, but need not.
    aligned = values if first % dtype.itemsize == 0 else values.clone()
    return aligned.view(dtype).reshape(shape)
