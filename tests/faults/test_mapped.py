"""What is inferred of a home is compared with what the mapping of its table says."""

import pytest

from kg.home import Home
from kg.home_ontology import refresh_ontology
from kg.ingest.pipeline import ingest
from tests.faults.mapped import (
    FORMER_MAPPING,
    FORMER_TABLE,
    MAPPING,
    TABLE,
    misread,
    write_mapped,
)

ITEMS = 40


@pytest.fixture
def home(tmp_path):
    """Return a home with the items of the former table, loaded by the former mapping."""
    write_mapped(tmp_path, ITEMS)
    home = Home.open(tmp_path / "home", create=True)
    ingest(home, [tmp_path / FORMER_TABLE], mapping=str(tmp_path / FORMER_MAPPING))
    return home


def infer(home):
    with home.store() as store:
        refresh_ontology(home, store)
    return misread(str(home.path))


def test_either_mapping_may_hold_until_the_later_table_is_stored(home, tmp_path):
    assert infer(home) == []
    former = home.declared_path.read_bytes()
    ingest(home, [tmp_path / TABLE], mapping=str(tmp_path / MAPPING))
    assert infer(home) == []
    home.declared_path.write_bytes(former)
    (problem,) = infer(home)
    assert "'price': Read(datatype='decimal', decimal_mark='.'" in problem


def test_a_home_that_has_lost_what_mappings_say_is_found(home):
    home.declared_path.unlink()
    assert infer(home)
