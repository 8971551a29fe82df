"""A few hundred hostile image files; `make faults` tries thousands."""

import subprocess
import sys

from tests.faults import image_fuzz
from tests.faults.image_fuzz import KINDS, fuzz_images, made_file


def test_every_file_ends_in_pixels_or_an_error_of_ours():
    figures = fuzz_images(seed=1, count=8 * len(KINDS))
    assert figures.bad == []
    assert figures.files == 8 * len(KINDS)
    # Otherwise the files would be of one kind.
    assert figures.pixels > 30
    assert figures.refused.total() > 30


def test_a_file_is_the_same_every_time():
    once, again = ([made_file(3, number) for number in range(20)] for _ in range(2))
    assert once == again
    assert made_file(3, 0) != made_file(4, 0)


def test_crashes_hangs_and_foreign_errors_are_counted(monkeypatch):
    """A child that crashes at file 1, hangs at file 3 and raises at file 4, of five."""
    child = (
        "import json, os, sys, time\n"
        "for number in range(int(sys.argv[2]), 5):\n"
        "    if number == 1: os.abort()\n"
        "    if number == 3: time.sleep(60)\n"
        "    outcome = 'KeyError: x' if number == 4 else 'pixels'\n"
        "    line = dict(number=number, kind='k', outcome=outcome, seconds=1, mb=2)\n"
        "    print(json.dumps(line), flush=True)\n"
    )
    start = subprocess.Popen

    def start_child(command, **options):
        return start([sys.executable, "-c", child, *command[-3:]], **options)

    monkeypatch.setattr(subprocess, "Popen", start_child)
    monkeypatch.setattr(image_fuzz, "STARTING_SECONDS", 5.0)
    figures = fuzz_images(seed=0, count=5, seconds=0.5)
    assert (figures.files, figures.pixels) == (5, 2)
    (crash,), (timeout,), (uncaught,) = figures.crashes, figures.timeouts, figures.uncaught
    assert (crash.split()[0], timeout.split()[0], uncaught.split()[0]) == ("1", "3", "4")
