"""The tests that every reader of a source format must pass; each reader's suite inherits them."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pytest

from kg.ingest.readers.base import Reader
from kg.ingest.rows import Batch
from kg.ingest.source import open_source
from schema.errors import DataError
from schema.mapping import Mapping
from schema.rejects import RejectedRow

COLUMNS = ("id", "title", "note")
CHARACTERS = "abc 0,;|\t\n\"'\\{}[]<>&:é红\u0301\u2028😀"

MadeUpRow = dict[str, str]
"""The cells of a made-up row that are not empty."""


class ReaderContract(ABC):
    """Subclasses name the reader, write files in its format, and know the lines of their rows."""

    reader: ClassVar[Reader]
    file_name: ClassVar[str]
    """The name of the files to write, with a suffix of the reader."""
    broken: ClassVar[bytes]
    """The content of a file that is not in the reader's format."""
    mapping: ClassVar[Mapping] = Mapping("plain", id=("id",))
    id_column: ClassVar[str] = "id"
    keeps_order: ClassVar[bool] = True

    @abstractmethod
    def write(self, path: Path, rows: Sequence[MadeUpRow | None]) -> None:
        """Write rows with the columns COLUMNS; None stands for a row that cannot be read."""

    def lines(self, rows: Sequence[MadeUpRow | None]) -> list[int]:
        """Return the line of each row in the file that ``write`` makes of them."""
        return list(range(1, len(rows) + 1))

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        return tmp_path / self.file_name

    def read(self, path: Path, batch_rows: int = 7) -> list[Batch]:
        source = open_source(path)
        assert source.reader is self.reader
        return list(source.batches(self.mapping, batch_rows))

    def cells(self, batch: Batch) -> list[MadeUpRow]:
        """Return the cells of a batch that are not empty, under the names of COLUMNS."""
        names = ["id" if name == self.id_column else name for name in batch.table.column_names]
        return [
            {name: cell for name, cell in zip(names, row.values(), strict=True) if cell is not None}
            for row in batch.table.to_pylist()
        ]

    @pytest.mark.parametrize("seed", range(4))
    def test_every_row_is_read_or_rejected(self, path, seed):
        rows = made_up_rows(seed)
        self.write(path, rows)
        batches = self.read(path)
        read = [row for batch in batches for row in self.cells(batch)]
        good = [row for row in rows if row is not None]
        rejects = rejects_of(batches)
        assert sum(batch.rows_read for batch in batches) == len(read) + len(rejects) == len(rows)
        if not self.keeps_order:
            read.sort(key=lambda row: int(row["id"]))
        assert read == good

    @pytest.mark.parametrize("seed", range(4))
    def test_rows_and_rejects_have_the_lines_of_the_file(self, path, seed):
        rows = made_up_rows(seed)
        self.write(path, rows)
        batches = self.read(path)
        lines = [line for batch in batches for line in batch.lines.tolist()]
        rejected = [reject.line for reject in rejects_of(batches)]
        expected = self.lines(rows)
        if not self.keeps_order:
            assert sorted([*lines, *rejected]) == expected
            return
        is_good = [row is not None for row in rows]
        assert lines == [line for line, good in zip(expected, is_good, strict=True) if good]
        assert rejected == [line for line, good in zip(expected, is_good, strict=True) if not good]

    def test_a_reject_has_its_file_and_a_reason_of_one_line(self, path):
        self.write(path, [{"id": "0"}, None, {"id": "2"}])
        (reject,) = rejects_of(self.read(path))
        assert reject.file == str(path)
        assert reject.reason
        assert "\n" not in reject.reason

    def test_batches_are_tables_of_text_of_bounded_size(self, path):
        rows = [{"id": str(number), "title": "x"} for number in range(20)]
        self.write(path, rows)
        batches = self.read(path, batch_rows=3)
        assert max(batch.table.num_rows for batch in batches) <= 3
        for batch in batches:
            assert len(batch.lines) == batch.table.num_rows
            assert set(batch.table.schema.types) <= {pa.string()}

    def test_batches_have_the_columns_of_the_source(self, path):
        self.write(path, [{"id": "0", "title": "x", "note": "y"}])
        columns = open_source(path).columns(self.mapping)
        for batch in self.read(path):
            assert set(columns) <= set(batch.table.column_names)

    def test_a_broken_file_is_an_error_of_one_line(self, path):
        path.write_bytes(self.broken)
        with pytest.raises(DataError, match=path.name) as caught:
            self.read(path)
        assert "\n" not in str(caught.value)

    def test_an_empty_file_is_an_error_of_one_line(self, path):
        path.write_bytes(b"")
        with pytest.raises(DataError, match=path.name) as caught:
            self.read(path)
        assert "\n" not in str(caught.value)


def made_up_rows(seed: int) -> list[MadeUpRow | None]:
    """Return rows of awkward text with some bad ones among them."""
    rng = random.Random(seed)
    rows: list[MadeUpRow | None] = []
    for number in range(1, rng.randint(10, 40)):
        if rng.random() < 0.15:
            rows.append(None)
            continue
        row = {"id": str(number)}
        for name in COLUMNS[1:]:
            text = "".join(rng.choices(CHARACTERS, k=rng.randint(0, 8)))
            if text:
                row[name] = text
        rows.append(row)
    return rows


def rejects_of(batches: Sequence[Batch]) -> list[RejectedRow]:
    return [reject for batch in batches for reject in batch.rejects]
