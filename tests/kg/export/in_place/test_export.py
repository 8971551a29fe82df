"""Which source is written, and when it cannot be."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from kg.export.in_place.export import _copy, export_source
from kg.export.source_options import SourceExport
from kg.ingest.pipeline import UpdateOptions, ingest
from kg.sources import CONTENT, KeptSources
from schema.errors import DataError, UsageError
from schema.ledger import UNDONE
from tests.kg.export.in_place.conftest import Workplace

TABLE = "id,title,colour\n1,Mug,red\n2,Cup,\n"


def test_a_home_without_sources_says_how_to_go_on(place: Workplace) -> None:
    with pytest.raises(UsageError, match=r"keeps no source.*--template"):
        place.write()


def test_one_of_several_sources_has_to_be_named(place: Workplace) -> None:
    place.load(TABLE)
    place.load(TABLE.replace("1,", "3,").replace("2,", "4,"), "more.csv")
    with pytest.raises(UsageError, match=r"items\.csv, more\.csv.*--source"):
        place.write()
    with pytest.raises(UsageError, match=r"no source 'x'"):
        place.write(SourceExport("x"))
    place.accept([("4", "colour", "blue")])
    assert place.write(SourceExport("items.csv")).text == TABLE
    assert "4,Cup,blue" in place.write(SourceExport("more.csv")).text


def test_the_newest_version_is_written(place: Workplace) -> None:
    place.load(TABLE)
    place.load(TABLE + "3,Jug,\n")
    assert place.write().text == TABLE + "3,Jug,\n"


def test_damage_is_said(place: Workplace) -> None:
    place.load(TABLE)
    (kept,) = KeptSources(place.home.sources).all()
    (kept.folder / CONTENT).write_bytes(b"x")
    with pytest.raises(DataError, match=r"damaged.*--template"):
        place.write()


def test_a_newer_run_that_is_not_kept_is_said(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(f"2026-01-01T00:00:0{second}+00:00" for second in range(9))
    monkeypatch.setattr("schema.ledger.now", lambda: next(times))
    place.load(TABLE)
    first = place.write().text
    place.load(TABLE + "3,Jug,\n")
    kept = KeptSources(place.home.sources)
    newest = kept.all()[0]
    shutil.rmtree(newest.folder)
    with pytest.raises(DataError, match=rf"run {newest.run}\) is not kept.*--template"):
        place.write()
    # The run was taken back, and with it what it had read.
    with place.home.ledger() as ledger:
        ledger.record_ingest(newest.run, UNDONE, [], {})
    assert place.write().text == first


def test_a_newer_file_of_another_name_that_is_not_kept_is_said(
    place: Workplace, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter(f"2026-01-01T00:00:0{second}+00:00" for second in range(9))
    monkeypatch.setattr("schema.ledger.now", lambda: next(times))
    runs = []
    for night in (1, 2):
        path = place.folder / f"feed-{night}.csv"
        path.write_text(TABLE + f"{night + 2},Jug,\n")
        runs.append(ingest(place.home, [path], update=UpdateOptions(source="feed")).run)
    (kept,) = KeptSources(place.home.sources).newest()["feed"]
    shutil.rmtree(kept.folder)
    with pytest.raises(DataError, match=rf"run {runs[1]}\) is not kept"):
        place.write()


def test_files_are_all_written_or_none(place: Workplace) -> None:
    for name, row in (("a", "3,Jug,\n"), ("b", "4,Can,\n")):
        (place.folder / f"{name}.csv").write_text(TABLE.replace("1,", f"{row}1{name},"))
    files = [place.folder / "a.csv", place.folder / "b.csv"]
    ingest(place.home, files, update=UpdateOptions(source="feed"))
    out = place.folder / "out"
    out.mkdir()
    (out / "a.csv").write_text("old")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kg.export.in_place.export._copy", _failing_at_the_second(_copy))
        with pytest.raises(OSError, match="No space"):
            export_source(place.home, out)
    assert (out / "a.csv").read_text() == "old"
    assert len(list(out.iterdir())) == 1
    export_source(place.home, out)
    assert (out / "b.csv").read_bytes() == (place.folder / "b.csv").read_bytes()
    # Only one of the two is left of the newest run.
    kept = KeptSources(place.home.sources)
    shutil.rmtree(kept.newest()["feed"][0].folder)
    with pytest.raises(UsageError, match="keeps no source"):
        export_source(place.home, out)


def _failing_at_the_second(copy: Callable[..., None]) -> Callable[..., None]:
    calls: list[object] = []

    def fail(file: object, path: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        copy(file, path)

    return fail


def test_a_template_is_filled_in_place_of_what_is_kept(place: Workplace, tmp_path: Path) -> None:
    place.load(TABLE)
    place.accept([("2", "colour", "blue")])
    template = tmp_path / "template.csv"
    template.write_text("note;title;id;colour\nx;Cup;2;\ny;Jug;9;\n")
    written = place.write(SourceExport(template=template))
    assert written.text == "note;title;id;colour\nx;Cup;2;blue\ny;Jug;9;\n"
    with pytest.raises(UsageError, match="--template"):
        place.write(SourceExport(mapping="generic"))


def test_forms_that_cannot_be_written_are_named(place: Workplace) -> None:
    xml = "".join(
        f"<item><id>{n}</id><title>Mug {n}</title><colour>red</colour></item>" for n in range(5)
    )
    place.load(f"<items>{xml}</items>", "items.xml")
    with pytest.raises(UsageError, match=r"\.xml file.*JSONL.*--wide"):
        place.write()
    # It is kept all the same.
    assert len(KeptSources(place.home.sources).all()) == 1


def test_the_files_of_a_source_are_written_into_a_folder(place: Workplace) -> None:
    for folder, row in (("a", "3,Jug,\n"), ("b", "4,Can,\n")):
        (place.folder / folder).mkdir()
        (place.folder / folder / "items.csv").write_text(TABLE.replace("1,", f"{row}1{folder},"))
    ingest(place.home, [place.folder / "a" / "items.csv", place.folder / "b" / "items.csv"])
    place.accept([("4", "colour", "blue")])
    out = place.folder / "out"
    report = export_source(place.home, out)
    assert report.files == [str(out / "items.csv"), str(out / "items-2.csv")]
    assert "4,Can,blue" in (out / "items-2.csv").read_text()
    with pytest.raises(UsageError, match="is a file"):
        export_source(place.home, out / "items.csv")


def test_a_member_of_an_archive_is_written_as_a_file(place: Workplace) -> None:
    with zipfile.ZipFile(place.folder / "feed.zip", "w") as archive:
        archive.writestr("items.csv", TABLE)
    ingest(place.home, [place.folder / "feed.zip"])
    assert place.write().text == TABLE


def test_many_batches_are_written_in_their_order(place: Workplace) -> None:
    rows = [f"{n},Mug {n},{'' if n % 3 else 'red'},{n}" for n in range(30_000)]
    table = "\n".join(["id,title,colour,width", *rows]) + "\n"
    place.load(table)
    wanted = [(str(n), "colour", f"blue {n}") for n in range(1, 30_000, 3)]
    place.accept(wanted)
    written = place.write()
    assert written.filled == {"colour": len(wanted)}
    assert "\n29998,Mug 29998,blue 29998,29998\n" in written.text
    undone = written.text
    for n in (1, 14_998, 29_998):
        undone = undone.replace(f",blue {n},", ",,")
    assert undone.count(",blue ") == len(wanted) - 3


def test_a_filled_file_is_ingested_as_what_was_accepted(make: Callable[[], Workplace]) -> None:
    place = make()
    written = place.fill(TABLE, [("2", "colour", "blue")])
    place.load(written.data)
    ranks = {(item, name): rank for item, name, _, rank in place.facts()}
    assert ranks["2", "colour"] in ("asserted", "accepted")
    assert place.write().data == written.data
