import threading

import pytest

from training.background import BackgroundWriter


def test_one_function_runs_at_a_time_and_is_waited_for():
    writer = BackgroundWriter()
    go = threading.Event()
    done = []

    def first():
        go.wait(10)
        done.append("first")

    writer.start(first)
    assert done == []
    go.set()
    writer.start(lambda: done.append("second"))
    writer.finish()
    assert done == ["first", "second"]


def test_an_error_is_raised_by_the_next_call_which_does_its_work():
    writer = BackgroundWriter()
    done = []

    def fail():
        raise OSError("no space")

    writer.start(fail)
    with pytest.raises(OSError, match="no space"):
        writer.start(lambda: done.append("next"))
    writer.finish()
    assert done == ["next"]


def test_an_error_is_raised_by_finish_and_only_once():
    writer = BackgroundWriter()

    def fail():
        raise OSError("no space")

    writer.start(fail)
    with pytest.raises(OSError, match="no space"):
        writer.finish()
    writer.finish()


def test_waiting_keeps_the_error_for_later():
    writer = BackgroundWriter()
    go = threading.Event()

    def fail():
        go.wait(10)
        raise OSError("no space")

    writer.start(fail)
    go.set()
    writer.wait()
    writer.wait()
    with pytest.raises(OSError, match="no space"):
        writer.finish()
