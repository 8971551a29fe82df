"""Dates in any form."""

from __future__ import annotations

from datetime import date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.dates import infer_date_order, parse_date

LAST = date(2024, 12, 31)


@pytest.mark.parametrize(
    "text",
    [
        *["2024-12-31", "2024/12/31", "20241231", "2024-12-31T00:00:00Z", "31.12.2024", "31.12.24"],
        *["31. Dezember 2024", "31 décembre 2024", "31 de diciembre de 2024", "31 grudnia 2024 r."],
        *["December 31, 2024", "Dec 31st, 2024", "31-Dec-2024", "Tue, 31 Dec 2024", "31 dic 2024"],
        *["31 декабря 2024 г.", "2024年12月31日", "2024년 12월 31일", "12/31/2024", "31/12/2024"],
    ],
)
def test_a_date_in_any_form(text: str) -> None:
    assert parse_date(text) == LAST


def test_some_dates_need_an_order() -> None:
    assert parse_date("03/04/2024") is None
    assert parse_date("03/04/2024", "dmy") == date(2024, 4, 3)
    assert parse_date("03/04/2024", "mdy") == date(2024, 3, 4)


def test_times() -> None:
    assert parse_date("31.12.2024 10:05") == datetime(2024, 12, 31, 10, 5)
    assert parse_date("12/31/2024 5:30 PM") == datetime(2024, 12, 31, 17, 30)


@pytest.mark.parametrize(
    "text", ["2024-13-01", "32.12.2024", "99/99/2024", "1.2.3", "Size 5 2024", "2024", "", "May"]
)
def test_other_texts_are_no_dates(text: str) -> None:
    assert parse_date(text) is None


@pytest.mark.parametrize(
    ("texts", "order"),
    [
        (["01/02/2024", "13/02/2024"], "dmy"),
        (["01/02/2024", "02/13/2024"], "mdy"),
        (["01/02/2024"], ""),
        (["2024-01-02"], ""),
        (["13/02/2024", "02/13/2024"], None),
    ],
)
def test_the_dates_of_a_property_decide_their_order(texts: list[str], order: str | None) -> None:
    assert infer_date_order(texts) == order


@given(
    st.dates(date(1970, 1, 1), date(2069, 12, 31)),
    st.sampled_from(["%Y-%m-%d", "%d.%m.%Y", "%d.%m.%y", "%d %B %Y", "%b %d, %Y", "%Y年%m月%d日"]),
)
def test_a_formatted_date_is_itself(day: date, form: str) -> None:
    assert parse_date(day.strftime(form)) == day
    assert parse_date(day.strftime("%d/%m/%Y"), "dmy") == day
    assert parse_date(day.strftime("%m/%d/%Y"), "mdy") == day
