"""What is taken from an answer: values of the vocabulary, spans of the text, and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from experts.language_model.answers import CellAnswer, Flaw, checked_answer, read_answers
from experts.language_model.prompt import Entry
from tests.experts.language_model.made import COLOURS, ONTOLOGY

TEXTS = {"title": "Deep Red lamp, 30 cm"}
ENTRIES = {
    "a1": Entry(0, 0, TEXTS, asked={"colour": COLOURS, "height": ("30 cm", "45 cm")}),
    "b2": Entry(1, 1, {"title": "Lantern"}, asked={"colour": COLOURS}),
}


def checked(property: str, **raw: Any) -> tuple[CellAnswer | None, Counter[Flaw]]:
    flaws: Counter[Flaw] = Counter()
    raw = {"confidence": 0.8, "span": None, "reason": None} | raw
    return checked_answer(raw, ONTOLOGY[property], TEXTS, flaws), flaws


@pytest.mark.parametrize(
    ("property", "given", "value"),
    [
        ("colour", "red", "red"),
        ("colour", " RED ", "red"),
        ("height", "30cm", "30 cm"),
        ("height", "0,3 m", "30 cm"),
        ("height", 30, "30 cm"),
        ("height", 45.0, "45 cm"),
        ("dimmable", True, "ja"),
        ("dimmable", "no", "nein"),
    ],
)
def test_values_are_mapped_as_the_ontology_compares_them(
    property: str, given: object, value: str
) -> None:
    answer, flaws = checked(property, value=given)
    assert answer is not None
    assert answer.value == value
    assert answer.open_value is None
    values = ONTOLOGY.values_of(property)
    scores = answer.scores(len(values))
    assert scores is not None
    assert scores.tolist() == pytest.approx([0.8 if each == value else 0 for each in values])
    assert not flaws.total()


def test_a_value_beyond_the_vocabulary_is_open() -> None:
    for property, value in (("colour", "turquoise"), ("height", "52 cm")):
        answer, _ = checked(property, value=value)
        assert answer is not None
        assert answer.open_value == value
        assert answer.scores(3) is None


@pytest.mark.parametrize(
    ("property", "value"),
    [
        ("height", "tall"),
        ("colour", "x" * 201),
        ("colour", "red\nblue"),
        ("colour", "red\x1b[2J"),
        ("colour", ""),
        ("colour", ["red"]),
        ("colour", {"red": 1}),
        ("colour", True),
        ("colour", False),
    ],
)
def test_what_is_no_value_is_counted(property: str, value: object) -> None:
    answer, flaws = checked(property, value=value)
    assert answer is None
    assert flaws == {Flaw.BAD_VALUE: 1}


@pytest.mark.parametrize("confidence", [None, "high", "0.9", -0.1, 1.1, True, float("nan"), [1]])
def test_a_confidence_is_a_probability(confidence: object) -> None:
    answer, flaws = checked("colour", value="red", confidence=confidence)
    assert answer is None
    assert flaws == {Flaw.BAD_CONFIDENCE: 1}


def test_spans_are_verbatim() -> None:
    for span, expected in (("Deep Red", "Deep Red"), ("deep red", None), ("Blue", None), (3, None)):
        answer, flaws = checked("colour", value="red", span=span)
        assert answer is not None
        assert answer.span == expected
        assert flaws[Flaw.SPAN_NOT_FOUND] == (expected is None and isinstance(span, str))


def test_a_reason_is_short_and_printable() -> None:
    answer, _ = checked("colour", value="red", reason="the\nimage \x1b[2J" + "x" * 500)
    assert answer is not None
    assert answer.reason is not None
    assert answer.reason.startswith("the image �[2J")
    assert len(answer.reason) == 160
    assert answer.evidence()["reason"] == answer.reason


def test_not_told_is_an_answer_without_scores() -> None:
    answer, flaws = checked("colour", value=None, confidence="?")
    assert answer == CellAnswer(None, None, 0.0)
    assert answer.scores(3) is None
    assert not flaws.total()


def listed(content: str) -> tuple[dict[tuple[str, str], Any], Counter[Flaw]]:
    flaws: Counter[Flaw] = Counter()
    found = read_answers(content, ENTRIES, flaws)
    return found, +flaws


def good(id: str, name: str, value: object = "red") -> dict[str, object]:
    return {"item": id, "property": name, "value": value, "confidence": 0.5}


def test_an_answer_counts_only_for_what_was_asked() -> None:
    answers = [
        good("a1", "colour"),
        good("a1", "colour", "blue"),
        good("b2", "height"),
        good("c3", "colour"),
        {"item": 7, "property": "colour"},
        {"item": "a1", "property": ["colour"]},
        "red",
    ]
    found, flaws = listed(json.dumps({"answers": answers}))
    assert list(found) == [("a1", "colour")]
    assert found["a1", "colour"]["value"] == "red"
    assert flaws == {
        Flaw.REPEATED: 1,
        Flaw.NOT_ASKED: 2,
        Flaw.UNKNOWN_ITEM: 2,
        Flaw.NO_ANSWERS: 1,
        Flaw.OMITTED: 2,
    }


@pytest.mark.parametrize("wrapped", ["{}", "```json\n{}\n```", "<think>red? {}</think>\n{}"])
def test_json_is_found_in_what_models_put_around_it(wrapped: str) -> None:
    document = json.dumps({"answers": [good("b2", "colour")]})
    found, _ = listed(wrapped.replace("{}", document))
    assert list(found) == [("b2", "colour")]


@pytest.mark.parametrize(
    ("content", "flaw"),
    [
        ("", Flaw.NO_JSON),
        ("I think it is red.", Flaw.NO_JSON),
        ('{"answers": [{"item": "a1", "prop', Flaw.NO_JSON),
        ('{"answers": [], "answers": []}', Flaw.NO_JSON),
        ("[" * 100_000, Flaw.NO_JSON),
        ("[]", Flaw.NO_ANSWERS),
        ('{"answers": {"a1": "red"}}', Flaw.NO_ANSWERS),
        ('{"value": "red"}', Flaw.NO_ANSWERS),
    ],
)
def test_garbage_is_counted(content: str, flaw: Flaw) -> None:
    found, flaws = listed(content)
    assert not found
    assert flaws[flaw] == 1


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda each: (
        st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=5), each, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "item": st.sampled_from(["a1", "b2", "zz"]) | ANYTHING,
                "property": st.sampled_from(["colour", "height", "kind"]) | ANYTHING,
                "value": st.sampled_from(["red", "45 cm", 30, "x"]) | ANYTHING,
                "confidence": st.floats() | ANYTHING,
                "span": ANYTHING,
                "reason": ANYTHING,
            },
        )
        | ANYTHING,
        max_size=6,
    )
)
def test_whatever_is_answered_only_what_fits_comes_out(answers: list[Any]) -> None:
    found, _ = listed(json.dumps({"answers": answers}))
    for (id, name), raw in found.items():
        assert name in ENTRIES[id].asked
        answer = checked_answer(raw, ONTOLOGY[name], TEXTS, Counter())
        if answer is None or answer.value is None:
            continue
        assert 0 <= answer.confidence <= 1
        assert answer.position == ONTOLOGY[name].position(answer.value)
        assert "\n" not in answer.value
        assert answer.span is None or answer.span in TEXTS["title"]
