"""Under which heading of `--help` an option stands. Names mean the same in every command, so one table serves all."""

SECTIONS: dict[str, tuple[str, ...]] = {
    "what to work on": (
        "files",
        "pair",
        "shell",
        "image_a",
        "image_b",
        "pairs",
        "truth",
        "synthetic",
        "images",
        "seed",
        "regex",
        "exts",
        "root",
        "run",
        "all",
        "to",
    ),
    "backbone": (
        "weights",
        "group",
        "all_weights",
        "precision",
        "calibrate",
        "source",
        "hf_token",
        "format",
        "unofficial",
        "runtime",
        "provider",
    ),
    "encoding": ("image_size", "max_features", "rotations", "scales", "decode"),
    "matching": ("matcher", "matcher_options", "match_th", "keypoint_th", "line_th", "match_precision"),
    "geometry": (
        "filter",
        "filter_options",
        "ransac",
        "ransac_method",
        "reproj_th",
        "reproj_unit",
        "confidence",
        "iters",
        "min_inliers",
        "refine",
    ),
    "drawing": (
        "mode",
        "point",
        "max_lines",
        "linewidth",
        "alpha",
        "draw_points",
        "no_points",
        "point_radius",
    ),
    "speed and memory": ("memory", "workers", "batch"),
    "measuring": ("pairs_per_level", "quick", "factors", "no_references"),
    "checking": ("check", "full"),
    "output": (
        "out",
        "tag",
        "save_emb",
        "json_every",
        "min_confidence",
        "both_directions",
        "keypoints_only",
        "cameras",
        "matches",
        "overwrite",
        "details",
        "heat_pairs",
        "pictures",
        "json",
    ),
    "messages and logs": ("verbose", "quiet", "log_file", "json_log", "help"),
}
"""Headings in the order of the page, each with the names of its options' fields."""

COMMON = ("verbose", "quiet", "log_file", "json_log", "help")
"""Options that every command has."""

OTHER = "other options"


def section_of(field: str) -> str:
    """The heading over an option, by the name of its field."""
    return next((title for title, fields in SECTIONS.items() if field in fields), OTHER)


def rank(title: str) -> int:
    """Where a heading stands on the page."""
    titles = [*SECTIONS]
    titles.insert(-1, OTHER)
    return titles.index(title) if title in titles else -1


def place(field: str) -> int:
    """Where an option stands below its heading; those the table does not know come last."""
    fields = next((fields for fields in SECTIONS.values() if field in fields), ())
    return fields.index(field) if field in fields else len(fields)
