"""What a run learns of a catalogue: of very many values, the most frequent ones."""

from __future__ import annotations

from schema.ontology import Ontology, PropertySpec
from training.inputs import share_not_learned, with_frequent_values
from training.records import Record, TrainingWarning

NUMBERS = tuple(f"m{n}" for n in range(200))


def test_of_many_values_the_most_frequent_are_learned() -> None:
    colour = PropertySpec("colour", values=("red", "blue"), counts=(7, 3))
    serial = PropertySpec("serial", "identifier", values=("a", "b", "c"), counts=(1, 1, 1))
    model = PropertySpec(
        "model",
        values=NUMBERS,
        counts=(*[3] * 100, *[1] * 100),
        spellings={"m1": ("M1",), "m150": ("M150",)},
    )
    ontology = Ontology([colour, serial, model], categories={"Tools": 400}, threshold=0.4)
    said: list[Record] = []
    frequent = with_frequent_values(ontology, said.append, most=2)
    assert frequent["colour"] is colour
    assert frequent["serial"] is serial
    assert (frequent["model"].values, frequent["model"].counts) == (("m0", "m1"), (3, 3))
    assert frequent["model"].spellings == {"m1": ("M1",)}
    assert share_not_learned(ontology, frequent) == {"model": 1 - 6 / 400}
    assert frequent.learned() == ["colour", "model"]
    assert (frequent.categories, frequent.threshold) == ({"Tools": 400}, 0.4)
    (warning,) = said
    assert isinstance(warning, TrainingWarning)
    assert "model: the 2 most frequent of its 200 values are learned, which 2%" in warning.text
