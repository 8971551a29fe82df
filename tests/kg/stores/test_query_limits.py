"""Limits of queries: which there can be, and how they are written."""

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg.stores.query_limits import (
    Deadline,
    QueryLimits,
    checked_timeout,
    parse_size,
    size_text,
    within_limits,
)
from schema.errors import QueryLimitError, QueryTimeoutError, UsageError


def endless():
    while True:
        yield ["some text"]


def no_rows():
    yield from ()


@pytest.mark.parametrize("seconds", [0, -1, math.nan, math.inf, -math.inf, 86_401])
def test_impossible_time_limits_are_refused(seconds):
    with pytest.raises(UsageError, match=r"more than 0 and at most 86,400 s") as caught:
        checked_timeout(seconds)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", [1e-3, 1, 30.0, 86_400])
def test_other_time_limits_are_taken(seconds):
    assert checked_timeout(seconds) == seconds


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"rows": 0}, "0 rows"),
        ({"answer_bytes": -5}, "-5 bytes"),
        ({"memory_bytes": 1_000_000}, "1 MB of memory is too low .* 256 MB or more"),
    ],
)
def test_impossible_limits_are_refused(limits, message):
    with pytest.raises(UsageError, match=message):
        QueryLimits(**limits)


@pytest.mark.parametrize(
    ("text", "size"),
    [("64MB", 64_000_000), ("2 GB", 2 * 10**9), ("1.5kb", 1500), ("10", 10), (" 7 B ", 7)],
)
def test_sizes_are_read(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["9" * 400, "1.1 TB", "2000 GB", "99999999TB"])
def test_sizes_that_no_machine_has_are_refused(text):
    with pytest.raises(UsageError, match="at most 1 TB") as caught:
        parse_size(text)
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1e9", "nan", "1 XB", "1,5 GB", "inf"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(UsageError, match="such as 512MB"):
        parse_size(text)


@given(st.integers(0, 10**12))
def test_text_of_a_size_is_nearly_that_size(size):
    assert parse_size(size_text(size)) == pytest.approx(size, rel=1e-5)


def test_rows_beyond_a_limit_are_not_read():
    limits = QueryLimits(rows=5)
    rows = within_limits(endless(), Deadline.after(10), limits)
    with pytest.raises(QueryLimitError, match="more than 5 rows: add LIMIT"):
        list(rows)


def test_answer_beyond_its_size_is_not_read():
    limits = QueryLimits(answer_bytes=1000)
    with pytest.raises(QueryLimitError, match="larger than 1 KB"):
        list(within_limits(endless(), Deadline.after(10), limits))


def test_rows_are_not_read_after_the_deadline():
    rows = within_limits(endless(), Deadline.after(0.05), QueryLimits(10**9, 10**12))
    with pytest.raises(QueryTimeoutError, match=r"limit of 0\.05 s"):
        for _ in rows:
            pass


def test_work_is_run_and_its_error_raised():
    deadline = Deadline.after(10)
    assert deadline.run(lambda: "done") == "done"
    with pytest.raises(QueryLimitError, match="more than 5"):
        deadline.run(lambda: list(within_limits(endless(), deadline, QueryLimits(5))))


def test_work_that_waits_for_ever_is_not_waited_for():
    began = time.monotonic()
    with pytest.raises(QueryTimeoutError, match=r"limit of 0\.1 s"):
        Deadline.after(0.1).run(lambda: time.sleep(60))
    assert time.monotonic() - began < 30


def test_answer_that_came_too_late_is_refused():
    deadline = Deadline(0.0, 3.0)
    with pytest.raises(QueryTimeoutError):
        list(within_limits(no_rows(), deadline, QueryLimits()))
