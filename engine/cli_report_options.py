"""Options of `engine report`."""

from dataclasses import dataclass

from engine.cli_options import option
from engine.cli_types import whole_number


@dataclass(frozen=True)
class ReportOptions:
    """Options of `engine report`."""

    out: str | None = option(
        None, "-o", "--out", type=str, metavar="DIR", help="folder of the report, else EXPORT_ROOT/report"
    )
    root: str | None = option(None, "-r", "--root", type=str, metavar="DIR", help="results, else MATCH_ROOT")
    tag: str | None = option(
        None, "--tag", type=str, metavar="NAME", help="report MATCH_ROOT-NAME, by default to EXPORT_ROOT/report-NAME"
    )
    weights: str | None = option(
        None,
        "-w",
        "--weights",
        type=str,
        metavar="ALIAS",
        help="backbone to report, else that of the newest run",
    )
    run: str | None = option(
        None,
        "--run",
        type=str,
        metavar="NAME",
        help="the run to report, where several are stored, else the newest; its first letters do",
    )
    details: int = option(
        2000,
        "--details",
        type=whole_number(0),
        metavar="N",
        help="pairs with a page of their own, the best; every pair is listed",
    )
    heat_pairs: int = option(
        50,
        "--heat-pairs",
        type=whole_number(0),
        metavar="N",
        help="of these, pairs with a patch-similarity map; feature maps not stored by 'engine match --save-emb' are "
        "made anew with the graph",
    )
    pictures: int = option(
        12,
        "--pictures",
        type=whole_number(0),
        metavar="N",
        help="of these, pairs with their PNG (some megabytes each), drawn now",
    )
