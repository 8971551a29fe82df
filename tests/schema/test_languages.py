import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.languages import canonical_tag


@pytest.mark.parametrize(
    ("written", "tag"),
    [
        ("de", "de"),
        ("EN", "en"),
        ("de_AT", "de-AT"),
        ("en-us", "en-US"),
        ("zh-hant-tw", "zh-Hant-TW"),
        ("es-419", "es-419"),
        ("de-x-ab", "de-x-ab"),
        (" fr ", "fr"),
    ],
)
def test_tags_are_written_as_usual(written, tag):
    assert canonical_tag(written) == tag


@pytest.mark.parametrize("text", ["", "d", "e n", "de-", "deutschland", "de--AT", "ä", "en" * 20])
def test_what_is_no_tag_is_refused(text):
    with pytest.raises(ValueError, match="no language tag"):
        canonical_tag(text)


@given(st.from_regex(r"[A-Za-z]{2,3}([-_][A-Za-z0-9]{1,8}){0,2}", fullmatch=True))
def test_the_usual_spelling_stays_and_case_makes_no_difference(text):
    tag = canonical_tag(text)
    assert canonical_tag(tag) == tag
    assert canonical_tag(text.upper()) == tag == canonical_tag(text.lower())
