"""JSON records: members are added in the form that others of their property have."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.export.in_place.json_text import JsonEdit, edited, edited_text, number_of
from kg.ingest.json_stream import record_decoder
from tests.kg.export.in_place.conftest import NOBODY, Workplace

LINES = (
    '{"id": "1", "title": "Mug", "colour": "red", "width": 8.50, "tags": ["a", "b"]}\n'
    '{"id":"2","title":"Cup","colour":null}\n'
    "\n"
    '{"id": "3", "title": "Jug", "tags": [], "size": "n/a"}\r\n'
    '{"id": "4", "title": "Can", "size": "L", "ok": true}'
)


def test_a_line_s_own_style_and_the_type_of_others_are_kept(place: Workplace) -> None:
    facts = [
        ("2", "colour", "blue"),
        ("2", "width", "9.10"),
        ("3", "tags", "c"),
        ("3", "size", "M"),
    ]
    facts += [("2", "ok", "true"), ("4", "colour", "größe 红")]
    written = place.fill(LINES, facts, "items.jsonl")
    lines = written.text.split("\n")
    assert lines[0] == LINES.split("\n")[0]
    assert lines[1] == '{"id":"2","title":"Cup","colour":"blue","ok":true,"width":9.10}'
    assert lines[3] == '{"id": "3", "title": "Jug", "tags": ["c"], "size": "M"}\r'
    assert lines[4] == (
        '{"id": "4", "title": "Can", "size": "L", "ok": true, "colour": "größe 红"}'
    )
    assert written.kept == {}


def test_nothing_else_changes(place: Workplace) -> None:
    mark = b"\xef\xbb\xbf"
    data = mark + ("[\n" + LINES.replace("}\n", "},\n") + "\n]\n").encode()
    assert place.fill(data, [NOBODY], "items.jsonl").data == data


def test_a_property_of_no_record_gets_a_member_of_its_name(place: Workplace) -> None:
    facts = [("1", "material", "clay"), ("2", "weight", "3 kg"), ("2", "weight", "4 kg")]
    written = place.fill(LINES, facts, "items.jsonl")
    records = [json.loads(line) for line in written.text.splitlines() if line]
    assert records[0]["material"] == "clay"
    assert records[1]["weight"] == ["3 kg", "4 kg"]
    assert written.filled == {"material": 1, "weight": 2}


def test_names_and_values_in_a_list_get_one_more(place: Workplace) -> None:
    def record(id: str, **properties: str) -> dict[str, Any]:
        attributes = [{"name": name, "value": value} for name, value in properties.items()]
        return {"id": id, "title": f"Thing {id}", "attributes": attributes}

    records = [record("1", Colour="red", Size="M"), record("2", Colour="blue"), record("3")]
    data = "".join(json.dumps(each) + "\n" for each in records)
    written = place.fill(data, [("2", "Size", "S"), ("3", "Form", "round")], "items.jsonl")
    second, third = (json.loads(line) for line in written.text.splitlines()[1:])
    assert second == record("2", Colour="blue", Size="S")
    assert third == record("3", Form="round")


def test_a_quantity_is_written_as_others_are(place: Workplace) -> None:
    data = (
        '{"id": "1", "title": "Mug", "weight": {"value": 300, "unit": "g"}}\n'
        '{"id": "2", "title": "Cup"}\n{"id": "3", "title": "Jug"}\n'
    )
    facts = [("2", "weight", "250 g"), ("3", "weight", "2 kg")]
    written = place.fill(data, facts, "items.jsonl")
    lines = [json.loads(line) for line in written.text.splitlines()]
    assert lines[1]["weight"] == {"value": 250, "unit": "g"}
    # Another unit is not that of the example.
    assert lines[2]["weight"] == "2 kg"


def test_a_member_within_an_object_is_added_there(place: Workplace) -> None:
    data = (
        '{"id": "1", "title": "Mug", "details": {"origin": "DE", "glaze": "matt"}}\n'
        '{"id": "2", "title": "Cup", "details": {"origin": "FR"}}\n{"id": "3", "title": "Jug"}\n'
    )
    place.load(data, "items.jsonl")
    (property,) = {name for _, name, value, _ in place.facts() if value == "matt"}
    place.accept([("2", property, "clear"), ("3", property, "clear")])
    lines = place.write().text.splitlines()
    assert lines[1] == '{"id": "2", "title": "Cup", "details": {"origin": "FR", "glaze": "clear"}}'
    assert json.loads(lines[2])["details"] == {"glaze": "clear"}


DOCUMENT = """{
  "shop": "Ünder",
  "products": [
    {
      "id": 1,
      "title": "Mug",
      "colour": "red"
    }, {"id": 2, "title": "Cup"},
    {
      "id": 3,
      "title": "Jug"
    }
  ],
  "next": null
}
"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le"])
def test_a_document_keeps_its_lines_and_all_around_the_records(
    place: Workplace, encoding: str
) -> None:
    facts = [("2", "colour", "blue"), ("3", "colour", "grün")]
    written = place.fill(DOCUMENT.encode(encoding), facts, "items.json")
    expected = DOCUMENT.replace('"Cup"}', '"Cup", "colour": "blue"}').replace(
        '"title": "Jug"\n', '"title": "Jug",\n      "colour": "grün"\n'
    )
    assert written.data == expected.encode(encoding)


def test_records_under_their_names_keep_them(place: Workplace) -> None:
    data = (
        '{"a1": {"title": "Mug", "colour": "red", "size": "S"},\n '
        '"a2": {"title": "Cup", "size": "M"}}'
    )
    place.load(data, "items.json")
    items = {item for item, _, _, _ in place.facts()}
    assert items == {"a1", "a2"}
    place.accept([("a2", "colour", "blue")])
    assert place.write().text == data.replace('"size": "M"', '"size": "M", "colour": "blue"')


def test_lines_in_utf_16_are_written_so(place: Workplace) -> None:
    data = '{"id": "1", "title": "Mug", "colour": "red"}\n{"id": "2", "title": "Cup"}\n'
    written = place.fill(data.encode("utf-16"), [("2", "colour", "grün")], "items.jsonl")
    assert written.data == data.replace('"Cup"', '"Cup", "colour": "grün"').encode("utf-16")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text('ab"\\é\n', max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(
    value=st.dictionaries(st.text("abc", max_size=2), JSON, max_size=4),
    path=st.lists(st.text("abc", max_size=2), min_size=1, max_size=3),
    new=JSON,
    appended=st.booleans(),
    indent=st.sampled_from([None, 1]),
    ascii_only=st.booleans(),
    tight=st.booleans(),
)
def test_a_text_and_its_value_are_edited_alike(
    value: dict[str, Any],
    path: list[str],
    new: Any,
    appended: bool,
    indent: int | None,
    ascii_only: bool,
    tight: bool,
) -> None:
    separators = (",", ":") if tight else None
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_only, separators=separators)
    edit = JsonEdit(tuple(path), new, appended)
    changed = edited_text(f" {text}\n", [edit])
    assert record_decoder().decode(changed) == edited(json.loads(text), [edit])
    # An object of another name stays where it was, character by character.
    assert changed.startswith(" {")
    assert changed.endswith("\n")


def test_only_numbers_that_json_knows_are_numbers() -> None:
    for text in ("1", "-1.50", "0.5"):
        assert number_of(text) is not None
    for text in ("01", "1,5", "+1", "1.", "NaN", "1e5", ""):
        assert number_of(text) is None
