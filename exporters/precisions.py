"""The precisions of a graph: which numbers its matrix products work on, and how close it must be to its source.

| precision | weights and inputs of matrix products | everything else |
| --- | --- | --- |
| fp32 | float32 | float32 |
| bf16, fp16 | bfloat16 or float16, summed up by the hardware in float32 | float32 |
| int8 | int8, a scale per output channel; inputs uint8, a scale per call | float32 |

In every precision the patch embedding, norms, rotary tables and rotations, depthwise convolutions, the residual stream
and both outputs are float32: that costs little time and is where narrow numbers do harm.
"""

from dataclasses import dataclass

from onnx import TensorProto

from models.errors import UsageError


@dataclass(frozen=True)
class Bounds:
    """How far a graph may be from its source model.

    Attributes:
        largest_difference: of any output value; None where the precision has no such bound.
        smallest_cosine: of any output token and its counterpart; likewise.
        mean_cosine: the mean of these; likewise.
        matches_kept: the share of mutual matches between photographs that must stay the same; likewise. It is not
            asked of made-up images.
    """

    largest_difference: float | None = None
    smallest_cosine: float | None = None
    mean_cosine: float | None = None
    matches_kept: float | None = None


@dataclass(frozen=True)
class Precision:
    """One precision.

    Attributes:
        half: the `TensorProto.DataType` of matrix products where it is a 16-bit float, else None.
        integer: whether weights are quantised to 8 bits.
        largest_value: the largest finite number of the 16-bit float whose range activations may leave, else None.
    """

    name: str
    bounds: Bounds
    half: int | None = None
    integer: bool = False
    largest_value: float | None = None


PRECISIONS: dict[str, Precision] = {
    precision.name: precision
    for precision in (
        Precision("fp32", Bounds(largest_difference=1e-3, smallest_cosine=0.9999)),
        Precision("bf16", Bounds(smallest_cosine=0.995), half=TensorProto.BFLOAT16),
        Precision("fp16", Bounds(smallest_cosine=0.995), half=TensorProto.FLOAT16, largest_value=65504.0),
        Precision("int8", Bounds(mean_cosine=0.98, matches_kept=0.85), integer=True),
    )
}


def precision_named(name: str) -> Precision:
    """The precision of this name.

    Raises:
        UsageError: no such precision.
    """
    if name not in PRECISIONS:
        raise UsageError(f"no precision is called '{name}'; known: {', '.join(PRECISIONS)}")
    return PRECISIONS[name]
