"""Values that nobody has: hide some values from training, and see what is made of them.

    python benchmarks/unknown_values.py --items items.csv --properties articleType,baseColour,brand

``items`` is a CSV file with the columns id and title, and with one of each property; images are
read from a column of that name. Of every named property a tenth of the values are taken out of all
rows. The rest is ingested, experts learn from 90% of the items, and complete

- the cells whose value was taken out: is it the first candidate, where the title says it word for
  word, and how probable is it said to be that the model does not know the value?
- the cells of the held-out items, whose values are known.

The area under the ROC curve is that of the probability of an unknown value, of the former cells
against the latter.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sklearn.metrics import roc_auc_score

from benchmarks.run_command import run

Row = dict[str, str]
Truth = dict[tuple[str, str], str]


def hide(rows: Sequence[Row], properties: Sequence[str], share: float, seed: int) -> Truth:
    """Take a share of each property's values out of the rows; return what was taken."""
    rng = random.Random(seed)
    taken: Truth = {}
    for name in properties:
        values = sorted({row[name] for row in rows if row[name]})
        rng.shuffle(values)
        hidden = set(values[: max(1, round(share * len(values)))])
        for row in rows:
            if row[name] in hidden:
                taken[row["id"], name] = row[name]
                row[name] = ""
    return taken


def unknown_share(line: dict[str, Any]) -> float:
    """Return the probability that a completion gives to values that the model does not know."""
    said = sum(each["probability"] for each in line["candidates"] if each.get("source") == "title")
    return float(line.get("another_value", 0)) + said


def judge(
    name: str, rows: Sequence[Row], taken: Truth, known: Truth, lines: dict[Any, Any]
) -> dict[str, Any]:
    """Return the figures of one property."""
    titles = {row["id"]: row["title"] for row in rows}
    hidden = [(key, value) for key, value in taken.items() if key[1] == name]
    visible = [(key, value) for key, value in known.items() if key[1] == name]
    said = [(key, value) for key, value in hidden if value.casefold() in titles[key[0]].casefold()]
    first = {key: lines[key]["candidates"][0]["value"] for key, _ in (*hidden, *visible)}
    shares = [unknown_share(lines[key]) for key, _ in (*hidden, *visible)]
    return {
        "property": name,
        "hidden": len(hidden),
        "in the title": len(said),
        "exact": round(sum(first[key] == value for key, value in said) / max(len(said), 1), 4),
        "filled": sum(lines[key]["decision"] == "fill" for key, _ in hidden),
        "auroc": round(roc_auc_score([1] * len(hidden) + [0] * len(visible), shares), 4),
        "known": len(visible),
        "known right": round(sum(first[key] == v for key, v in visible) / max(len(visible), 1), 4),
    }


def measure(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Hide, ingest, train and complete in a folder; return the figures by property."""
    with options.items.open(newline="", encoding="utf-8") as file:
        rows: list[Row] = list(csv.DictReader(file))
    properties = options.properties.split(",")
    taken = hide(rows, properties, options.share, options.seed)
    rng = random.Random(options.seed)
    held_out = {row["id"] for row in rows if rng.random() < 0.1}
    known = {
        (row["id"], name): row[name]
        for row in rows
        for name in properties
        if row["id"] in held_out and row[name]
    }
    # Images are named from the folder of the source.
    source = options.items.parent / f".hidden-{options.seed}.csv" if options.beside else None
    source = source or folder / "items.csv"
    try:
        write(source, list(rows[0]), [list(row.values()) for row in rows])
        write(
            folder / "split.csv",
            ["item", "split"],
            [[row["id"], "test" if row["id"] in held_out else "train"] for row in rows],
        )
        write(folder / "cells.csv", ["item", "property"], [list(key) for key in (*taken, *known)])
        home = folder / "home"
        run(home, "ingest", source)
        run(home, "train", "--preset", "experts", "--split", folder / "split.csv")
        run(home, "complete", "--cells", folder / "cells.csv", "--out", folder / "lines.jsonl")
    finally:
        source.unlink(missing_ok=True)
    lines = {}
    for text in (folder / "lines.jsonl").read_text(encoding="utf-8").splitlines():
        line = json.loads(text)
        lines[line["item"], line["property"]] = line
    return [judge(name, rows, taken, known, lines) for name in properties]


def write(path: Path, columns: list[str], rows: Sequence[Sequence[str]]) -> None:
    """Write a CSV file."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def main() -> None:
    """Measure, print a line for each property, and write JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=Path, required=True)
    parser.add_argument("--properties", required=True, help="separated by commas")
    parser.add_argument("--share", type=float, default=0.1, help="of the values to hide")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--beside", action="store_true", help="write a file beside the items, so images are found"
    )
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(options, Path(folder))
    for row in figures:
        print(json.dumps(row))
    if options.out is not None:
        options.out.write_text(json.dumps(figures, indent=1) + "\n")


if __name__ == "__main__":
    main()
