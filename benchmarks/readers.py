"""Read large files of each format; measure megabytes per second and peak memory.

    python benchmarks/readers.py [--megabytes 1000] [--formats json jsonl xml parquet] [--out FILE]

A file is written with products of twelve fields, and read by a process of its own: all batches of
rows, with nothing stored. Its peak memory should not depend on the size of the file.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

FORMATS = ("json", "jsonl", "jsonl.gz", "xml", "parquet")
_READ = """
import resource, sys, time
from kg.ingest.source import open_source
from schema.mapping import Mapping
mapping = Mapping("plain", id=("id",))
started = time.perf_counter()
source = open_source(sys.argv[1])
rows = sum(batch.rows_read for batch in source.batches(mapping, 5000))
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(rows, time.perf_counter() - started, peak / 1024)
"""


def products(seed: int = 0) -> Iterator[dict[str, Any]]:
    """Yield made-up products without end."""
    rng = random.Random(seed)
    words = ["red", "blue", "cotton", "steel", "mug", "lamp", "large", "small", "round", "outdoor"]
    number = 0
    while True:
        number += 1
        yield {
            "id": f"P{number:09}",
            "title": " ".join(rng.choices(words, k=6)),
            "description": " ".join(rng.choices(words, k=40)),
            "price": rng.randrange(100, 10_000) / 100,
            "stock": rng.randrange(100),
            "sizes": rng.sample(["S", "M", "L", "XL"], 2),
            "spec": {f"property{position}": rng.choice(words) for position in range(6)},
        }


def write_file(path: Path, format: str, megabytes: int) -> None:
    """Write products until the file has so many megabytes, before it is compressed."""
    if format == "parquet":
        _write_parquet(path, megabytes)
        return
    size = megabytes * 1_000_000
    opener: Any = gzip.open if format.endswith(".gz") else open
    with opener(path, "wt", encoding="utf-8") as stream:
        if format.startswith("jsonl"):
            _write_parts(stream, (json.dumps(each) + "\n" for each in products()), size)
        elif format == "json":
            stream.write('{"shop": "made up", "products": [{"id": "first"}')
            _write_parts(stream, (f",\n{json.dumps(each)}" for each in products()), size)
            stream.write("]}")
        else:
            stream.write('<rss xmlns:g="http://base.google.com/ns/1.0"><channel>')
            _write_parts(stream, (f"<item>{_xml(each)}</item>\n" for each in products()), size)
            stream.write("</channel></rss>")


def _write_parts(stream: IO[str], parts: Iterator[str], size: int) -> None:
    written = 0
    for part in parts:
        stream.write(part)
        written += len(part)
        if written >= size:
            return


def _xml(members: dict[str, Any]) -> str:
    parts = []
    for name, value in members.items():
        values = value if isinstance(value, list) else [value]
        for each in values:
            inner = _xml(each) if isinstance(each, dict) else each
            parts.append(f"<g:{name}>{inner}</g:{name}>")
    return "".join(parts)


def _write_parquet(path: Path, megabytes: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = products()
    first = pa.Table.from_pylist([next(made) for _ in range(10_000)])
    with pq.ParquetWriter(path, first.schema, compression="none", use_dictionary=False) as writer:
        writer.write_table(first)
        while path.stat().st_size < megabytes * 1_000_000:
            rows = [next(made) for _ in range(10_000)]
            writer.write_table(pa.Table.from_pylist(rows, first.schema))


def read_file(path: Path) -> dict[str, float]:
    """Read a file in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _READ, path], capture_output=True, text=True, check=True, cwd=ROOT
    )
    rows, seconds, peak = done.stdout.split()
    return {"rows": int(rows), "seconds": round(float(seconds), 1), "peak_mb": round(float(peak))}


def main() -> None:
    """Measure each format, and print and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=1000)
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        for format in arguments.formats:
            path = Path(folder) / f"items.{format}"
            started = time.perf_counter()
            write_file(path, format, arguments.megabytes)
            written = time.perf_counter() - started
            figures = read_file(path)
            speed = arguments.megabytes / figures["seconds"]
            results[format] = {**figures, "mb_per_second": round(speed, 1)}
            print(f"{format}: {results[format]} (written in {written:.0f} s)", flush=True)
            path.unlink()
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
