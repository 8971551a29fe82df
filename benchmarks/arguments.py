"""Command-line arguments of the benchmarks of training."""

from __future__ import annotations

import argparse
from pathlib import Path


def training_arguments(doc: str | None, steps: int) -> argparse.ArgumentParser:
    """Build a parser of home, split, size and number of steps; ``doc`` is the file's docstring."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0] if doc else None)
    parser.add_argument(
        "--home", help="a home to read; without one, a synthetic catalogue is drawn"
    )
    parser.add_argument("--split", type=Path)
    parser.add_argument("--size", default="small")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--out", default="build/bench")
    return parser
