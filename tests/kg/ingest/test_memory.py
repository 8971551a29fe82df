"""Memory stays flat: what an ingest takes does not depend on the size of the source."""

import gc
import json
import tracemalloc
from functools import partial

import pytest

from kg.home import Home
from kg.ingest import row_blocks, source_plan
from kg.ingest.pipeline import ingest
from kg.ingest.readers import delimited, xml_feeds
from kg.ingest.readers.text_blocks import read_blocks


def _product(number):
    return {"id": f"P{number}", "title": f"Mug {number}", "note": "x" * 500, "size": number % 9}


def _write(path, format, count):
    with path.open("w") as file:
        if format == "csv":
            file.write("id,title,note,size\n")
            file.writelines(",".join(map(str, _product(n).values())) + "\n" for n in range(count))
        elif format == "jsonl":
            file.writelines(json.dumps(_product(n)) + "\n" for n in range(count))
        else:
            file.write("<rss><channel>")
            for n in range(count):
                fields = "".join(f"<{k}>{v}</{k}>" for k, v in _product(n).items())
                file.write(f"<item>{fields}</item>")
            file.write("</channel></rss>")


@pytest.mark.parametrize("format", ["csv", "jsonl", "xml"])
def test_a_source_of_four_times_the_size_takes_no_more(tmp_path, monkeypatch, format):
    monkeypatch.setattr(source_plan, "BATCH_STATEMENTS", 2_000)
    monkeypatch.setattr(row_blocks, "BATCH_RECORDS", 500)
    monkeypatch.setattr(delimited, "read_blocks", partial(read_blocks, block_bytes=1 << 17))
    monkeypatch.setattr(xml_feeds, "SEARCHED_BYTES", 1 << 18)
    home = Home(tmp_path / "none")
    peaks = []
    sizes = []
    # The first reading imports and caches what the others use.
    for count in (300, 1_500, 6_000):
        path = tmp_path / f"items.{format}"
        _write(path, format, count)
        sizes.append(path.stat().st_size)
        found = []
        # The lower of two: a thread that an earlier test left may allocate something meanwhile.
        for _ in range(2):
            gc.collect()
            tracemalloc.start()
            report = ingest(home, [path], dry_run=True)
            found.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert report.stored == count
        peaks.append(min(found))
    assert peaks[2] - peaks[1] < (sizes[2] - sizes[1]) / 4
