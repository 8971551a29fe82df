"""Sources: a file by its suffix, or the table of a folder."""

import pytest

from kg.ingest.source import open_source
from schema.errors import DataError, SourceNotFoundError
from tests.kg.ingest.readers.reading import write


def test_a_folder_stands_for_its_table(tmp_path):
    write(tmp_path, "id\n1", "items.csv")
    write(tmp_path, "query,item\nx,1", "queries.csv")
    write(tmp_path, "about these files", "readme.txt")
    assert open_source(tmp_path).name == "items.csv"


def test_a_text_file_is_read_if_it_is_named(tmp_path):
    path = write(tmp_path, "id\tt\n1\ta\n", "items.txt")
    assert open_source(path).file.path == path


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("none.csv", SourceNotFoundError, "check the path"),
        ("a.pages", DataError, "suffix '.pages'"),
        ("a.orc", DataError, "suffix"),
    ],
)
def test_what_is_not_a_source_is_an_error_of_one_line(tmp_path, name, error, message):
    if error is DataError:
        write(tmp_path, "x", name)
    with pytest.raises(error, match=message) as caught:
        open_source(tmp_path / name)
    assert "\n" not in str(caught.value)


def test_a_folder_without_a_table_or_with_several_is_an_error(tmp_path):
    with pytest.raises(SourceNotFoundError, match="no table"):
        open_source(tmp_path)
    write(tmp_path, "id", "x.csv")
    write(tmp_path, "id", "y.csv")
    with pytest.raises(DataError, match=r"2 tables \(x.csv, y.csv\)"):
        open_source(tmp_path)
