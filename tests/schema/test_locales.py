"""The decimal mark and the order of dates of a locale."""

import pytest

from schema.locales import Locale, find_locale


@pytest.mark.parametrize(
    ("tag", "mark", "order"),
    [
        ("de-DE", ",", "dmy"),
        ("de_DE.UTF-8", ",", "dmy"),
        ("de", ",", "dmy"),
        ("de-CH", ".", "dmy"),
        ("en-US", ".", "mdy"),
        ("en-GB", ".", "dmy"),
        ("en", ".", None),
        ("en-CA", ".", None),
        ("fr-FR", ",", "dmy"),
        ("fr-CA", ",", None),
        ("es-ES", ",", "dmy"),
        ("es-MX", ".", "dmy"),
        ("sr-Latn-RS", ",", "dmy"),
        ("ja-JP", ".", None),
    ],
)
def test_a_locale_says_how_numbers_and_dates_are_written(tag, mark, order):
    assert find_locale(tag) == Locale(mark, order)


@pytest.mark.parametrize("tag", ["", "german", "xx-YY", "de DE", "1,5", "q" * 99])
def test_what_is_no_locale_is_refused(tag):
    with pytest.raises(ValueError, match="no known locale"):
        find_locale(tag)
