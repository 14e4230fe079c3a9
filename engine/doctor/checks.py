"""All checks, in the order of the page."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from engine.doctor.finding import Finding, Section, Status, problem, warning
from engine.doctor.folders import check_folders
from engine.doctor.gpu import check_gpu
from engine.doctor.libraries import check_libraries, cuda_provider_file
from engine.doctor.packages import check_packages
from engine.doctor.photographs import check_photographs
from engine.doctor.place import check_place, read_roots, read_settings
from engine.doctor.sessions import check_sessions
from engine.doctor.weights import check_graphs, check_weights
from engine.errors import Dinov3MatchError
from engine.plugin_registry import Registry


def examine(
    folder: Path, environ: Mapping[str, str], full: bool, load_plugins: Callable[[], Registry]
) -> Iterator[Section]:
    """Sections one by one, as they are ready; nothing is written, but for a file that is removed again at once.

    Args:
        folder: where `.env` is looked for.
        environ: the environment.
        full: read every checkpoint and decode every photograph.
        load_plugins: loads the built-in plugins and those of installed packages.
    """
    registry, plugins = check_plugins(load_plugins)
    packages = Section("program", (*check_packages(), *plugins))
    yield packages
    broken = any(entry.name == "ONNX Runtime" and entry.status is Status.PROBLEM for entry in packages.findings)
    hardware = [*check_gpu(cuda_provider_file() is not None), *check_libraries()]
    yield Section("computing", (*hardware, *([] if broken else check_sessions())))
    values, settings = read_settings(folder, environ)
    roots, paths = read_roots(values)
    yield Section("settings", (check_place(), *settings, *paths))
    weights_named, images_named = (
        any(values.get(name, "").strip() for name in names)
        for names in (("WEIGHTS_ROOT", "WEIGHTS_HOST"), ("IMG_ROOT", "DATASET_HOST"))
    )
    # A folder whose path is wrong is told of above, and does not keep the others from being looked at.
    weights, graphs, images = (roots.get(name) for name in ("weights", "graphs", "images"))
    checkpoints = [] if weights is None else check_weights(weights, graphs, weights_named, full)
    exported = [] if graphs is None or not registry.runtimes else check_graphs(graphs, full, registry)
    yield Section("weights", (*checkpoints, *exported))
    if images is not None:
        yield Section("photographs", tuple(check_photographs(images, images_named, full)))
    yield Section("results", tuple(check_folders(roots)))


def check_plugins(load: Callable[[], Registry]) -> tuple[Registry, list[Finding]]:
    """The plugins, and those that cannot be used; without any where even built-in ones cannot be loaded."""
    try:
        registry = load()
    except (Dinov3MatchError, ImportError) as error:
        return Registry(), [problem("plugins", str(error), "mend what is named here, then ask again")]
    return registry, [warning("plugins", str(entry), "mend or uninstall that package") for entry in registry.problems]
