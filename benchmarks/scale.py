"""Measure every command at catalogues of growing size, and how its cost grows with them.

    python -m benchmarks.scale --working DIR [--items 200 1000 10000 100000] [--limit 3600]
        [--only STAGE ...] [--figures FILE] [--markdown FILE] [--plot FILE] [--keep]

Each stage is a process of its own, as a user calls it, on the synthetic sample without images. What
is measured is the time from its start to its end, the seconds of the processors, the peak memory of
the process with those that it starts, and by how much the files have grown. A stage that takes
longer than ``--limit`` seconds is ended and told as not finished, and what needs it is left out.

The figures are written after each stage. The same call goes on where it was cut off: what was
measured is not measured again, and a stage that did not finish is tried again only with a greater
limit. A size's folder in ``--working`` is removed when all of its stages are done. ``--items``
begins with few: all that these take is the start, which is subtracted for the slopes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.process_tree import NotFinishedError, run_measured
from benchmarks.run_command import ROOT
from benchmarks.scale_figures import Figure, Figures, markdown_table, plot

SIZES = (200, 1_000, 10_000, 100_000)
LIMIT = 3_600
"""Seconds that a stage may take."""
FIGURES = ROOT / "benchmarks" / "figures" / "scale.json"
STEPS = 60
"""Steps of the network's training, in any catalogue."""
CATALOGUE = "catalogue"
HISTORY = "history"


@dataclass(frozen=True)
class Place:
    """Where the catalogue of a size lies."""

    folder: Path
    items: int

    @property
    def home(self) -> Path:
        """The home."""
        return self.folder / "home"

    @property
    def shop(self) -> Path:
        """The tables that are ingested."""
        return self.folder / "shop"

    @property
    def out(self) -> Path:
        """What stages write outside the home; it is removed after each of them."""
        return self.folder / "out"

    @property
    def item(self) -> str:
        """The id of an item in the middle."""
        return f"P{self.items // 2:06d}"


@dataclass(frozen=True)
class Stage:
    """Something to measure.

    Attributes:
        name: what it is called in tables
        words: the words of its command, or of its part of ``benchmarks.scale_work``
        says: the keys of its JSON that are kept beside the figures
        needs: another stage without which it cannot be done
        is_command: whether it is a command of Catalograph
        codes: exit codes that are no failure
        makes: the name of the model that it makes
    """

    name: str
    words: Callable[[Place], Sequence[object]]
    says: tuple[str, ...] = ()
    needs: tuple[str, ...] = ("ingest",)
    is_command: bool = True
    codes: frozenset[int] = field(default=frozenset({0}))
    makes: str = ""


def _ingest(file: str) -> Callable[[Place], Sequence[object]]:
    return lambda at: ("ingest", at.shop / file, "--source", "shop", "--max-rejects", "5%")


def _export(format: str) -> Callable[[Place], Sequence[object]]:
    return lambda at: ("export", "--format", format, at.out / format)


NETWORK = ("--preset", "joint", "--size", "tiny", "--set", "image_encoder=none", "--steps", STEPS)
STAGES = (
    Stage(CATALOGUE, lambda at: ("catalogue", at.shop, at.items), ("pairs",), (), is_command=False),
    Stage("ingest", _ingest("items.csv"), ("statements",), (CATALOGUE,)),
    Stage("ingest, unchanged", _ingest("items.csv")),
    Stage("ingest, 1% changed", _ingest("changed.csv"), ("changes",)),
    Stage(HISTORY, lambda at: (HISTORY,), needs=("ingest, 1% changed",)),
    Stage("undo of the 1%", lambda at: ("undo", "RUN"), ("statements",), (HISTORY,)),
    Stage("schema infer", lambda at: ("schema", "infer")),
    Stage("stats", lambda at: ("stats",)),
    Stage("show an item", lambda at: ("show", at.item)),
    Stage("validate", lambda at: ("validate",), ("violations",), codes=frozenset({0, 1})),
    Stage("verify", lambda at: ("verify",)),
    Stage("export csv", _export("csv")),
    Stage("export parquet", _export("parquet")),
    Stage("snapshot", lambda at: ("snapshot", at.home), is_command=False),
    Stage("index", lambda at: ("index",)),
    Stage(
        "search",
        lambda at: ("search", at.home, at.shop / "searches.txt"),
        ("first_ms", "p50_ms", "p95_ms"),
        ("index",),
        is_command=False,
    ),
    Stage(
        "similar",
        lambda at: ("similar", at.home, at.shop / "items.txt"),
        ("first_ms", "p50_ms", "p95_ms"),
        ("index",),
        is_command=False,
    ),
    Stage(
        "train experts",
        lambda at: ("train", "--preset", "experts", "--name", "experts"),
        ("metrics", "classifier"),
        makes="experts",
    ),
    Stage(
        "train network",
        lambda at: ("train", *NETWORK, "--name", "network"),
        ("steps", "seconds", "items_per_second"),
        makes="network",
    ),
    Stage(
        "complete",
        lambda at: ("complete", "--model", "experts", "--out", at.out / "completed.jsonl"),
        ("cells", "fill", "review", "abstain", "proposed"),
        ("train experts",),
    ),
    Stage(
        "audit",
        lambda at: ("audit", "--model", "experts", "--out", at.out / "audited.jsonl"),
        ("findings", "statements"),
        ("train experts",),
    ),
    Stage(
        "finetune align",
        lambda at: ("finetune", "align", "--pairs", at.shop / "pairs.csv", "--name", "aligner"),
        ("pairs",),
        makes="aligner",
    ),
    Stage(
        "align",
        lambda at: ("align", "--model", "aligner", "--out", at.out / "aligned.csv"),
        needs=("finetune align",),
    ),
    Stage("rebuild", lambda at: ("rebuild",)),
    Stage("backup", lambda at: ("backup", at.out / "backup")),
)


