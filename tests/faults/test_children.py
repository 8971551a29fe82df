"""The processes that commands run in: they start at once, and are killed with all of their own."""

import importlib.util
import multiprocessing
import os
import subprocess
import sys
import time
from pathlib import Path

from tests.faults.children import PRELOADED, Child

ROOT = Path(__file__).parents[2]
SPAWNER = """
from tests.faults.children import run
from tests.faults.test_children import spawn_one
print(run(spawn_one))
"""


def say_who(sender):
    sender.send(os.getpid())
    time.sleep(60)


def start_another(sender):
    process = multiprocessing.get_context("spawn").Process(target=say_who, args=(sender,))
    process.start()
    process.join()


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def report_imports(sender):
    sender.send("kg.stores.ladybug_scan" in sys.modules)
    sys.exit(3)


def spawn_one():
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=report_imports, args=(sender,))
    process.start()
    is_imported = receiver.recv()
    process.join()
    return process.exitcode, is_imported


def test_every_module_that_is_imported_beforehand_exists():
    # A server of processes passes over those that it cannot import.
    assert [name for name in PRELOADED if importlib.util.find_spec(name) is None] == []


def test_what_a_child_starts_is_killed_with_it():
    with Child(start_another) as child:
        other = child.received.recv()
        assert is_running(other)
        assert child.kill()
    deadline = time.monotonic() + 10
    while is_running(other) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not is_running(other)


def test_what_a_child_spawns_has_everything_imported_and_its_exit_code():
    # In a process of its own: another test may have started the server that forks with less.
    printed = subprocess.run(
        [sys.executable, "-c", SPAWNER], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert printed.stdout == "(3, True)\n"
