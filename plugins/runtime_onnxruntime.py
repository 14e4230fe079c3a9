"""Runtime `onnxruntime`: graphs in ONNX form, on the CPU or whatever the installed ONNX Runtime drives."""

from collections.abc import Callable

from engine import Runtime, RuntimeRecord, hookimpl


def _factory() -> Callable[..., Runtime]:
    from engine.runtime import open_graph

    return open_graph


@hookimpl
def engine_runtimes() -> list[RuntimeRecord]:
    """The runtime of this module."""
    return [
        RuntimeRecord(name="onnxruntime", help="ONNX Runtime, on CPU or GPU", suffixes=(".onnx",), factory=_factory)
    ]
