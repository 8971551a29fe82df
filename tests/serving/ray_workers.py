"""A worker of a Ray cluster that a test can hold up; it leaves a file in the folder of the home."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from serving import ray_completion
from tests.ray_cluster import NODE_NAME

HELD = "held"
"""The file of a block that the second node has in work."""
LOOK_SECONDS = 0.02


class HeldWorker(ray_completion._Worker):
    """On the second node, begins a block and never ends it; others wait until it has begun one."""

    def _open(self, job: Any) -> None:
        super()._open(job)
        self._folder = Path(job.home)

    def _completed(self, text: str) -> Any:
        held = self._folder / HELD
        if os.environ.get(NODE_NAME) == "second":
            held.write_text(text)
            time.sleep(3600)
        while not held.exists():
            time.sleep(LOOK_SECONDS)
        return super()._completed(text)
