"""Checkpoints with their hashes, and graphs with their verification."""

from pathlib import Path

from engine.digest_cache import DigestCache
from engine.doctor.finding import Finding, ok, problem, warning
from engine.errors import Dinov3MatchError
from engine.graph_data import require_data_file
from engine.graph_info import GraphInfo
from engine.graph_metadata import read_metadata
from engine.settings import Roots
from models.bundled import bundled_graph
from models.catalogue import BACKBONES, BUNDLED_ALIAS, Backbone
from models.find import checkpoint_candidates

READ_AT_ONCE_BYTES = 2 << 30
"""A checkpoint of at most this size is read for its hash even without `--full`: some seconds."""


def check_weights(roots: Roots, named: bool, full: bool) -> list[Finding]:
    """Findings about checkpoints and graphs.

    Args:
        named: whether a person set `WEIGHTS_ROOT`; that the default folder is not there is no problem.
        full: read every file for its hash, also large ones and those remembered.
    """
    if named and not roots.weights.is_dir():
        said = f"{roots.weights} {'is a file' if roots.weights.exists() else 'does not exist'}"
        missing = problem(
            "checkpoints", said, "set WEIGHTS_ROOT (WEIGHTS_HOST in .env) to the folder of the .pth files"
        )
        return [missing, *check_graphs(roots.graphs, full)]
    return [*check_checkpoints(roots, full), *check_graphs(roots.graphs, full)]


def check_checkpoints(roots: Roots, full: bool) -> list[Finding]:
    """Which backbones have their checkpoint below `WEIGHTS_ROOT`, with the right hash."""
    found: dict[str, list[str]] = {}
    findings: list[Finding] = []
    cache = DigestCache(roots.graphs)
    for entry in BACKBONES.values():
        if entry.alias == BUNDLED_ALIAS:
            continue
        candidates = checkpoint_candidates(entry, roots.weights)
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
                f"none below {roots.weights}",
                "set WEIGHTS_ROOT to the folder of Meta's .pth files; without any, the bundled vitt16 works",
            )
        ]
    return [*([ok("checkpoints", "; ".join(right))] if right else []), *findings]


def _hash_state(entry: Backbone, path: Path, cache: DigestCache, full: bool) -> tuple[str, Finding | None]:
    """In words what the hash says; empty, and a finding, where it is wrong."""
    try:
        known = None if full else cache.known(path)
        if known is None and not full and path.stat().st_size > READ_AT_ONCE_BYTES:
            return "hash not read yet (--full reads it)", None
        sha256 = known or cache.sha256(path, fresh=full)
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


def check_graphs(graph_root: Path, full: bool) -> list[Finding]:
    """Which graphs can be used, and whether they were compared with their source."""
    paths = sorted(graph_root.glob("*.onnx")) if graph_root.is_dir() else []
    usable: list[str] = []
    unverified: list[str] = []
    findings: list[Finding] = []
    for path in paths:
        try:
            metadata = read_metadata(path)
            info = GraphInfo.from_metadata(path, metadata)
            require_data_file(path.resolve(), metadata, fresh=full)
            (usable if info.verification else unverified).append(path.stem)
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


def _shown(paths: list[Path]) -> str:
    return ", ".join(str(path) for path in paths)