def command_of(stage: Stage, at: Place, figures: Figures) -> list[str]:
    """Return the words by which a stage is started."""
    words: Sequence[object] = stage.words(at)
    if stage.name == "undo of the 1%":
        words = ("undo", figures.of(at.items, HISTORY).said["run"])
    start: tuple[str, ...] = ("-m", "benchmarks.scale_work")
    if stage.is_command:
        start = (str(ROOT / "cli.py"), "--home", str(at.home), "--json")
    return [sys.executable, *start, *map(str, words)]


def bytes_in(folder: Path) -> int:
    """Return the sizes of all files in a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def measure(stage: Stage, at: Place, figures: Figures, limit: float) -> Figure:
    """Do a stage and return what it took; what needs to be there is there."""
    at.out.mkdir(parents=True, exist_ok=True)
    if stage.makes:
        # What an earlier try has left behind, which was ended or failed.
        shutil.rmtree(at.home / "models" / stage.makes, ignore_errors=True)
    before = bytes_in(at.folder)
    load = os.getloadavg()[0]
    with tempfile.TemporaryFile() as out:
        try:
            command = command_of(stage, at, figures)
            taken = run_measured(command, out, ROOT, limit, stage.codes)
        except NotFinishedError:
            return Figure(not_finished_within=limit)
        except subprocess.CalledProcessError as error:
            return Figure(failed=f"exit code {error.returncode}")
        finally:
            written = bytes_in(at.out)
            shutil.rmtree(at.out, ignore_errors=True)
            grown = bytes_in(at.folder) - before
        out.seek(0)
        said = _said(stage, json.load(out))
    return Figure(
        seconds=round(taken.seconds, 2),
        cpu_seconds=round(taken.cpu_seconds, 2),
        peak_mb=round(taken.peak_bytes / 1e6, 1),
        disk_mb=round(grown / 1e6, 3),
        out_mb=round(written / 1e6, 3),
        load=round(load, 1),
        said=said,
    )


def _said(stage: Stage, document: Any) -> dict[str, Any]:
    """Return what is kept of a stage's JSON."""
    if stage.name == HISTORY:
        return {"run": document[-1]["run"]}
    return {name: document[name] for name in stage.says if name in document}


def measure_size(at: Place, figures: Figures, stages: Sequence[Stage], limit: float) -> None:
    """Measure what has not been measured of a size, and keep each figure at once."""
    open_stages = [each for each in stages if figures.is_open(at.items, each.name, limit)]
    if not open_stages:
        return
    if not at.home.exists():
        # Its stages change the home one after the other, so that they begin with the first.
        figures.forget(at.items)
        open_stages = list(stages)
    for stage in open_stages:
        lacking = [name for name in stage.needs if not figures.is_done(at.items, name)]
        if lacking:
            figure = Figure(left_out=f"needs {lacking[0]!r}")
        else:
            figure = measure(stage, at, figures, limit)
        figures.keep(at.items, stage.name, figure)
        told = {name: value for name, value in asdict(figure).items() if value is not None}
        print(f"{at.items:>9,} {stage.name}: {json.dumps(told)}", flush=True)


def main() -> None:
    """Measure, and write the figures, a table and a plot."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--working", type=Path, required=True, help="a folder with enough room")
    parser.add_argument("--items", type=int, nargs="+", default=SIZES)
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds of a stage, at most")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in STAGES])
    parser.add_argument("--figures", type=Path, default=FIGURES)
    parser.add_argument("--markdown", type=Path, help="write the table to this file")
    parser.add_argument("--plot", type=Path, help="draw the curves into this file")
    parser.add_argument("--keep", action="store_true", help="keep the homes")
    arguments = parser.parse_args()
    figures = Figures.open(arguments.figures)
    stages: Sequence[Stage] = STAGES
    if arguments.only:
        wanted = set(arguments.only)
        # And what they need, from the last stage to the first.
        for stage in reversed(STAGES):
            if stage.name in wanted:
                wanted.update(stage.needs)
        stages = tuple(each for each in STAGES if each.name in wanted)
    for items in sorted(arguments.items):
        place = Place(arguments.working / str(items), items)
        measure_size(place, figures, stages, arguments.limit)
        if not arguments.keep:
            shutil.rmtree(place.folder, ignore_errors=True)
    text = markdown_table(figures, [each.name for each in STAGES if each.name != CATALOGUE])
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text + "\n", encoding="utf-8")
    if arguments.plot:
        plot(figures, [each.name for each in STAGES if each.name != CATALOGUE], arguments.plot)


if __name__ == "__main__":
    main()
