"""Load large N-Triples files into an RDF store; measure statements per second and peak memory.

    python benchmarks/rdf_load.py [--statements 1000000 10000000] [--own] [--folder DIR]

Each product has a type, a name, a category and ten properties in schema.org's vocabulary, and each
property is a statement. With ``--own`` the file is what ``catalograph export --format nt`` writes,
with ranks and provenance. Each file is loaded by the command line in a process of its own, whose
peak memory should not depend on the size of the file.
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
from schema.iris import SCHEMA
from schema.terms import statement_id

ROOT = Path(__file__).parent.parent
PROPERTIES = 10
VALUES = 5_003
PROVENANCE = {
    "rank": "asserted",
    "source": "drawn",
    "batch": "b",
    "model": None,
    "confidence": None,
    "evidence": None,
    "reviewer": None,
    "time": "2026-01-01T00:00:00+00:00",
}


def write_products(path: Path, statements: int) -> None:
    """Write products of ten statements each in schema.org's vocabulary."""
    with path.open("w", encoding="utf-8") as stream:
        for item in range(statements // PROPERTIES):
            node = f"<http://shop.example/{item}>"
            stream.write(f"{node} {terms.TYPE} {terms.PRODUCT} .\n")
            stream.write(f'{node} {terms.NAME} "{_name(item)}" .\n')
            stream.write(f'{node} {terms.CATEGORY} "{_category(item)}" .\n')
            stream.writelines(
                f'{node} <{SCHEMA}property{property}> "{_value(item, property)}" .\n'
                for property in range(PROPERTIES)
            )


def write_own(path: Path, statements: int) -> None:
    """Write the same catalogue as Catalograph exports it."""
    with path.open("w", encoding="utf-8") as stream:
        for item in range(statements // PROPERTIES):
            text = terms.item_nquads(
                {
                    "id": str(item),
                    "title": _name(item),
                    "category": _category(item),
                    "images": [],
                }
            )
            for property in range(PROPERTIES):
                triple = {
                    "item": str(item),
                    "property": f"property{property}",
                    "value": _value(item, property),
                }
                row = {"id": statement_id(**triple), **triple, **PROVENANCE, "row": item}
                text += terms.statement_nquads(row)
            # N-Triples are N-Quads without the graph at the end.
            stream.writelines(f"{line.rpartition(' <')[0]} .\n" for line in text.splitlines())


def _name(item: int) -> str:
    return f"a thing of kind {item % 977} for the house"


def _category(item: int) -> str:
    return f"Shop > {item % 100}"


def _value(item: int, property: int) -> str:
    return f"value {(item * PROPERTIES + property) * 7919 % VALUES}"


def measure_load(folder: Path, statements: int, own: bool) -> dict[str, Any]:
    """Write a file, load it in a process of its own, and return the figures of the load."""
    path = folder / f"{statements}.nt"
    if own:
        write_own(path, statements)
    else:
        write_products(path, statements)
    store = folder / f"store-{statements}"
    home = folder / f"home-{statements}"
    command = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "--store", f"rdf:{store}"]
    began = time.perf_counter()
    process = subprocess.Popen(
        [*command, "--json", "ingest", str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    report = json.loads(process.stdout.read())
    # wait4() gives the resources that this one process has used.
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    store_bytes = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
    file_bytes = path.stat().st_size
    path.unlink()
    return {
        "statements": report["new_statements"],
        "items": report["new_items"],
        "seconds": round(seconds, 1),
        "statements_per_second": round(report["new_statements"] / seconds),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mb": usage.ru_maxrss // 1000,
        "file_mb": file_bytes // 10**6,
        "store_mb": store_bytes // 10**6,
    }


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--statements", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--own", action="store_true", help="load RDF that Catalograph exported")
    parser.add_argument(
        "--folder",
        type=Path,
        help="where to write, about 3 kB per statement  [default: a temporary folder]",
    )
    args = parser.parse_args()
    rows = []
    for statements in args.statements:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            rows.append(measure_load(Path(folder), statements, args.own))
        print(rows[-1], flush=True)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
