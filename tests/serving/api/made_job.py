"""A command that is run as a job in place of a real one; its properties say what it does.

``slow`` says how far it is, and goes on until it is interrupted; ``wrong`` fails, and ``report``
writes a page. Every other command writes one result, or says that it went on.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def interpreter(folder: Path) -> str:
    """Return a program to be called as ``python -m cli``, which runs this module."""
    path = folder / "made-python"
    root = Path(__file__).parents[3]
    line = f'cd "{root}"; exec "{sys.executable}" -S -E "{__file__}" "$@"'
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)
    return str(path)


def main(words: list[str]) -> int:
    """Do what the words say, and return the exit code."""
    print("beginning", file=sys.stderr, flush=True)
    if "--resume" in words:
        print(json.dumps({"resumed": True}))
        return 0
    if "slow" in words:
        progress = Path(os.environ["CATALOGRAPH_PROGRESS"])
        made = progress.with_suffix(".new")
        made.write_text(json.dumps({"label": "cells", "unit": "cells", "done": 1, "total": 9}))
        made.replace(progress)
        try:
            time.sleep(60)
        except KeyboardInterrupt:
            return 130
    if "wrong" in words:
        print("warning: soon\nerror: nothing to complete: name other items", file=sys.stderr)
        return 1
    if "report" in words:
        page = Path(words[words.index("report") + 1])
        completions = Path(words[words.index("--completions") + 1])
        page.write_text(f"<!doctype html>{completions.read_text()}")
        print(json.dumps({"page": str(page)}))
        return 0
    if "--out" in words:
        result = {"item": "2", "property": "material", "decision": "review", "candidates": []}
        Path(words[words.index("--out") + 1]).write_text(json.dumps(result) + "\n")
    print(json.dumps({"cells": 1, "fill": 0, "review": 1, "abstain": 0}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
