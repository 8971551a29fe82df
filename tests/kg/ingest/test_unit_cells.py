"""Numbers join the units beside them, also where cells hold several values."""

import pytest

from kg.ingest.unit_cells import CellSigns, UnitFault, join_units


@pytest.mark.parametrize(
    ("text", "unit", "signs", "joined"),
    [
        ("5", "kg", CellSigns(), "5 kg"),
        ("5|6", "kg", CellSigns("|"), "5 kg\x1f6 kg"),
        ("5|6", "kg|g", CellSigns("|"), "5 kg\x1f6 g"),
        ("5\x1f6", "kg", CellSigns(), "5 kg\x1f6 kg"),
        ('"1,5",2', "kg", CellSigns(",", quoted=True), '"1,5 kg",2 kg'),
        ("5|heavy", "kg", CellSigns("|"), "5 kg\x1fheavy"),
        ("heavy|light", "kg", CellSigns("|"), "heavy|light"),
        ("5 kg", "KGM", CellSigns(), "5 kg"),
    ],
)
def test_each_number_of_a_cell_has_its_unit(text, unit, signs, joined):
    cell = join_units(text, unit, signs)
    assert (cell.text, cell.fault) == (joined, None)


def test_units_that_do_not_fit_are_told():
    other = join_units("5 g", "kg", CellSigns())
    assert (other.text, other.fault) == ("5 g", UnitFault.OTHER_UNIT)
    more = join_units("5|6|7", "kg|g", CellSigns("|"))
    assert (more.text, more.fault) == ("5|6|7", UnitFault.OTHER_COUNT)


def test_a_word_for_nothing_gets_no_unit():
    signs = CellSigns("|", missing=frozenset({"0"}))
    assert join_units("0", "kg", signs).text == "0"
    assert signs.split(join_units("5|0|7", "kg", signs).text) == ["5 kg", "0", "7 kg"]
