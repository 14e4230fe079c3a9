"""The measured figures of exports: kept in a file, told as a table.

    python benchmarks/export/figures.py

prints the table of `figures.json`, which `measure.py --json` fills, as it stands in the documentation.
"""

import json
from pathlib import Path
from typing import Any

FIGURES = Path(__file__).resolve().parent / "figures.json"

HEADER = (
    "| backbone | precision | seconds | peak anonymous memory (GiB) | size (GB) | largest difference | "
    "smallest cosine | one 336-px image on the CPU: time, peak resident memory |\n"
    "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- |"
)

Row = dict[str, Any]


def table_row(row: Row) -> str:
    """One row of the table."""
    run = row["run"]
    image = "–" if run is None else f"{run['image_seconds']} s, {run['VmHWM'] / 2**30:.1f} GiB"
    return (
        f"| {row['alias']} | {row['precision']} | {row['seconds']:.0f} | {row['RssAnon'] / 2**30:.2f} | "
        f"{row['file_bytes'] / 1e9:.2f} | {row['largest_difference']:.2g} | {row['smallest_cosine']:.6f} | {image} |"
    )


def keep(rows: list[Row], path: Path) -> None:
    """Adds rows to a file, in place of earlier ones of the same backbone and precision."""
    kept = {(row["alias"], row["precision"]): row for row in load(path)}
    kept.update({(row["alias"], row["precision"]): row for row in rows})
    path.write_text(json.dumps(list(kept.values()), indent=1) + "\n", encoding="utf-8")


def load(path: Path = FIGURES) -> list[Row]:
    """The rows of a file; none where it is missing."""
    return list(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else []


def main() -> None:
    print("\n".join([HEADER, *map(table_row, load())]))


if __name__ == "__main__":
    main()
