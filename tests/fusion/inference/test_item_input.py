import pytest

from fusion.inference.featurizer import ItemInput
from schema.modalities import CONTENT_MODALITIES, Modality

MUG = ItemInput("1", "a mug", "a.jpg", (("colour", "red"),))


def test_an_item_lists_its_content():
    assert MUG.content_modalities() == (Modality.TITLE, Modality.IMAGE)
    assert ItemInput("1", "", None, (("colour", "red"),)).content_modalities() == ()


@pytest.mark.parametrize("modality", list(Modality))
def test_a_modality_can_be_removed(modality):
    without = MUG.without(modality)
    assert {each for each in Modality if without.has(each)} == set(Modality) - {modality}


def test_statements_are_not_part_of_the_content():
    assert set(CONTENT_MODALITIES) == set(Modality) - {Modality.STATEMENTS}
