"""All checks, in the order of the page."""

from collections.abc import Iterator, Mapping
from pathlib import Path

from engine.doctor.finding import Section, Status
from engine.doctor.folders import check_folders
from engine.doctor.gpu import check_gpu
from engine.doctor.libraries import check_libraries, cuda_provider_file
from engine.doctor.packages import check_packages
from engine.doctor.photographs import check_photographs
from engine.doctor.place import check_place, read_roots, read_settings
from engine.doctor.sessions import check_sessions
from engine.doctor.weights import check_weights


def examine(folder: Path, environ: Mapping[str, str], full: bool) -> Iterator[Section]:
    """Sections one by one, as they are ready; nothing is written, but for a file that is removed again at once.

    Args:
        folder: where `.env` is looked for.
        environ: the environment.
        full: read every checkpoint and decode every photograph.
    """
    packages = Section("program", tuple(check_packages()))
    yield packages
    broken = any(entry.name == "ONNX Runtime" and entry.status is Status.PROBLEM for entry in packages.findings)
    hardware = [*check_gpu(cuda_provider_file() is not None), *check_libraries()]
    yield Section("computing", (*hardware, *([] if broken else check_sessions())))
    values, settings = read_settings(folder, environ)
    roots, paths = read_roots(values)
    yield Section("settings", (check_place(), *settings, *paths))
    if roots is None:
        return
    weights_named, images_named = (
        any(values.get(name, "").strip() for name in names)
        for names in (("WEIGHTS_ROOT", "WEIGHTS_HOST"), ("IMG_ROOT", "DATASET_HOST"))
    )
    yield Section("weights", tuple(check_weights(roots, weights_named, full)))
    yield Section("photographs", tuple(check_photographs(roots.images, images_named, full)))
    yield Section("results", tuple(check_folders(roots)))
