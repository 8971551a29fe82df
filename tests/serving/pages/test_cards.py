"""What a proposal's evidence says, in words."""

from serving.pages.cards import told_of


def test_a_part_of_an_audited_item_is_told_in_a_sentence():
    found = [{"part": "title", "says": "wood", "stored": 0.0002, "proposed": 0.9989}]
    assert told_of({"kind": "value", "found": found}) == [
        ("kind", "value"),
        ("title", "says wood: 99.9%, what is stored: 0.0%"),
    ]


def test_other_evidence_is_told_by_its_names():
    evidence = {"found": [{"unit": "kg", "factor": 1000.0}], "title": 0.2, "known": [1]}
    assert told_of(evidence) == [("found", "unit: kg, factor: 1000")]
    odd = {"part": "title", "says": "x", "stored": None, "proposed": 1}
    assert told_of({"found": [odd]}) == [("found", "part: title, says: x, proposed: 1")]
