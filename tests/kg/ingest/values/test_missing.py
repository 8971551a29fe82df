"""Words for nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.ingest.values.missing import MAX_WORD, Doubt, doubt_of, is_error_value


@pytest.mark.parametrize(
    "word",
    [
        *[
            "n.a.",
            "N/A",
            "n / a",
            "N. A.",
            "(n/a)",
            "n\\a",
            "k.A.",
            "K. A.",
            "keine Angabe",
            "o. A.",
        ],
        *[
            "#NV",
            "#N/A",
            "#REF!",
            "#DIV/0!",
            "#BEZUG!",
            "#VALEUR!",
            "#¿NOMBRE?",
            "#ССЫЛКА!",
            "#####",
        ],
        *[
            "unknown",
            "UNKNOWN",
            "tbd",
            "T.B.D.",
            "tbc",
            "TBA",
            "not specified",
            "(blank)",
            "[empty]",
        ],
        *[
            "non renseigné",
            "NON RENSEIGNÉ",
            "sin datos",
            "não informado",
            "onbekend",
            "brak danych",
        ],
        *["neuvedeno", "uppgift saknas", "ei tiedossa", "ismeretlen", "άγνωστο", "bilinmiyor"],
        *["нет данных", "НЕ УКАЗАНО", "暂无", "未知", "不明", "未登録", "정보 없음", "غير معروف"],
        *["0000-00-00", "00.00.0000", "00/00/0000", "0000-00-00 00:00:00", "\\N", "<NA>", "<null>"],
        *["Err:502", "１９００-０１-００", "（空）", "(none)", "Ｎ／Ａ"],
    ],
)
def test_certain_words(word):
    assert doubt_of(word) is Doubt.CERTAIN


@pytest.mark.parametrize(
    "word", ["NA", "na", "N A", "NaN", "null", "NULL", "nil", "无", "なし", "нет"]
)
def test_doubtful_words(word):
    assert doubt_of(word) is Doubt.DOUBTFUL


@pytest.mark.parametrize("sign", ["-", "—", "–", "−", "--", "- -", "―", ".", "...", "…", "?", "??"])
def test_signs(sign):
    assert doubt_of(sign) is Doubt.SIGN


@pytest.mark.parametrize("word", ["none", "None", "keine", "not applicable", "aucun", "n.v.t."])
def test_words_that_say_none(word):
    assert doubt_of(word) is Doubt.NONE


@pytest.mark.parametrize(
    "text",
    [
        *[
            "0",
            "00",
            "0.0",
            "red",
            "No",
            "nap",
            "Nano",
            "N",
            "n",
            "todo",
            "black - white",
            "A-",
            "+",
        ],
        *[
            "***",
            "★★★",
            "1/2",
            "2024-01-01",
            "10:00",
            "0.0.0",
            "#1",
            "C#",
            "€",
            "unknown pleasures",
        ],
        *["(red)", "[1]", "日本", "Nana", "Tab", "-5", "M", "", " "],
    ],
)
def test_ordinary_texts(text):
    assert doubt_of(text) is None


@given(st.text(max_size=MAX_WORD))
def test_case_and_space_do_not_matter(text):
    if text.isascii():
        assert doubt_of(text) == doubt_of(f" {text.upper()} ")
    assert doubt_of(text + "x" * MAX_WORD) is None


def test_errors_of_spreadsheets():
    assert is_error_value("#ref!")
    assert is_error_value("########")
    assert not is_error_value("unknown")
