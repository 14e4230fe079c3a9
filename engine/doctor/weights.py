"""Checkpoints with their hashes, and graphs with their verification."""

from pathlib import Path

from engine.digest import file_sha256
from engine.digest_cache import DigestCache
from engine.doctor.finding import Finding, ok, problem, warning
from engine.errors import Dinov3MatchError
from engine.graph_data import require_data_file
from engine.graph_info import GraphInfo
from engine.graph_opening import graph_metadata, graph_suffixes, runtime_for
from engine.graphs import ONNX_SUFFIX
from engine.plugin_registry import Registry
from models.bundled import bundled_graph
from models.catalogue import BACKBONES, BUNDLED_ALIAS, Backbone
from models.find import WEIGHTS_PAGE, checkpoint_candidates, likely_names, misnamed_checkpoints

READ_AT_ONCE_BYTES = 2 << 30
"""A checkpoint of at most this size is read for its hash even without `--full`: some seconds."""
_NAMED = 4
"""How many files a finding names before it only counts the rest."""


def check_weights(weights: Path, graphs: Path | None, named: bool, full: bool) -> list[Finding]:
    """Findings about checkpoints.

    Args:
        weights: `WEIGHTS_ROOT`.
        graphs: `GRAPH_ROOT`, where hashes are remembered; None where it is not known.
        named: whether a person set `WEIGHTS_ROOT`; that the default folder is not there is no problem.
        full: read every file for its hash, also large ones and those remembered.
    """
    if named and not weights.is_dir():
        said = f"{weights} {'is a file' if weights.exists() else 'does not exist'}"
        return [problem("checkpoints", said, "set WEIGHTS_ROOT (WEIGHTS_HOST in .env) to the folder of the .pth files")]
    return [*check_checkpoints(weights, graphs, full), *check_names(weights)]


def check_names(weights: Path) -> list[Finding]:
    """The .pth files that no backbone is looked for in."""
    misnamed = misnamed_checkpoints(weights)
    if not misnamed:
        return []
    shown = ", ".join(_with_likely_name(path) for path in misnamed[:_NAMED])
    rest = f" and {len(misnamed) - _NAMED} more" if len(misnamed) > _NAMED else ""
    return [
        warning(
            "other files",
            f"not named as a backbone's checkpoint, so never used: {shown}{rest}",
            "give a backbone's file back the name that Meta published: 'engine list' prints them",
        )
    ]


def _with_likely_name(path: Path) -> str:
    names = likely_names(path)
    return f"{path.name} ({' or '.join(names)}?)" if names else path.name


def check_checkpoints(weights: Path, graphs: Path | None, full: bool) -> list[Finding]:
    """Which backbones have their checkpoint below `WEIGHTS_ROOT`, with the right hash. Arguments as above."""
    found: dict[str, list[str]] = {}
    findings: list[Finding] = []
    cache = None if graphs is None else DigestCache(graphs)
    for entry in BACKBONES.values():
        if entry.alias == BUNDLED_ALIAS:
            continue
        candidates = checkpoint_candidates(entry, weights)
        if len(candidates) > 1:
            findings.append(
                problem("checkpoint", f"{entry.alias}: several, {_shown(candidates)}", "keep one, move the others away")
            )
        elif candidates:
            state, finding = _hash_state(entry, candidates[0], cache, full)
            found.setdefault(state, []).append(entry.alias)
            findings += [] if finding is None else [finding]
    right = [f"{', '.join(aliases)}: {state}" for state, aliases in found.items() if state]
    if not found and not findings:
        return [
            warning(
                "checkpoints",
                f"none below {weights}",
                f"ask Meta for the .pth files, {WEIGHTS_PAGE} , and set WEIGHTS_ROOT to their folder; without any, the "
                f"bundled {BUNDLED_ALIAS} works",
            )
        ]
    return [*([ok("checkpoints", "; ".join(right))] if right else []), *findings]


def _hash_state(entry: Backbone, path: Path, cache: DigestCache | None, full: bool) -> tuple[str, Finding | None]:
    """In words what the hash says; empty, and a finding, where it is wrong."""
    try:
        known = None if full or cache is None else cache.known(path)
        if known is None and not full and path.stat().st_size > READ_AT_ONCE_BYTES:
            return "hash not read yet (--full reads it)", None
        sha256 = known or (file_sha256(path) if cache is None else cache.sha256(path, fresh=full))
    except OSError as error:
        reason = error.strerror or str(error)
        return "", problem("checkpoint", f"{path} cannot be read: {reason}", "allow reading it")
    if sha256.startswith(entry.sha256_prefix):
        return "hash right", None
    if sha256.startswith(path.stem[-8:].lower()):
        return "own weights, hash as in the name", None
    return "", problem(
        "checkpoint",
        f"{path} has the SHA-256 {sha256[:8]}…, not {entry.sha256_prefix}…: it is truncated or altered",
        "download it again; weights of your own: name them by their own hash",
    )


def check_graphs(graph_root: Path, full: bool, registry: Registry) -> list[Finding]:
    """Which graphs can be used, and whether they were compared with their source.

    Args:
        registry: whose runtimes say which files are graphs.
    """
    suffixes = graph_suffixes(registry)
    paths = sorted(path for path in graph_root.glob("*") if path.suffix in suffixes)
    usable: list[str] = []
    unverified: list[str] = []
    findings: list[Finding] = []
    for path in paths:
        try:
            metadata = graph_metadata(path, runtime_for(path, registry))
            info = GraphInfo.from_metadata(path, metadata)
            require_data_file(path.resolve(), metadata, fresh=full)
            (usable if info.verification else unverified).append(_graph_name(path))
        except (Dinov3MatchError, OSError) as error:
            findings.append(problem("graph", f"{path.name} cannot be used: {error}", "export it again, or remove it"))
    if usable:
        findings.insert(0, ok("graphs", f"verified: {', '.join(usable)}"))
    if unverified:
        findings.append(
            warning("graphs", f"never verified: {', '.join(unverified)}", "compare them with 'engine verify'")
        )
    if not paths:
        findings.append(
            warning(
                "graphs",
                f"none in {graph_root}, so {BUNDLED_ALIAS} is used, which is not one of Meta's networks",
                "make one with 'engine export --weights vitl16'",
            )
        )
    if not bundled_graph().is_file():
        findings.append(problem("bundled graph", f"{bundled_graph()} is missing", "install this program again"))
    return findings


def _graph_name(path: Path) -> str:
    return path.stem if path.suffix == ONNX_SUFFIX else path.name


def _shown(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)
