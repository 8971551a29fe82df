"""Planted errors: wrong values, exchanged images, slips, spellings; and what is counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

import experts.fitting
from encoders import patch_dictionary
from experts.left_out import LeftOutEnsemble
from fusion.inference.featurizer import ItemInput
from kg.snapshot import GraphSnapshot
from schema.arrays import FloatArray
from schema.modalities import Modality
from schema.ontology import Ontology, PropertySpec
from serving.audit.findings import Finding, Kind, Looked, NotLookedAt, by_gain
from serving.audit.judging import Judged, LeavingOut, Memorising, ValueFindings, judge_cells
from serving.audit.numbers import _Usual, unit_slips
from serving.audit.rules import rule_findings, spelling_findings
from serving.audit.swaps import SwapFinder
from serving.cells import Prediction
from tests.experts.made import COLOURS, ONTOLOGY, labelled, made_items

WRONG = 8


@pytest.fixture(scope="module")
def items() -> list[ItemInput]:
    """Items of which one has a wrong colour."""
    made = made_items(240)
    item = made[WRONG]
    (kind, (_, colour), room) = item.known
    other = next(each for each in COLOURS if each != colour)
    made[WRONG] = replace(item, known=(kind, ("colour", other), room))
    return made


@pytest.fixture(scope="module")
def scorer(items: list[ItemInput]) -> LeftOutEnsemble:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(patch_dictionary, "CENTROIDS", 20)
        patch.setattr(patch_dictionary, "_SAMPLED_PATCHES", 2000)
        # Their images are all alike.
        patch.setattr("experts.left_out.MAX_COPIES", 0)
        fitted = experts.fitting.fit_experts("made", ONTOLOGY, labelled(items))
    return LeftOutEnsemble(fitted.ensemble, fitted.left_out)


def judged(
    judge: LeavingOut | Memorising, items: Sequence[ItemInput], looked: Looked
) -> Iterator[Judged]:
    every = range(len(items))
    for _, cells in judge_cells(judge, items, every, {"kind", "colour", "room"}, looked):
        yield from cells


def test_a_wrong_value_is_found_first_among_items_that_were_learned_from(
    items: list[ItemInput], scorer: LeftOutEnsemble
) -> None:
    looked = Looked()
    values = ValueFindings(scorer)
    found = by_gain(
        [
            finding
            for cell in judged(LeavingOut(scorer), items, looked)
            if items[cell.item].title
            for finding in values.of(items[cell.item].id, cell)
        ]
    )
    first = found[0]
    right = made_items(240)[WRONG].known[1][1]
    assert (first.item, first.property, first.value) == ("I8", "colour", items[WRONG].known[1][1])
    assert first.proposed[0].value == right
    assert first.probability is not None
    assert first.proposed[0].probability is not None
    assert first.gain == pytest.approx(first.proposed[0].probability - first.probability)
    by_part = {each["part"]: each for each in first.evidence}
    assert by_part["title"]["says"] == by_part["image"]["says"] == right
    assert (looked.statements, looked.items) == (720, 240)


def test_what_is_not_looked_at_is_counted(items: list[ItemInput], scorer: LeftOutEnsemble) -> None:
    changed = [
        replace(items[1], title="another"),
        replace(items[2], id="new", known=(("colour", "mauve"), ("ean", "1"), ("room", "hall"))),
    ]
    looked = Looked()
    every = {"kind", "colour", "room", "ean"}
    (_,) = judge_cells(LeavingOut(scorer), changed, [0, 1], every, looked)
    assert looked.not_looked_at == Counter(
        {NotLookedAt.CHANGED: 3, NotLookedAt.UNKNOWN_VALUE: 1, NotLookedAt.NOT_LEARNED: 1}
    )
    assert looked.statements == 1
    looked = Looked()
    list(judged(Memorising(scorer, {"I1"}), items[:3], looked))
    assert looked.not_looked_at == Counter({NotLookedAt.MEMORISED: 3})


def peaked(position: int, size: int) -> FloatArray:
    predicted = np.full(size, 0.1 / (size - 1))
    predicted[position] = 0.9
    return predicted


def test_exchanged_images_and_titles_are_found_with_their_partners(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("serving.audit.swaps.PAIRS_AT_ONCE", 1)
    rng = np.random.default_rng(0)
    specs = [PropertySpec(name, values=tuple("abcde"), counts=(9,) * 5) for name in "pqrstu"]
    ontology = Ontology(specs)
    values = rng.integers(0, 5, (500, 6))
    values[[4, 11]] = (values[[3, 10]] + 1) % 5
    images = values.copy()
    titles = values.copy()
    images[[3, 4]] = images[[4, 3]]
    titles[[10, 11]] = titles[[11, 10]]
    # One wrong value is no exchanged image.
    stored = values.copy()
    stored[20, 0] = (stored[20, 0] + 1) % 5
    finder = SwapFinder(ontology, 500)
    for item in range(500):
        cells = []
        for place, spec in enumerate(specs):
            alone = {
                Modality.TITLE: peaked(titles[item, place], 5),
                Modality.IMAGE: peaked(images[item, place], 5),
            }
            whole = Prediction(alone[Modality.TITLE], np.zeros(()))
            own = (int(stored[item, place]),)
            cells.append(Judged(item, spec.name, own, ("",), whole, "", alone, (False,)))
        finder.add(cells)
    found = {each.item: each for each in finder.find(str)}
    assert {item: each.kind for item, each in found.items()} == {
        "3": Kind.IMAGE,
        "4": Kind.IMAGE,
        "10": Kind.TITLE,
        "11": Kind.TITLE,
    }
    assert found["3"].proposed[0].value == "4"
    assert found["11"].proposed[0].value == "10"
    assert all(each["part"] == "image" for each in found["3"].evidence)
    # Of more that are suspicious, the others are found, without a partner.
    monkeypatch.setattr("serving.audit.swaps.MAX_COMPARED", 1)
    unpaired = {each.item: each for each in finder.find(str)}
    assert unpaired.keys() == found.keys()
    assert not any(each.proposed for each in unpaired.values())


def snapshot_of(rows: Sequence[tuple[str, str]], category: str = "Mugs") -> GraphSnapshot:
    """Return items with one statement each."""
    properties = sorted({name for name, _ in rows})
    values = sorted({value for _, value in rows})
    triples = [
        (item, properties.index(name), values.index(value))
        for item, (name, value) in enumerate(rows)
    ]
    count = len(rows)
    return GraphSnapshot(
        items=[f"I{number}" for number in range(count)],
        titles=["title"] * count,
        categories=[category] * count,
        images=[None] * count,
        properties=properties,
        values=values,
        triples=np.array(triples, np.int64),
        indptr=np.arange(count + 1, dtype=np.int64),
    )


def always(name: str) -> bool:
    return True


def test_numbers_are_as_usual_as_student_says() -> None:
    usual = _Usual(1.5, 0.3)
    found = [usual.density(each) for each in (0.0, 1.2, 1.5, 4.0)]
    expected = student.pdf((np.array([0.0, 1.2, 1.5, 4.0]) - 1.5) / 0.3, 3)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_slips_of_units_are_named() -> None:
    texts = [f"{height} cm" for height in (9, 10, 10, 11, 12, 9, 11, 10, 12, 100, 30)]
    snapshot = snapshot_of([("height", text) for text in texts])
    spec = PropertySpec("height", datatype="quantity", unit="cm")
    found = list(unit_slips(snapshot, Ontology([spec]), range(len(texts)), always))
    (slip,) = [each for each in found if each.item == "I9"]
    assert slip.kind is Kind.UNIT
    assert slip.proposed[0].value == "10 cm"
    assert slip.evidence[0]["slip"] == "10 times too much"
    # Usual numbers are none.
    assert {each.item for each in found} <= {"I9", "I10"}


def test_spellings_and_the_ontology_speak_without_a_model() -> None:
    rows = [("colour", "purple")] * 20 + [("colour", "purpel"), ("colour", "mauve")]
    snapshot = snapshot_of(rows)
    spec = PropertySpec("colour", values=("purple", "purpel"), counts=(20, 1))
    ontology = Ontology([spec])
    (spelling,) = spelling_findings(snapshot, ontology, range(len(rows)), always)
    assert (spelling.item, spelling.proposed[0].value) == ("I20", "purple")
    assert spelling.gain == pytest.approx(20 / 21 - 1 / 21)
    (outside,) = rule_findings(snapshot, ontology, range(len(rows)), always)
    assert (outside.item, outside.kind, outside.gain) == ("I21", Kind.VOCABULARY, None)
    assert by_gain([outside, spelling]) == [spelling, outside]
    assert not list(rule_findings(snapshot, ontology, [0], always))


def test_a_finding_is_a_line() -> None:
    finding = Finding("I1", "colour", "red", 0.1, (), Kind.VALUE, 0.5)
    assert set(finding.as_dict()) == {
        "item", "property", "value", "probability", "proposed", "kind", "gain", "evidence"
    }  # fmt: skip
