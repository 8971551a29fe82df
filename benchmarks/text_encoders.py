"""What a pretrained text encoder adds to a network: none, tuned and frozen, at the same budget.

    OMP_NUM_THREADS=1 python benchmarks/text_encoders.py --home fashion --split split.csv \\
        --text-encoder MiniLM --minutes 2.5 --out text-encoders.json

The preset joint is trained three times on the train split, and completes the items of the test
split; the home gets a model of each. The budget is CPU time rather than time on the clock: a
machine that is busy with other things would otherwise decide. Differences have paired 95%
intervals over items.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from cli import main as catalograph

ARMS = ("scratch", "tuned", "frozen")


def run(*words: str) -> dict[str, Any]:
    """Run a command and return the document that it prints; exits if it fails."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        code = catalograph(["--json", *words])
    if code:
        sys.exit(code)
    document: dict[str, Any] = json.loads(printed.getvalue())
    return document


def settings_of(arm: str, encoder: Path) -> list[str]:
    """Return what an arm sets."""
    chosen = ["workers=0", "warmup_steps=20", "validate_every=1000000"]
    if arm != "scratch":
        chosen += [f"text_pretrained={encoder}", f"frozen_text={str(arm == 'frozen').lower()}"]
    return [word for each in chosen for word in ("--set", each)]


def differences(compared: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """Return Hits@1 from scratch by setting, and by how much it is higher with the encoder."""
    scratch = names["scratch"]
    arms = {name: arm for arm, name in names.items()}
    found: dict[str, Any] = {}
    for report in compared["models"]:
        if report["model"] == scratch:
            place = found.setdefault(" ".join(report["setting"].values()), {})
            place["scratch"] = report["macro"]["hits@1"]
    for pair in compared["comparisons"]:
        # Each of the others is compared with the first model, from scratch.
        if pair["model"] == scratch:
            more = pair["difference"]["macro"]["hits@1"]
            turned = {"value": -more["value"], "low": -more["high"], "high": -more["low"]}
            found[" ".join(pair["setting"].values())][arms[pair["other"]]] = turned
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", required=True)
    parser.add_argument("--split", required=True)
    parser.add_argument("--text-encoder", type=Path, required=True)
    budget = parser.add_mutually_exclusive_group(required=True)
    budget.add_argument("--minutes", help="of CPU time, of all threads together")
    budget.add_argument("--steps")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with patch("training.optim.time", SimpleNamespace(monotonic=time.process_time)):
        document = measured(options)
    text = json.dumps(document, indent=1)
    if options.out is not None:
        options.out.write_text(f"{text}\n", encoding="utf-8")
    print(text)


def measured(options: argparse.Namespace) -> dict[str, Any]:
    """Train and compare the arms; return the figures."""
    prefix = f"text-encoders-{time.strftime('%H%M%S')}"
    names = {arm: f"{prefix}-{arm}" for arm in ARMS}
    given = ["--minutes", options.minutes] if options.minutes else ["--steps", options.steps]
    trained = {}
    for arm, name in names.items():
        words = ["--home", options.home, "train", "--preset", "joint", "--split", options.split]
        words += ["--name", name, *given, *settings_of(arm, options.text_encoder)]
        result = run(*words)
        trained[arm] = {"steps": result["steps"], "seconds": result["seconds"]}
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "compared.json")
        words = ["--home", options.home, "models", "compare", "--all", "--split", options.split]
        run(*words, *names.values(), "--out", out)
        compared = json.loads(Path(out).read_text(encoding="utf-8"))
    return {
        "items": compared["items"],
        "encoder": options.text_encoder.name,
        "trained": trained,
        "settings": differences(compared, names),
    }


if __name__ == "__main__":
    main()
