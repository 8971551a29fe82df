"""Commands of Catalograph as processes of their own, as users call them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def run(home: Path, *words: object) -> dict[str, Any]:
    """Run a command of Catalograph and return its JSON."""
    command = [sys.executable, str(ROOT / "cli.py"), "--home", str(home), "--json"]
    done = subprocess.run(
        [*command, *map(str, words)], check=True, stdout=subprocess.PIPE, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
