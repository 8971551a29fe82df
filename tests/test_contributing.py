"""The recipes of CONTRIBUTING.md, carried out as they stand on a copy of the code."""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = (
    "commands",
    "encoders",
    "evaluation",
    "experts",
    "fusion",
    "kg",
    "schema",
    "serving",
    "training",
)
CATALOGUE = "id,title,colour\n" + "".join(
    f"{number},{colour} mug {number},{colour}\n"
    for number, colour in enumerate(["red", "blue", "green"] * 20)
)
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)


@dataclass(frozen=True)
class Code:
    """A copy of the code that recipes change."""

    folder: Path

    def follow(self, heading: str) -> int:
        """Carry out the recipe under a heading; return how many files it touches."""
        text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
        (section,) = re.findall(rf"### {heading} \(.*?\n(.*?)(?=\n##)", text, re.DOTALL)
        touched = set()
        for language, body in BLOCK.findall(section):
            first, _, rest = body.partition("\n")
            if language == "diff":
                path = self.folder / first.removeprefix("--- ")
                path.write_text(changed(path.read_text(encoding="utf-8"), rest), encoding="utf-8")
            else:
                path = self.folder / first.removeprefix("# ")
                assert not path.exists()
                path.write_text(rest, encoding="utf-8")
            touched.add(path)
        return len(touched)

    def run(self, *words: str, home: str = "home") -> dict[str, Any]:
        """Run a command of the changed code and return its JSON."""
        done = subprocess.run(
            [sys.executable, "cli.py", "--home", home, *words, "--json"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=240,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def ingest(self) -> None:
        """Ingest a small catalogue into the home."""
        (self.folder / "items.csv").write_text(CATALOGUE)
        self.run("ingest", "items.csv")


def changed(text: str, diff: str) -> str:
    """Apply a diff of CONTRIBUTING.md: ``+`` lines go after the line before them that is marked
    with a space, or before the one marked ``-``."""
    added: list[str] = []
    place = ""
    edits = []
    for line in [*diff.splitlines(), ""]:
        if line.startswith("+"):
            added.append(line[1:] + "\n")
            continue
        if added:
            edits.append((place, added))
        added = []
        place = line
    for place, lines in edits:
        anchor = place[1:] + "\n"
        assert text.count(anchor) == 1, anchor
        block = "".join(lines)
        text = text.replace(anchor, anchor + block if place.startswith(" ") else block + anchor)
    return text


@pytest.fixture
def code(tmp_path):
    for name in PACKAGES:
        # Files that another process is just compiling are gone before they are copied.
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("*.pyc.*"))
    shutil.copy(ROOT / "cli.py", tmp_path)
    return Code(tmp_path)


def test_a_mapping_is_one_file(code):
    assert code.follow("A mapping") == 1
    (code.folder / "lamps.csv").write_text("LampNo,LampName,Watt\nL1,Desk lamp,9\n")
    report = code.run("ingest", "lamps.csv")
    assert (report["mapping"], report["items"], report["statements"]) == ("lamp-shop", 1, 1)


def test_a_reader_is_one_file(code):
    assert code.follow("A reader") == 1
    (code.folder / "items.pipes").write_text("id || title || colour\n1 || A mug || red\n")
    report = code.run("ingest", "items.pipes")
    assert (report["read"], report["stored"], report["statements"]) == (1, 1, 1)


def test_a_store_is_one_file_and_one_line(code):
    assert code.follow("A store") == 2
    code.run("init")
    assert code.run("--store", "scratch:Hello", "show", "example")["title"] == "Hello"


def test_an_export_format_is_one_file_and_one_line(code):
    assert code.follow("An export format") == 2
    code.ingest()
    code.run("export", "--format", "markdown", "out.md")
    assert "| 0 | red mug 0 |" in (code.folder / "out.md").read_text()


def test_a_command_is_one_file_and_one_line(code):
    assert code.follow("A command") == 2
    code.ingest()
    assert code.run("longest") == {"title": "green mug 11", "length": 12}


def test_a_preset_is_one_file_and_an_objective_one_and_its_lines_in_the_list(code):
    assert code.follow("A preset") == 1
    assert code.follow("An objective") == 2
    code.ingest()
    asked = ("--preset", "joint-without-images", "--size", "tiny", "--steps", "2", "--name", "m")
    settings = [f"--set={each}" for each in ("precision=fp32", "log_every=1")]
    assert code.run("train", *asked, *settings)["steps"] == 2
    lines = (code.folder / "home" / "models" / "m" / "log.jsonl").read_text().splitlines()
    assert all(json.loads(line)["loss"]["norm"] > 0 for line in lines)


def test_its_weight_is_a_setting(code):
    code.follow("An objective")
    script = "from training import Recipe; print(Recipe.from_settings({'loss_norm': 2}).weights)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=code.folder,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert "'norm': 2" in done.stdout, done.stderr


LEARN_PICTURED = """
import torch
from evaluation.tasks.base import TaskItems
from evaluation.tasks.pictured import PicturedTask
from evaluation.tasks.running import measure, train_for_task
from fusion.inference.featurizer import ItemInput
from fusion.inference.item_encoder import ItemEncoder
from schema.ontology import Ontology

class Pictured(ItemEncoder):
    name = "pictured"
    width = 1
    def forward(self, inputs):
        return torch.tensor([[float(each.item.image is not None)] for each in inputs])

own = [ItemInput(str(n), image="x.jpg" if n % 2 else None) for n in range(40)]
items = TaskItems({"train": own, "validation": own, "test": own}, Ontology([]))
print(measure(train_for_task(PicturedTask(), Pictured(), items), items).values["accuracy"])
"""


def test_a_task_is_one_file(code):
    assert code.follow("A task") == 1
    words = [sys.executable, "-c", LEARN_PICTURED]
    done = subprocess.run(words, cwd=code.folder, capture_output=True, text=True, timeout=240)
    assert done.stdout.splitlines()[-1:] == ["1.0"], done.stderr
