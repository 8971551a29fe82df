import pytest

from fusion.inference.featurizer import ItemInput
from schema.modalities import CONTENT_MODALITIES, Modality

MUG = ItemInput("1", "a mug", "a.jpg", (("colour", "red"),))


def test_an_item_lists_its_modalities():
    assert MUG.modalities() == tuple(Modality)
    assert ItemInput("1", "", None, (("colour", "red"),)).modalities() == (Modality.STATEMENTS,)


@pytest.mark.parametrize("modality", list(Modality))
def test_a_modality_can_be_removed(modality):
    without = MUG.without(modality)
    assert not without.has(modality)
    assert set(without.modalities()) == set(Modality) - {modality}


def test_statements_are_not_part_of_the_content():
    assert set(CONTENT_MODALITIES) == set(Modality) - {Modality.STATEMENTS}
