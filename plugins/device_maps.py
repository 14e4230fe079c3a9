"""Feature maps kept on a GPU while blocks of them come and go, each uploaded once per stay. Not a plugin itself."""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine import Device, FeatureMap, OutOfMemory, WorkError, memory_is_short

CPU = "CPUExecutionProvider"
HELD_BYTES = 1 << 29
"""Bytes of tokens that stay on the device; the maps of one block may take more."""
NO_MATCH = -4.0
"""The graphs' mark of a token that only fills a map up to the size of the largest."""


@dataclass(frozen=True, eq=False)
class HeldMaps:
    """Maps on the device.

    Attributes:
        tokens: [P, N, D] float16 there.
        fill: [P, N, 1] float16 there; 0 for a token, `NO_MATCH` for what fills a map up to N.
        at: [M] int64, where in P each of the maps asked for stands.
    """

    tokens: Any
    fill: Any
    at: NDArray[np.int64]


class DeviceMaps:
    """Gives maps on the device; those used last stay there until others need the room."""

    def __init__(self, device: Device) -> None:
        """Opens the graph that joins maps.

        Raises:
            WorkError: the provider did not start.
        """
        self.session = open_session("held_maps", device)
        self._where = where(device)
        self._forget()

    def __call__(self, maps: Sequence[FeatureMap]) -> HeldMaps:
        """The maps, of which the same object may stand in several places.

        Raises:
            OutOfMemory: the device has no room for them.
        """
        distinct = list({id(features): features for features in maps}.values())
        place = self._place()
        if any(id(features) not in place for features in distinct):
            try:
                self._renew(distinct)
            except OutOfMemory:
                self._forget()
                self._renew(distinct)
            place = self._place()
        self._calls += 1
        at = np.array([place[id(features)] for features in maps], np.int64)
        self._last_use[at] = self._calls
        return HeldMaps(self._tokens, self._fill, at)

    def _forget(self) -> None:
        self._tokens: Any = None
        self._fill: Any = None
        # A map that is no longer used by anybody else is not to be kept in memory by its place here.
        self._held: list[weakref.ref[FeatureMap]] = []
        self._lengths: NDArray[np.int64] = np.zeros(0, np.int64)
        self._last_use: NDArray[np.int64] = np.zeros(0, np.int64)
        self._calls = 0

    def _place(self) -> dict[int, int]:
        return {id(features): at for at, held in enumerate(self._held) if (features := held()) is not None}

    def _renew(self, wanted: Sequence[FeatureMap]) -> None:
        """Uploads those of the wanted that are not there; drops what was not used for longest where room is needed."""
        longest, dim = max(1, max(map(len, wanted))), wanted[0].descriptors.shape[1]
        if self._tokens is not None:
            _, rows, columns = self._tokens.shape()
            if longest > rows or dim != columns:
                self._forget()
            else:
                longest = rows
        place = self._place()
        new = [features for features in wanted if id(features) not in place]
        needed = [place[id(features)] for features in wanted if id(features) in place]
        room = max(0, HELD_BYTES // (longest * dim * 2) - len(wanted))
        others = sorted(set(place.values()) - set(needed), key=lambda at: -int(self._last_use[at]))
        kept = np.array(needed + others[:room], np.int64)

        tokens = np.zeros((len(new), longest, dim), np.float16)
        for row, features in enumerate(new):
            tokens[row, : len(features)] = features.descriptors
        lengths = np.concatenate((self._lengths[kept], [len(features) for features in new])).astype(np.int64)
        fill = np.where(np.arange(longest) < lengths[:, None], 0, NO_MATCH).astype(np.float16)
        try:
            uploaded, marks = self._upload(tokens), self._upload(fill[:, :, None])
            self._tokens = uploaded if not len(kept) else self._joined(kept, uploaded)
        except Exception as error:
            raise failure("copying feature maps to the device", error) from error
        self._fill, self._lengths = marks, lengths
        self._held = [self._held[at] for at in kept.tolist()] + [weakref.ref(features) for features in new]
        self._last_use = np.concatenate((self._last_use[kept], np.zeros(len(new), np.int64)))

    def _joined(self, kept: NDArray[np.int64], uploaded: Any) -> Any:
        binding = self.session.io_binding()
        binding.bind_ortvalue_input("held", self._tokens)
        binding.bind_cpu_input("kept", kept)
        binding.bind_ortvalue_input("new", uploaded)
        binding.bind_output("tokens", *self._where)
        self.session.run_with_iobinding(binding)
        return binding.get_outputs()[0]

    def _upload(self, array: NDArray[Any]) -> Any:
        import onnxruntime

        return onnxruntime.OrtValue.ortvalue_from_numpy(array, *self._where)


def open_session(name: str, device: Device) -> Any:
    """A session of one of the matchers' graphs on a device.

    Raises:
        WorkError: the provider did not start.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    path = str(Path(__file__).with_name(f"{name}.onnx"))
    # TF32 units hold float16 values exactly and sum in float32, so that here they only save time.
    chosen: Any = device.provider if device.provider == CPU else (device.provider, {**device.options, "use_tf32": "1"})
    told = f"{device.provider} did not start with the matcher's graph"
    try:
        session = onnxruntime.InferenceSession(path, options, providers=[chosen], enable_fallback=0)
    except Exception as error:
        raise WorkError(f"{told}: {_first_line(error)}") from error
    started = session.get_providers()[0]
    if started != device.provider:
        raise WorkError(f"{told}: ONNX Runtime fell back to {started}")
    return session


def where(device: Device) -> tuple[str, int]:
    """Kind and number of a device, as ONNX Runtime names where values lie."""
    return ("cpu", 0) if device.provider == CPU else ("cuda", device.number)


def failure(what: str, error: Exception) -> WorkError:
    """The error to raise when something failed on the device: `OutOfMemory` where that is the reason."""
    told = f"{what} failed: {_first_line(error)}"
    if memory_is_short(error):
        return OutOfMemory(f"{told}. Choose fewer tokens with --max-features, or --provider cpu")
    return WorkError(told)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
