"""What a graph says of itself, read or refused whatever it says."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Ran, write_tiny_graph
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.cli_list import verified_text
from engine.errors import GraphError
from engine.graph_info import GraphInfo
from models import contract

FIGURES = {
    "provider": "CPUExecutionProvider",
    "photographs": 6,
    "emulated": False,
    "outputs": {
        "patch_tokens": {"largest_difference": 0.25, "smallest_cosine": 0.5, "mean_cosine": 0.75},
        "global_descriptor": {"largest_difference": 0.125, "smallest_cosine": 0.9, "mean_cosine": 0.875},
    },
    "matches": {"found": 40, "kept": 30},
}
ENTRIES = {
    contract.KEY_CONTRACT: str(contract.CONTRACT_VERSION),
    contract.KEY_ALIAS: "vits16",
    contract.KEY_PRECISION: "int8",
    contract.KEY_SOURCE: "builtin",
    contract.KEY_STRIDE: "16",
    contract.KEY_DIM: "384",
    contract.KEY_GLOBAL: "class_token",
    contract.KEY_CHECKPOINT_NAME: "a.pth",
    contract.KEY_CHECKPOINT_STATUS: "own",
    contract.KEY_RESAMPLING: "bilinear",
    contract.KEY_VERIFICATION: json.dumps(FIGURES),
    contract.KEY_QUANTISATION: json.dumps({"reduced_range": True, "calibration": {"photographs": 4}}),
}


def test_figures_are_read() -> None:
    info = GraphInfo.from_metadata(Path("g.onnx"), ENTRIES)
    assert info.verification is not None
    assert (info.verification.largest_difference, info.verification.mean_cosine) == (0.25, 0.75)
    assert verified_text(info) == (
        "verified on 6 photographs (CPU, reduced 8-bit range, calibrated on 4 photographs): largest difference 0.25, "
        "mean cosine 0.750000, 75.0% of matches kept"
    )
    without = {key: text for key, text in ENTRIES.items() if key != contract.KEY_VERIFICATION}
    assert verified_text(GraphInfo.from_metadata(Path("g.onnx"), without)) == "never verified"


@pytest.mark.parametrize(
    ("key", "text"),
    [
        (contract.KEY_VERIFICATION, "{"),
        (contract.KEY_VERIFICATION, "[1]"),
        (contract.KEY_VERIFICATION, "null"),
        (contract.KEY_VERIFICATION, '{"outputs": null, "provider": "x"}'),
        (contract.KEY_VERIFICATION, '{"outputs": {}, "provider": "x"}'),
        (contract.KEY_VERIFICATION, '{"outputs": {"a": {}}, "provider": "x"}'),
        (contract.KEY_VERIFICATION, json.dumps(FIGURES | {"matches": [3]})),
        (contract.KEY_VERIFICATION, json.dumps(FIGURES | {"photographs": float("inf")})),
        (contract.KEY_VERIFICATION, "[" * 100_000),
        (contract.KEY_QUANTISATION, "[]"),
        (contract.KEY_QUANTISATION, '{"calibration": 3}'),
        (contract.KEY_CHECKPOINT_STATUS, "weird"),
        (contract.KEY_STRIDE, "0"),
        (contract.KEY_DIM, "many"),
    ],
)
def test_entries_of_another_form_are_refused(key: str, text: str) -> None:
    with pytest.raises(GraphError, match=r"g\.onnx.*export it again"):
        GraphInfo.from_metadata(Path("g.onnx"), ENTRIES | {key: text})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from([*FIGURES, "patch_tokens"]), inner),
    max_leaves=8,
)
FIGURES_ALTERED = st.dictionaries(st.sampled_from(list(FIGURES)), JSON).map(lambda other: json.dumps(FIGURES | other))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.dictionaries(
        st.sampled_from(list(ENTRIES)), st.text() | st.integers().map(str) | JSON.map(json.dumps) | FIGURES_ALTERED
    ),
    st.sets(st.sampled_from(list(ENTRIES))),
)
def test_any_metadata_is_read_or_refused(altered: dict[str, str], absent: set[str]) -> None:
    metadata = {key: text for key, text in (ENTRIES | altered).items() if key not in absent}
    try:
        info = GraphInfo.from_metadata(Path("g.onnx"), metadata)
    except GraphError:
        return
    assert info.stride > 0
    assert verified_text(info)


def test_the_list_names_a_graph_of_another_form(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Ran]
) -> None:
    write_tiny_graph(tmp_path / "g" / "vits16-fp32.onnx", **{contract.KEY_VERIFICATION: "[1]"})
    monkeypatch.setenv("GRAPH_ROOT", str(tmp_path / "g"))
    ran = command("list", "-w", "vits16")
    assert ran.code == 1
    assert "graph: UNUSABLE: the entry dinov3_match.verification of" in ran.out
