"""The template does what it says, as a package's own module too."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest

from engine import FeatureMap
from engine.plugin_options import parse_options
from engine.plugin_registry import load_registry
from plugins import BUILTINS

TEMPLATE_FILE = Path(__file__).parents[2] / "plugins" / "TEMPLATE.py"


def as_map(descriptors: list[list[float]]) -> FeatureMap:
    count = len(descriptors)
    index = np.arange(count, dtype=np.int32)
    tokens = np.array(descriptors, np.float16)
    return FeatureMap(
        "m", tokens, np.ones(count, np.float32), index, np.ones(2, np.float32), (1, count), (9, 9), (9, 9)
    )


def test_a_copy_in_a_package_is_found_and_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = TEMPLATE_FILE.read_text("utf-8")
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "__init__.py").write_text("", "utf-8")
    (tmp_path / "my_package" / "my_module.py").write_text(source, "utf-8")
    info = tmp_path / "my_package-0.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-package\nVersion: 0.1\n", "utf-8")
    # The lines of the template's docstring, in the form that installers write them.
    assert '[project.entry-points.dinov3_match]\n    my_plugin = "my_package.my_module"' in source
    (info / "entry_points.txt").write_text("[dinov3_match]\nmy_plugin = my_package.my_module\n", "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    try:
        registry = load_registry(BUILTINS)
        assert registry.problems == ()
        assert registry.origin(registry.matcher("nearest")) == "my-package 0.1"
        assert registry.origin(registry.filter("shift")) == "my-package 0.1"
    finally:
        for name in ("my_package", "my_package.my_module"):
            sys.modules.pop(name, None)


def test_the_templates_matcher_and_its_option() -> None:
    template = importlib.import_module("plugins.TEMPLATE")
    [record] = template.engine_matchers()
    a, b = as_map([[1, 0], [0.6, 0.8], [-1, 0]]), as_map([[0, 1], [1, 0]])
    found = record.factory()(a, b, record.options())
    assert (found.index_a.tolist(), found.index_b.tolist()) == ([0, 1], [1, 0])
    np.testing.assert_allclose(found.similarity, [1.0, 0.8], atol=1e-3)
    strict = parse_options(record.options, ["min_similarity=0.9"], "-M")
    assert record.factory()(a, b, strict).index_a.tolist() == [0]


def test_the_templates_filter_and_its_option() -> None:
    template = importlib.import_module("plugins.TEMPLATE")
    [record] = template.engine_filters()
    a = np.arange(10.0).reshape(5, 2)
    b = a + np.array([3.0, -1.0])
    b[4] += 5.0
    loose, strict = (record.factory()(a, b, parse_options(record.options, [f"reproj_th={th}"], "-F")) for th in (8, 4))
    np.testing.assert_allclose(strict.matrix, [[1, 0, 3], [0, 1, -1], [0, 0, 1]])
    assert loose.inliers.tolist() == [True] * 5
    assert strict.inliers.tolist() == [True] * 4 + [False]


def test_the_template_stays_short_enough_to_copy() -> None:
    assert len(TEMPLATE_FILE.read_text("utf-8").splitlines()) < 80
