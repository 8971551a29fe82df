"""Work of an ingest whose node, or whose process, is lost on the way."""

import os
import signal
import threading
from pathlib import Path

from kg.ingest.apart import assemble_block, assemble_file

LOST = ".lost"
"""The suffix of the file beside a source that tells that a part of it is lost."""


def held_block(work, block, known):
    """Assemble a block, on the second node of a cluster never: it waits there to be killed."""
    import ray

    own = ray.get_runtime_context().get_node_id()
    node = next(each for each in ray.nodes() if each["NodeID"] == own)
    if "node:__internal_head__" not in node["Resources"]:
        Path(work.origin.file + LOST).touch()
        threading.Event().wait()
    return assemble_block(work, block, known)


def broken_file(work, done):
    """Assemble a file, but at first only its first part."""
    for number, part in enumerate(assemble_file(work, done), done):
        lost = Path(work.origin.file + LOST)
        if number == 1 and not lost.exists():
            lost.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        yield part
