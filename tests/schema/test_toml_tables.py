"""Tables of numbers are written as tomli_w writes them, and so is an ontology as a whole."""

import tomllib

import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from schema.ontology import Ontology, PropertySpec
from schema.toml_tables import number_table

NAMES = st.text() | st.text(st.sampled_from('a-_1. "\\\n\r\t\b\f\x1f\x7f\xa0é'))
NUMBERS = st.integers(0, 1 << 62) | st.floats(0, 1)


@given(st.lists(NAMES, min_size=1, max_size=3), st.dictionaries(NAMES, NUMBERS))
def test_a_table_of_numbers(path, numbers):
    document: dict[str, object] = numbers
    for key in reversed(path):
        document = {key: document}
    text = number_table(path, numbers)
    assert text == tomli_w.dumps(document)
    assert tomllib.loads(text) == document


SPECS = st.builds(
    lambda name, counts, shares, others, unit, remark: PropertySpec(
        name,
        unit=unit,
        values=tuple(counts),
        counts=tuple(counts.values()),
        applies_to=shares,
        coverage=0.25,
        spellings=others,
        synonyms=dict(list(others.items())[:1]),
        remark=remark,
        case_sensitive=bool(others),
    ),
    NAMES,
    st.dictionaries(NAMES, st.integers(0, 9)),
    st.dictionaries(NAMES, st.floats(0, 1)),
    st.dictionaries(NAMES, st.lists(NAMES, max_size=2).map(tuple), max_size=2),
    st.sampled_from([None, "cm"]),
    st.sampled_from(["", "decide"]),
)


@given(st.lists(SPECS, max_size=3), st.dictionaries(NAMES, st.integers(0, 9)))
def test_an_ontology_is_written_as_one_document(specs, categories):
    ontology = Ontology(specs, categories=categories)
    assert ontology.to_toml() == tomli_w.dumps(_document(ontology))


def _document(ontology):
    document = {
        "version": 1,
        "threshold": ontology.threshold,
        "categories": ontology.categories,
        "property": {},
    }
    for spec in ontology.properties.values():
        entry = {
            "datatype": spec.datatype,
            "cardinality": spec.cardinality,
            "coverage": spec.coverage,
        }
        entry |= {"unit": spec.unit} if spec.unit else {}
        entry |= {"case_sensitive": True} if spec.case_sensitive else {}
        entry |= {"remark": spec.remark} if spec.remark else {}
        entry["applies_to"] = dict(sorted(spec.applies_to.items()))
        entry["values"] = dict(zip(spec.values, spec.counts, strict=True))
        for table in ("spellings", "synonyms"):
            others = getattr(spec, table)
            if others:
                entry[table] = {shown: list(others[shown]) for shown in sorted(others)}
        document["property"][spec.name] = entry
    return document
