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

    def peak(count):
        path = tmp_path / f"{count}.{format}"
        if not path.exists():
            _write(path, format, count)
        gc.collect()
        tracemalloc.start()
        report = ingest(home, [path], dry_run=True)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert report.stored == count
        return found, path.stat().st_size

    # The first reading imports and caches what the others use.
    peak(300)
    small, large = peak(1_500), peak(6_000)
    most = (large[1] - small[1]) / 4
    if large[0] - small[0] >= most:
        # The lower of two: a thread that an earlier test left may have allocated something.
        small, large = min(small, peak(1_500)), min(large, peak(6_000))
    assert large[0] - small[0] < most
