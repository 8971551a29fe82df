import pytest

from fusion.inference.featurizer import ItemInput
from schema.modalities import CONTENT_MODALITIES, NETWORK_MODALITIES, Modality

MUG = ItemInput(
    "1",
    "a mug",
    "a.jpg",
    (("colour", "red"),),
    description="Holds 30 cl.",
    category=("Home", "Mugs"),
    more_images=("b.jpg",),
)


def test_an_item_lists_its_content():
    assert MUG.content_modalities() == CONTENT_MODALITIES
    assert MUG.content_modalities(NETWORK_MODALITIES) == (Modality.TITLE, Modality.IMAGE)
    assert ItemInput("1", "", None, (("colour", "red"),)).content_modalities() == ()


@pytest.mark.parametrize("modality", list(Modality))
def test_a_modality_can_be_removed(modality):
    without = MUG.without(modality)
    assert {each for each in Modality if without.has(each)} == set(Modality) - {modality}


def test_an_item_without_its_image_has_none_at_all():
    assert MUG.images == ("a.jpg", "b.jpg")
    assert MUG.without(Modality.IMAGE).images == ()


def test_statements_are_not_part_of_the_content():
    assert set(CONTENT_MODALITIES) == set(Modality) - {Modality.STATEMENTS}
