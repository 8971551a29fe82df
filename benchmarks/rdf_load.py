"""RDF at size: N-Triples files of products loaded into an RDF store by the command itself, statements a second and peak memory.

    python benchmarks/rdf_load.py [--statements 1000000 10000000] [--own] [--folder DIR]

A product has a type, an address, a name and a category, and ten properties by schema.org's vocabulary, each a statement. With ``--own`` the
file is what `catalograph export --format nt` writes, ranks and provenance included. Each load runs in a process of its own, whose peak
memory should not depend on the file's size.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from kg.stores import rdf_terms as terms
from schema.terms import statement_id

ROOT = Path(__file__).parent.parent
PROPERTIES = 10
VALUES = 5_003
SCHEMA = "https://schema.org/"
OWN = {
    "rank": "asserted",
    "source": "drawn",
    "batch": "b",
    "model": None,
    "confidence": None,
    "evidence": None,
    "reviewer": None,
}


def write_products(path: Path, statements: int) -> None:
    """Products of ten statements each, in schema.org's words."""
    with path.open("w", encoding="utf-8") as stream:
        for item in range(statements // PROPERTIES):
            node = f"<http://shop.example/{item}>"
            stream.write(
                f'{node} {terms.TYPE} {terms.PRODUCT} .\n{node} {terms.NAME} "a thing of kind {item % 977} for the house" .\n'
            )
            stream.write(f'{node} {terms.CATEGORY} "Shop > {item % 100}" .\n')
            stream.writelines(
                f'{node} <{SCHEMA}property{each}> "value {(item * PROPERTIES + each) * 7919 % VALUES}" .\n'
                for each in range(PROPERTIES)
            )


def write_own(path: Path, statements: int) -> None:
    """The same catalogue as Catalograph exports it."""
    with path.open("w", encoding="utf-8") as stream:
        for item in range(statements // PROPERTIES):
            name = f"a thing of kind {item % 977} for the house"
            category = f"Shop > {item % 100}"
            text = terms.item_text(
                {"id": str(item), "title": name, "category": category, "images": []}
            )
            for each in range(PROPERTIES):
                fact = (
                    str(item),
                    f"property{each}",
                    f"value {(item * PROPERTIES + each) * 7919 % VALUES}",
                )
                row = {
                    "id": statement_id(*fact),
                    **dict(zip(("item", "property", "value"), fact, strict=True)),
                    **OWN,
                }
                text += terms.fact_text({**row, "row": item, "time": "2026-01-01T00:00:00+00:00"})
            stream.writelines(f"{line.rpartition(' <')[0]} .\n" for line in text.splitlines())


def load(folder: Path, statements: int, own: bool) -> dict[str, Any]:
    """Write a file, load it in a process of its own, and delete both."""
    path = folder / f"{statements}.nt"
    (write_own if own else write_products)(path, statements)
    store = folder / f"store-{statements}"
    command = [
        sys.executable,
        str(ROOT / "cli.py"),
        "--home",
        str(folder / f"home-{statements}"),
        "--store",
        f"rdf:{store}",
    ]
    began = time.perf_counter()
    child = subprocess.Popen(
        [*command, "--json", "ingest", str(path)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    report = json.loads(child.stdout.read())
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    sizes = {
        "file_mb": path.stat().st_size // 10**6,
        "store_mb": sum(f.stat().st_size for f in store.rglob("*") if f.is_file()) // 10**6,
    }
    path.unlink()
    return {
        "statements": report["new_statements"],
        "items": report["new_items"],
        "seconds": round(seconds, 1),
        "statements_per_second": round(report["new_statements"] / seconds),
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": used.ru_maxrss // 1000,
        **sizes,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--statements", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--own", action="store_true")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where to write, some 3 kB a statement  [default: a temporary folder]",
    )
    args = parser.parse_args()
    rows = []
    for statements in args.statements:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            rows.append(load(Path(folder), statements, args.own))
        print(rows[-1], flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
