"""What `engine match` can be told."""

from dataclasses import dataclass

from engine.block_matching import FP32, MATCH_PRECISIONS
from engine.cli_common import decode_option, precision_option, runtime_option
from engine.cli_options import option
from engine.cli_sources import hf_token_option, source_option
from engine.cli_types import memory_size, number, whole_number
from engine.dataset import DEFAULT_EXTS, DEFAULT_REGEX
from engine.pair_lists import ALL
from engine.pair_refinement import NO_REFINEMENT, REFINEMENTS
from engine.search import ROTATION_COUNTS
from engine.verification import REPROJ_UNITS

IMAGE_HELP = "ALT.FRAME, ALT (the whole altitude), ID:ALT.FRAME, ID:ALT, or an image file"


@dataclass(frozen=True)
class MatchOptions:
    """Options of `engine match`."""

    image_a: str | None = option(
        None, "-a", "--image-a", type=str, metavar="IMAGE", help=f"image a: {IMAGE_HELP}; without -a and -b, all pairs"
    )
    image_b: str | None = option(None, "-b", "--image-b", type=str, metavar="IMAGE", help="image b, likewise")
    weights: list[str] = option(
        (),
        "-w",
        "--weights",
        nargs="+",
        type=str,
        metavar="ALIAS",
        help="backbones to run (default: the only exported graph; with none, the bundled one)",
    )
    group: str | None = option(None, "-g", "--group", type=str, metavar="GROUP", help="all backbones of a group")
    all_weights: bool = option(False, "--all-weights", help="all backbones that have a graph or a checkpoint")
    precision: str = precision_option()
    image_size: int = option(
        336, "-i", "--image-size", type=whole_number(16, 16384), help="shorter side of the encoded image, pixels"
    )
    max_features: int = option(
        1000, "-x", "--max-features", type=whole_number(1), help="tokens kept per image; above, an even sample"
    )
    rotations: int = option(
        1,
        "--rotations",
        type=int,
        choices=ROTATION_COUNTS,
        help="rotations of b to search, evenly spread: 12 matches photographs turned by any angle",
    )
    scales: str = option(
        "1",
        "--scales",
        type=str,
        metavar="auto|LIST",
        help="scales of b to search, such as 0.5,2; 1 is always tried; auto adds 1/2 and 2, first the one that the "
        "altitudes suggest; each pair such as 0.5 and 2 takes one more encoding an image",
    )
    refine: str = option(
        NO_REFINEMENT,
        "--refine",
        type=str,
        choices=REFINEMENTS,
        help="softargmax: matches below a patch, from the feature maps alone; dense: also the structure of the aligned "
        "photographs, at full resolution by tiles, to about a pixel; of homography, affine and similarity",
    )
    match_th: float = option(0.1, "-t", "--match-th", type=number(-1, 1), help="smallest similarity of a match")
    keypoint_th: float = option(
        0.015, "-k", "--keypoint-th", type=number(0, 1), help="smallest token norm, min-max scaled within the image"
    )
    line_th: float = option(
        0.2, "-l", "--line-th", type=number(0, 1), help="smallest similarity as a share of the pair's best"
    )
    save_emb: bool = option(False, "-e", "--save-emb", help="store the feature maps below EMBED_ROOT, and reuse them")
    provider: str = option(
        "auto", "--provider", "--device", type=str, help="auto, cuda, cpu or another ONNX Runtime provider"
    )
    runtime: str | None = runtime_option()
    source: str = source_option()
    hf_token: str | None = hf_token_option()
    matcher: str = option("mutual_knn", "--matcher", type=str, help="matcher (see 'engine plugins')")
    matcher_options: list[str] = option(
        (), "-M", "--matcher-option", nargs="+", type=str, metavar="NAME=VALUE", help="an option of the matcher"
    )
    filter: str = option("homography", "--filter", type=str, help="geometric filter (see 'engine plugins')")
    filter_options: list[str] = option(
        (), "-F", "--filter-option", nargs="+", type=str, metavar="NAME=VALUE", help="an option of the filter"
    )
    ransac_method: str | None = option(
        None,
        "--ransac-method",
        type=str,
        help="same as -F ransac_method=NAME (default: cv2_usac_magsac where the filter supports it)",
    )
    reproj_th: float | None = option(
        None,
        "--reproj-th",
        type=number(0),
        help="same as -F reproj_th=N: largest reprojection error of an inlier, pixels (default: 8.0)",
    )
    reproj_unit: str = option(
        "encoded", "--reproj-unit", type=str, choices=REPROJ_UNITS, help="pixels that --reproj-th is meant in"
    )
    confidence: float | None = option(
        None, "--confidence", type=number(0, 1), help="same as -F confidence=P (default: 0.9999)"
    )
    iters: int | None = option(None, "--iters", type=whole_number(1), help="same as -F iters=N (default: 10000)")
    images: str | None = option(
        None, "--images", type=str, metavar="DIR", help="folder of the photographs (default: IMG_ROOT)"
    )
    regex: str | None = option(
        None, "--regex", type=str, help=f"rule of the file names, with these three groups (default: {DEFAULT_REGEX})"
    )
    exts: list[str] = option(
        (), "--exts", nargs="+", type=str, metavar="EXT", help=f"file suffixes (default: {' '.join(DEFAULT_EXTS)})"
    )
    pairs: str = option(
        ALL,
        "--pairs",
        type=str,
        metavar="all|cross-altitude|retrieval:K|sequential:N|FILE",
        help="which pairs: all; of different altitudes; each photograph's K nearest by global descriptor; its N "
        "next by name; or a file of two names a line (hloc's pairs.txt). -a and -b narrow any of them; retrieval "
        "stores feature maps as -e does",
    )
    both_directions: bool = option(
        False, "--both-directions", help="store each pair also from b to a; the matches are the same, turned round"
    )
    min_inliers: int = option(
        0,
        "--min-inliers",
        type=whole_number(0),
        help="a geometry of fewer inliers does not count, and pairs of fewer matches are not verified",
    )
    match_precision: str = option(
        FP32,
        "--match-precision",
        type=str,
        choices=MATCH_PRECISIONS,
        help="int8 finds the candidates with 8-bit products, faster on processors with VNNI; similarities stay exact",
    )
    decode: str = decode_option()
    memory: int | None = option(
        None,
        "--memory",
        type=memory_size,
        metavar="SIZE",
        help="memory for feature maps and matching, such as 4G or 512M (default: half of what is free)",
    )
    workers: int | None = option(
        None,
        "--workers",
        type=whole_number(0, 256),
        help="processes that verify; 0 for none (default: one per core, in runs of 400 pairs or more)",
    )
    min_confidence: float = option(
        0.0,
        "--min-confidence",
        type=number(0, 1),
        metavar="P",
        help="smallest probability of showing one place that a pair gets a JSON file with; one of an earlier run is "
        "removed; the HDF5 results keep all pairs, and a run without the option writes their files again",
    )
    json_every: int | None = option(
        None,
        "--json-every",
        type=whole_number(1),
        help="write every N-th pair's JSON file (default: all, in runs of more than 10000 pairs about 10000); the HDF5 "
        "store always has all",
    )
    tag: str | None = option(
        None, "--tag", type=str, metavar="NAME", help="write to MATCH_ROOT-NAME instead of MATCH_ROOT"
    )
