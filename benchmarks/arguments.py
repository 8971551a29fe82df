"""What the benchmarks of training are told."""

from __future__ import annotations

import argparse
from pathlib import Path


def training_arguments(doc: str | None, steps: int) -> argparse.ArgumentParser:
    """A parser of the home, split, size and number of steps to measure with; ``doc`` is the file's."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument("--home", help="a home to read; without one, a drawn shop")
    parser.add_argument("--split", type=Path)
    parser.add_argument("--size", default="small")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--out", default="build/bench")
    return parser
