"""The matchers' graphs: those kept in the repository are those that the exporter builds."""

import numpy as np
import onnx
import onnxruntime
import pytest

from exporters import matcher_graph


@pytest.mark.parametrize("name", matcher_graph.GRAPHS)
def test_the_files_kept_are_those_that_are_built(name: str) -> None:
    kept = onnx.load(matcher_graph.FOLDER / f"{name}.onnx")
    assert kept == matcher_graph.GRAPHS[name](), "run 'python -m exporters.matcher_graph'"


def test_products_are_those_of_numpy() -> None:
    rng = np.random.default_rng(0)

    def run(name: str, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        session = onnxruntime.InferenceSession(matcher_graph.GRAPHS[name]().SerializeToString())
        return session.run(None, {"a": a, "b": b})[0]

    a, b = rng.normal(size=(7, 40)).astype(np.float32), rng.normal(size=(9, 40)).astype(np.float32)
    np.testing.assert_allclose(run("product_fp32", a, b), a @ b.T, atol=1e-5)
    left, right = rng.integers(65, 192, (7, 40)).astype(np.uint8), rng.integers(-63, 64, (40, 9)).astype(np.int8)
    expected = (left.astype(np.int32) - 128) @ right.astype(np.int32)
    assert np.array_equal(run("product_int8", left, right), expected)
