"""Readers are found by their modules, and each passes the contract."""

import importlib
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

from kg.ingest import readers
from kg.ingest.readers import all_readers, supported_suffixes
from kg.ingest.readers.base import Reader, unique_column_names
from kg.ingest.source import open_source
from tests.contracts.reader_contract import ReaderContract
from tests.kg.ingest.readers.reading import read_source, write

NEW_READER = """
from kg.ingest.readers.base import Reader
from kg.ingest.rows import TextRow, batches_of_rows
from schema.mapping import Head


class WordsReader(Reader):
    suffixes = (".words",)

    def head(self, file, mapping=None):
        return Head(file.name, (("id",),), named=True)

    def batches(self, file, head, mapping, batch_rows):
        words = file.start(1000).decode().split()
        rows = (TextRow(line, [word]) for line, word in enumerate(words, 1))
        yield from batches_of_rows(rows, ("id",), batch_rows)


READER = WordsReader()
"""


def suites():
    """Return the contract's suites in the test modules beside this one."""
    for path in Path(__file__).parent.glob("test_*.py"):
        importlib.import_module(f"{__package__}.{path.stem}")
    return ReaderContract.__subclasses__()


def test_every_reader_has_a_suite():
    assert {suite.reader for suite in suites()} == set(all_readers())


def test_every_module_with_a_reader_exposes_it():
    for module_info in pkgutil.iter_modules(readers.__path__):
        module = importlib.import_module(f"{readers.__name__}.{module_info.name}")
        classes = [
            each
            for _, each in inspect.getmembers(module, inspect.isclass)
            if each.__module__ == module.__name__
            and issubclass(each, Reader)
            and each is not Reader
        ]
        assert [type(module.READER)] == classes if classes else not hasattr(module, "READER")


def test_every_suffix_has_one_reader():
    suffixes = supported_suffixes()
    assert len(set(suffixes)) == len(suffixes)
    assert all(suffix.startswith(".") and suffix == suffix.lower() for suffix in suffixes)
    for reader in all_readers():
        assert set(reader.ambiguous_suffixes) <= set(reader.suffixes)


def test_a_new_reader_is_one_new_file(tmp_path, monkeypatch):
    write(tmp_path, NEW_READER, "words.py")
    path = write(tmp_path, "a b", "items.words")
    monkeypatch.setattr(readers, "__path__", [*readers.__path__, str(tmp_path)])
    all_readers.cache_clear()
    try:
        assert read_source(path) == ([(1, "a"), (2, "b")], [])
        assert open_source(tmp_path).file.path == path
    finally:
        all_readers.cache_clear()
        sys.modules.pop(f"{readers.__name__}.words")


def test_finding_the_readers_loads_no_parser():
    script = (
        "import json, sys; from kg.ingest.readers import all_readers; all_readers(); "
        "print(json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    expensive = {"duckdb", "pandas", "pyarrow.parquet", "pyoxigraph", "rdflib", "sqlalchemy"}
    assert not expensive & set(json.loads(done.stdout))


@pytest.mark.parametrize(
    ("names", "unique"),
    [
        (["a", "", " a ", "b"], ("a", "column_2", "a_2", "b")),
        (["a", "a", "a_2"], ("a", "a_3", "a_2")),
        (["a", "a_2", "a", "a"], ("a", "a_2", "a_3", "a_4")),
        (["", "column_1"], ("column_1", "column_1_2")),
        ([], ()),
    ],
)
def test_column_names_become_distinct(names, unique):
    assert unique_column_names(names) == unique
