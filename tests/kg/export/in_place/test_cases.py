"""Files as people have them: written again without a change, and with all that their items lack."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kg.ingest.files import SourceFile
from kg.sources import KeptSources
from schema.errors import CatalographError
from schema.mapping import VARIANT_OF
from tests.kg.export.in_place.conftest import NOBODY, Workplace
from tests.real_data import DATA

CASES = DATA.parent / "cases" / "ingest"
FORMS = (".csv", ".tsv", ".txt", ".jsonl", ".json", ".xlsx")
FILES = sorted(
    path
    for path in (CASES.iterdir() if CASES.is_dir() else ())
    if path.is_file() and SourceFile.of(path).suffix in FORMS
)
REJECTING = ("07", "20-", "25", "26b", "31", "56", "57")
"""Cases that are refused, or of which rows are rejected."""

needs_cases = pytest.mark.skipif(not FILES, reason="the cases are not at hand")


def loaded(place: Workplace, path: Path) -> bytes:
    """Load a case; return its bytes, unpacked. Skips those that are not stored whole."""
    try:
        place.load(path.read_bytes(), path.name)
    except CatalographError:
        assert path.name.startswith(REJECTING)
        pytest.skip("refused")
    (kept,) = KeptSources(place.home.sources).all()
    with kept.file.open() as stream:
        data = stream.read()
    with SourceFile.of(path).open() as stream:
        assert stream.read() == data
    return data


@needs_cases
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_case_is_written_as_it_was(place: Workplace, path: Path) -> None:
    data = loaded(place, path)
    assert place.write().data == data
    # Something is accepted, so that every row is read and written.
    place.accept([NOBODY])
    assert place.write().data == data


@needs_cases
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_case_is_filled_with_what_its_items_lack(
    make: Callable[[], Workplace], path: Path
) -> None:
    place = make()
    loaded(place, path)
    facts = [row for batch in place.graph.scan() for row in batch.to_pylist()]
    items = [row["id"] for batch in place.graph.items() for row in batch.to_pylist()]
    values: dict[str, str] = {}
    stated = set()
    for row in facts:
        stated.add((row["item"], row["property"]))
        if row["language"] is None and row["property"] != VARIANT_OF:
            values.setdefault(row["property"], row["value"])
    wanted = [
        (item, property, value)
        for property, value in values.items()
        for item in items
        if (item, property) not in stated
    ]
    if not wanted:
        pytest.skip("its items lack nothing")
    place.accept(wanted)
    written = place.write()
    report = written.report.filled
    assert report.filled.total() + report.kept.total() + report.already == len(wanted)
    other = make()
    name = path.name.removesuffix(".gz").removesuffix(".zst")
    other.load(written.data, name)
    own = {(row["item"], row["property"], row["value"]) for row in facts if row["evidence"] is None}
    after = {(item, property, value) for item, property, value, _ in other.facts()}
    assert own <= after
    # Whatever is new is what was wanted, or is inherited of it; a text may say it in another way.
    assert len(after & set(wanted)) >= report.filled.total()
