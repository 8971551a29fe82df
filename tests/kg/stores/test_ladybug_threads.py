"""Threads that are the first to open a graph, all at once: each gets it."""

import subprocess
import sys
from pathlib import Path

from kg.stores.open import open_store
from kg.stores.tables import items_table
from schema.terms import Item

ROOT = Path(__file__).parents[3]
OPEN = """
import sys, threading, time
import ladybug._backend as backend
from kg.stores.open import open_store
load = backend._import_pybind_module
# A slow disk: other threads come while the library is being loaded.
backend._import_pybind_module = lambda: (time.sleep(0.2), load())[1]
barrier = threading.Barrier(8)
found = []
def read():
    barrier.wait()
    try:
        with open_store(sys.argv[1], create=False, read_only=True) as store:
            found.append(store.counts().items)
    except Exception as error:
        found.append(str(error))
threads = [threading.Thread(target=read) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(set(found))
"""


def test_the_library_is_loaded_once_for_all(tmp_path):
    url = f"ladybug:{tmp_path / 'graph'}"
    with open_store(url) as store:
        store.put(items_table([Item("1")]), None)
    command = [sys.executable, "-c", OPEN, url]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "{1}", done.stdout + done.stderr
