"""Ingest large files; measure the peak memory of the whole command, which should not grow.

    python benchmarks/ingest_memory.py [--megabytes 100 1000] [--formats csv jsonl xml] [--store]
        [--out FILE]

A file of made-up products is written for each format and size, ingested into a home of its own by
``catalograph ingest``, and deleted. Without ``--store`` it is a dry run: everything is read,
cleaned and assembled, and nothing written. The peak is the most memory that the command and the
processes it starts had together at any moment; what several of them share counts once for each.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.sax.saxutils import escape

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.process_tree import run_measured
from benchmarks.run_command import ROOT

FORMATS = ("csv", "jsonl", "xml")
BLOCK_PRODUCTS = 5_000
_BLOCK = "\ue000"
"""In the text of a block, the place of its number, which makes ids, titles and values distinct."""
_WORDS = "red blue cotton steel mug lamp large small round outdoor light solid oak glass".split()


@dataclass(frozen=True)
class Measured:
    """One ingest.

    Attributes:
        format: the format of the file
        megabytes: its size
        stored: whether the products were stored, rather than read in a dry run
        rows: the products in it
        seconds: how long the command took
        peak_mb: the most resident memory (RSS) of its processes together
    """

    format: str
    megabytes: int
    stored: bool
    rows: int
    seconds: float
    peak_mb: int


def write_file(path: Path, format: str, megabytes: int) -> None:
    """Write products until the file has so many megabytes."""
    with path.open("wb") as stream:
        for part in _parts(format, megabytes * 1_000_000):
            stream.write(part)


def _parts(format: str, size: int) -> Iterator[bytes]:
    """Yield a file's start, blocks of products until it has so many bytes, and its end."""
    start, product, end = {
        "csv": (_csv_line(tuple(_product(random.Random(0), 0))), _csv_product, ""),
        "jsonl": ("", _json_product, ""),
        "xml": (_XML_START, _xml_product, "</channel></rss>\n"),
    }[format]
    template = _block(product)
    written = 0
    number = 0
    yield start.encode()
    while written < size:
        number += 1
        block = template.replace(_BLOCK, f"{number:05}").encode()
        written += len(block)
        yield block
    yield end.encode()


def _block(write: Callable[[dict[str, str]], str]) -> str:
    rng = random.Random(1)
    return "".join(write(_product(rng, number)) for number in range(BLOCK_PRODUCTS))


def _product(rng: random.Random, number: int) -> dict[str, str]:
    """Return a product in the fields of Google Merchant; its group is one of a few."""
    return {
        "id": f"P{_BLOCK}{number:04}",
        "title": " ".join(rng.choices(_WORDS, k=6)) + f" {_BLOCK}-{number}",
        "description": " ".join(rng.choices(_WORDS, k=60)) + f", model {_BLOCK}",
        "link": f"https://shop.example/p/{_BLOCK}/{number}",
        "image_link": f"https://shop.example/i/{_BLOCK}/{number}.jpg",
        "price": f"{rng.randrange(100, 10_000) / 100:.2f} EUR",
        "availability": rng.choice(("in_stock", "out_of_stock", "preorder")),
        "brand": f"{rng.choice(_WORDS)} & sons".title(),
        "color": rng.choice(("red", "blue", "green", "light grey")),
        "size": rng.choice(("S", "M", "L", "XL")),
        "mpn": f"{rng.randrange(10_000)}-{_BLOCK}",
        "product_type": " > ".join(rng.choices(_WORDS[:6], k=3)),
        "shipping_weight": f"{rng.randrange(1, 90) / 10} kg",
    }


def _csv_line(cells: Sequence[str]) -> str:
    return ",".join(f'"{cell}"' if "," in cell else cell for cell in cells) + "\n"


def _csv_product(product: dict[str, str]) -> str:
    return _csv_line(tuple(product.values()))


def _json_product(product: dict[str, str]) -> str:
    return json.dumps(product, ensure_ascii=False) + "\n"


_XML_START = (
    '<?xml version="1.0"?>\n<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0">'
    "<channel><title>Shop</title>\n"
)


def _xml_product(product: dict[str, str]) -> str:
    fields = "".join(f"<g:{name}>{escape(text)}</g:{name}>" for name, text in product.items())
    return f"<item>{fields}</item>\n"


def ingest(path: Path, home: Path, store: bool) -> tuple[dict[str, int], float, int]:
    """Ingest a file; return the report, the seconds and the peak memory in bytes.

    Raises CalledProcessError if the command fails.
    """
    words = [sys.executable, "cli.py", "--home", str(home), "--json", "ingest", str(path)]
    words += [] if store else ["--dry-run"]
    with tempfile.TemporaryFile() as out:
        taken = run_measured(words, out, ROOT)
        out.seek(0)
        return json.load(out), taken.seconds, taken.peak_bytes


def measure(format: str, megabytes: int, store: bool) -> Measured:
    """Write, ingest and delete one file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"items.{format}"
        write_file(path, format, megabytes)
        report, seconds, peak = ingest(path, Path(folder) / "home", store)
        return Measured(
            format, megabytes, store, report["read"], round(seconds, 1), round(peak / 1e6)
        )


def main() -> None:
    """Measure each format and size, and print and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=int, nargs="+", default=[100, 1000])
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=FORMATS)
    parser.add_argument("--store", action="store_true", help="store the products")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    results = []
    for format in arguments.formats:
        for megabytes in arguments.megabytes:
            results.append(asdict(measure(format, megabytes, arguments.store)))
            print(json.dumps(results[-1]), flush=True)
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
