"""Options of `engine evaluate`: those of `engine match` and more."""

from dataclasses import dataclass

from engine.cli_match_options import MatchOptions
from engine.cli_options import option
from engine.cli_types import whole_number


@dataclass(frozen=True)
class EvaluateOptions(MatchOptions):
    """Options of `engine evaluate`: those of `engine match`, which are what is measured, and its own."""

    truth: str | None = option(
        None, "--truth", type=str, metavar="FILE", help="JSON file of pairs with their homographies a to b"
    )
    synthetic: str | None = option(
        None,
        "--synthetic",
        type=str,
        metavar="DIR",
        help="make pairs of known geometry from the pictures of this folder (at least 1,000 px a side)",
    )
    json: str | None = option(None, "--json", type=str, metavar="FILE", help="write all figures to this file")
    out: str | None = option(
        None, "-o", "--out", type=str, metavar="DIR", help="results, pairs and curves (default: EXPORT_ROOT/evaluation)"
    )
    pairs_per_level: int = option(
        6, "--pairs-per-level", type=whole_number(1, 1000), help="synthetic pairs at each level of a factor"
    )
    quick: bool = option(False, "--quick", help="fewer levels and two pairs at each: a first look, in a minute or two")
    factors: list[str] = option(
        (), "--factors", nargs="+", type=str, metavar="NAME", help="only these factors (default: all)"
    )
    seed: int = option(1, "--seed", type=whole_number(0), help="another number makes other synthetic pairs")
    no_references: bool = option(False, "--no-references", help="leave out SIFT, ORB and the earlier procedure")
