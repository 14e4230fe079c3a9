"""`engine plugins`: what is on offer, with origin and options."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest

import plugins
from engine import cli
from engine.plugin_registry import Registry, load_registry


@pytest.fixture
def registry() -> Registry:
    return load_registry(plugins.BUILTINS, entry_points=False)


def test_everything_is_listed_with_origin_options_and_defaults(command, registry: Registry) -> None:
    ran = command("plugins")
    assert ran.code == 0
    lines = ran.out.splitlines()
    for record in (*registry.matchers.values(), *registry.filters.values(), *registry.runtimes.values()):
        [line] = [line for line in lines if line.startswith(f"  {record.name} ")]
        assert record.help in line
        assert "built in" in line
    for shown in ("k=1", "ratio=0.9", "mutual=true", "reproj_th=8.0", "confidence=0.9999", "iters=10000"):
        assert f"      {shown}  " in ran.out
    assert {"mutual_knn", "ratio_test"} <= set(registry.matchers)
    assert {"homography", "affine", "similarity", "fundamental", "off"} <= set(registry.filters)


def test_a_plugin_that_could_not_be_loaded_is_named(command, registry: Registry, monkeypatch) -> None:
    broken = replace(registry, problems=("dist-of-somebody: no module named 'gone'",))
    monkeypatch.setattr(cli, "load_registry", lambda builtins: broken)
    ran = command("plugins")
    assert ran.code == 1
    assert "not loaded: dist-of-somebody" in ran.out
    ran = command("match", "--exts", "png", "-a", "400.1", "-b", "200.1")
    assert ran.code == 0, "it is skipped"
    assert "plugin not loaded: dist-of-somebody" in ran.err


@pytest.mark.parametrize("name", ["homography", "affine", "similarity", "fundamental"])
def test_every_method_of_every_filter_runs(match, registry: Registry, tmp_path: Path, name: str) -> None:
    installed = importlib.util.find_spec("poselib") is not None
    for method in registry.filters[name].ransac_methods:
        if method.startswith("poselib") and not installed:
            continue
        ran = match("-a", "400.1", "-b", "200.1", "--filter", name, "--ransac-method", method, "--tag", method)
        assert ran.code == 0, ran.err
        assert f"{name} inliers" in ran.out


def test_aliases_are_the_options_of_the_filter(match, tmp_path: Path) -> None:
    long = ("-F", "reproj_th=4", "-F", "confidence=0.99", "iters=500", "ransac_method=cv2_ransac")
    short = ("--reproj-th", "4", "--confidence", "0.99", "--iters", "500", "--ransac-method", "cv2_ransac")
    assert match("-a", "400.1", "-b", "200.1", *long).code == 0
    assert "1 pair(s) already done" in match("-a", "400.1", "-b", "200.1", *short).out
