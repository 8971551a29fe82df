"""Flip one byte of a home at a time, and see whether anybody would notice.

    python -m tests.faults.flips --count 400 --seed 0 --store rdf

A flip is *found* if ``verify`` reports a problem, *refused* if a command says in one line why it
does not go on, and *harmless* if every answer is what it was, and so is every answer after writing.
It is *missed* otherwise: then somebody would get a wrong answer and never know.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import random
import re
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from kg.home import Home
from kg.home_declared import load_declared
from kg.home_ontology import refresh_ontology
from kg.home_verification import verify_home
from kg.image_cache import ImageCache
from kg.ingest.pipeline import ingest
from kg.quality.validation import load_shapes
from kg.sample import write_sample
from kg.stores.protocol import GraphStore, Pattern, SparqlQueryable
from kg.stores.scan_process import Limits
from kg.stores.tables import statements_table
from schema.appended import AppendedFile
from schema.errors import CatalographError, CatalographWarning
from schema.ledger import QueryRow
from schema.manifests import manifest_problems
from schema.terms import Provenance, Rank, Statement
from tests.faults.children import PRELOADED, Child, run
from tests.faults.mapped import MAPPING, TABLE, write_mapped
from tests.faults.trials import Outcome, Plan

ITEMS = 60
MAPPED_ITEMS = 8
IMAGES = 6
IMAGE_SIZE = 8
NAMES = ("weights", "average", "optimizer")
ANSWER_SECONDS = 300.0
NOT_FLIPPED = ("lock",)
"""Names of files without content: a lock's only says who has it."""
QUERIES = (
    "MATCH (i:Item)-[h:HAS]->(v:Value) RETURN v.text, count(*) ORDER BY v.text",
    "MATCH (i:Item)-[h:HAS]->(v:Value) WHERE h.row >= 3 AND h.row < 40 RETURN count(*)",
    "MATCH (i:Item)-[h:HAS]->(v:Value) WHERE h.confidence > 0.5 RETURN i.id ORDER BY i.id",
    "MATCH (v:Value)<-[h:HAS]-(i:Item) WHERE h.property = 'colour' RETURN h.id ORDER BY h.id",
)
SPARQL = (
    "SELECT ?i ?v { ?i property:colour ?v } ORDER BY ?i ?v",
    "SELECT ?g (COUNT(*) AS ?n) { GRAPH ?g { ?s ?p ?o } } GROUP BY ?g ORDER BY ?g",
    "SELECT ?p (COUNT(*) AS ?n) { ?s ?p ?o } GROUP BY ?p ORDER BY ?p",
    "SELECT ?s { ?s ?p 'red' } ORDER BY ?s",
)


PRELOADED += ("evaluation.runs", "tests.faults.flips", "training.checkpoints")


class Fate(StrEnum):
    """What became of a flip."""

    FOUND = "found"
    REFUSED = "refused"
    HARMLESS = "harmless"
    MISSED = "missed"


@dataclass(frozen=True)
class Flip:
    """A bit of a byte of a file of a home."""

    file: str
    place: int
    bit: int

    def apply(self, home: Path) -> None:
        """Flip it."""
        with (home / self.file).open("r+b") as file:
            file.seek(self.place)
            (byte,) = file.read(1)
            file.seek(self.place)
            file.write(bytes([byte ^ 1 << self.bit]))


@dataclass(frozen=True)
class Result:
    """What became of a flip, and by what."""

    flip: Flip
    fate: Fate
    reason: str = ""


def make_home(folder: Path, scheme: str = "ladybug") -> Path:
    """Make a small home that has something in every file: several versions, ranks, edits.

    Returns its path.
    """
    source = folder / "sample"
    write_sample(source, ITEMS)
    home = Home.open(folder / "home", create=True)
    home.set_default_store(f"{scheme}:{home.path / 'graph'}")
    ingest(home, [source / "items.csv"], max_rejects="100%")
    write_mapped(source, MAPPED_ITEMS)
    ingest(home, [source / TABLE], mapping=str(source / MAPPING))
    with home.store() as store:
        fact = next(row for batch in store.scan() for row in batch.to_pylist())
        item = fact["item"]
        provenance = Provenance("model", "run", 7, "m", 0.75, '{"why": [1]}', None, "2026-01-02")
        guess = Statement(item, "material", "unobtainium", Rank.PREDICTED, provenance)
        store.put(None, statements_table([guess, Statement(item, "size", "gone")]))
        store.retract([Statement(item, "size", "gone").id])
        reviewed = Provenance("model", "run", 7, "m", 0.75, None, "mo", "2026-01-03")
        store.put(
            None,
            statements_table([Statement(item, "material", "unobtainium", Rank.ACCEPTED, reviewed)]),
        )
        refresh_ontology(home, store)
    with home.ledger() as ledger:
        ledger.put_queries([QueryRow(f"query {n}", str(n), n, 1) for n in range(40)])
        ledger.record_training({"name": "m", "loss": 0.5})
    load_shapes(home, home.ontology())
    _make_model(home.models / "m")
    images = sorted(map(str, (source / "images").glob("*.jpg")))[:IMAGES]
    home.allow_images([source / "images"])
    ImageCache.build(images, IMAGE_SIZE, home.cache, home.image_files())
    return home.path


def _make_model(model: Path) -> None:
    """Make a model's folder, with the log of its training and two checkpoints."""
    # Imported here, so that the other trials start without PyTorch.
    import torch

    from training.checkpoints import CopiedState, write_checkpoint
    from training.state import RunProgress

    model.mkdir()
    weights = random.Random(0).randbytes(5000)
    (model / "model.safetensors").write_bytes(weights)
    digest = hashlib.sha256(weights).hexdigest()
    (model / "manifest.json").write_text(json.dumps({"sha256": {"model.safetensors": digest}}))
    line = {"step": 1, "epoch": 0, "loss": {"total": 1.5, "mlm": 0.5}, "lr": 0.1}
    AppendedFile(model / "log.jsonl", [json.dumps({**line, "step": step}) for step in range(1, 9)])
    for step in (4, 8):
        tensors = {f"{name}.safetensors": {"a": torch.full((300,), step)} for name in NAMES}
        progress = vars(RunProgress(step=step)).copy()
        write_checkpoint(model / "checkpoints", CopiedState(progress, tensors, "adamw"))


def choose_flips(home: Path, count: int, rng: random.Random, only: str = "") -> list[Flip]:
    """Return flips of all files: every file gets some, and a large one more than a small one.

    With ``only`` they are of the files whose name it is.
    """
    paths = [
        path
        for path in sorted(home.rglob(only or "*"))
        if path.is_file() and path.name not in NOT_FLIPPED and path.stat().st_size
    ]
    sizes = [path.stat().st_size ** 0.5 for path in paths]
    chosen = [*paths[:count], *rng.choices(paths, sizes, k=max(0, count - len(paths)))]
    return [
        Flip(str(path.relative_to(home)), _place(path.read_bytes(), rng), rng.randrange(8))
        for path in chosen
    ]


def _place(data: bytes, rng: random.Random) -> int:
    """Choose a byte: any, or one that is not zero, since databases have many pages of zeros."""
    place = rng.randrange(len(data))
    if rng.random() < 0.75:
        for _ in range(1000):
            if data[place]:
                break
            place = rng.randrange(len(data))
    return place


def sweep(home: Path, flips: Sequence[Flip]) -> Iterator[Result]:
    """Yield what becomes of each flip of a home, which stays as it is."""
    with tempfile.TemporaryDirectory(prefix="flips-") as folder:
        copy = Path(folder) / "home"
        shutil.copytree(home, copy)
        verified, expected = _examined(copy)
        if verified.fate is not Fate.HARMLESS or not isinstance(expected, dict):
            raise RuntimeError(f"the home is not fine before any flip: {verified}, {expected}")
        for flip in flips:
            shutil.rmtree(copy)
            shutil.copytree(home, copy)
            flip.apply(copy)
            yield _fate(flip, copy, expected)


def _fate(flip: Flip, copy: Path, expected: dict[str, Any]) -> Result:
    verified, found = _examined(copy)
    if verified.fate is not Fate.HARMLESS:
        return Result(flip, verified.fate, verified.reason)
    if isinstance(found, str):
        # A refusal that ``verify`` does not mention leaves the user without a way on.
        return Result(flip, Fate.MISSED, found)
    different = [name for name in expected if found.get(name) != expected[name]]
    if different:
        return Result(flip, Fate.MISSED, f"other answers: {', '.join(different)}")
    return Result(flip, Fate.HARMLESS)


@dataclass(frozen=True)
class Verified:
    """What ``verify`` says of a home: HARMLESS if it finds nothing."""

    fate: Fate
    reason: str = ""


def _examined(home: Path) -> tuple[Verified, dict[str, Any] | str]:
    """Return what ``verify`` says of a home, and its answers, or why there are none."""
    with Child(_examine, home) as child:
        received: list[Any] = []
        while len(received) < 2:
            if not child.received.poll(ANSWER_SECONDS):
                received.append("no answer in time")
                break
            try:
                received.append(child.received.recv())
            except EOFError:
                received.append(f"the process ended: {child.result()}")
                break
        if isinstance(received[0], str):
            return Verified(Fate.MISSED, f"verify: {received[0]}"), received[0]
        return received[0], received[-1]


def _examine(sender: Connection, path: Path) -> None:
    """Run in the child process: send what ``verify`` says, and the answers if it finds nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CatalographWarning)
        try:
            verified = _verified(path)
        except BaseException as error:
            sender.send(f"unexpected {type(error).__name__}: {error}")
            return
        sender.send(verified)
        if verified.fate is not Fate.HARMLESS:
            sender.send("")
            return
        try:
            sender.send(answers(Home.open(path)))
        except CatalographError as error:
            sender.send(f"refused: {error}")
        except BaseException as error:
            sender.send(f"unexpected {type(error).__name__}: {error}")


def _verified(path: Path) -> Verified:
    try:
        problems = verify_home(Home.open(path), limits=Limits(seconds=60.0)).problems
    except CatalographError as error:
        return Verified(Fate.REFUSED, str(error))
    return Verified(Fate.FOUND, problems[0]) if problems else Verified(Fate.HARMLESS)


def answers(home: Home) -> dict[str, Any]:
    """Return everything that a home says, before and after something is written to it."""
    found = {f"{name} before": answer for name, answer in _read(home).items()}
    with home.store() as store:
        store.put(None, statements_table([Statement("new", "colour", "new")]))
        refresh_ontology(home, store, accept=True)
    with home.ledger() as ledger:
        ledger.put_queries([QueryRow("new", "1")])
    return found | {f"{name} after": answer for name, answer in _read(home).items()}


def _read(home: Home) -> dict[str, Any]:
    with home.store(read_only=True) as store:
        found = {f"store: {name}": answer for name, answer in _read_store(store).items()}
    with home.ledger() as ledger:
        found["queries"] = [vars(row) for row in ledger.query_log()]
        found["rejects"] = [(row.line, row.reason, row.text) for row in ledger.rejects()]
        found["trainings"] = [each["loss"] for each in ledger.trainings()]
    ontology = home.ontology()
    found["ontology"] = ontology.to_toml()
    found["what mappings say"] = load_declared(home).to_toml()
    found["shapes"] = load_shapes(home, ontology)[1]
    found["models"] = [manifest_problems(path.parent, "") for path in home.models.glob("*/m*.json")]
    found |= _read_model(home.models / "m")
    found |= _read_images(home)
    return found


def _read_model(model: Path) -> dict[str, Any]:
    from schema.training_log import read_training_log
    from training.checkpoints import load_checkpoint

    checkpoint = load_checkpoint(model / "checkpoints")
    assert checkpoint is not None
    kept = (checkpoint.weights, checkpoint.average, checkpoint.moments)
    return {
        "training log": read_training_log(model / "log.jsonl"),
        "progress": vars(checkpoint.progress),
        "optimizer": checkpoint.optimizer,
        "checkpoint": [{name: each.tolist() for name, each in part.items()} for part in kept],
    }


def _read_images(home: Home) -> dict[str, Any]:
    folder = home.image_folders()[-1]
    images = sorted(map(str, Path(folder).glob("*.jpg")))[:IMAGES]
    cache = ImageCache.build(images, IMAGE_SIZE, home.cache, home.image_files())
    return {
        "image folders": home.image_folders(),
        "pixels": hashlib.sha256(cache.array.tobytes()).hexdigest(),
        "images": [cache.present.tolist(), cache.broken],
    }


def _read_store(store: GraphStore) -> dict[str, Any]:
    items = [row for batch in store.items() for row in batch.to_pylist()]
    statements = [row for batch in store.scan() for row in batch.to_pylist()]
    by_value = {
        value: sorted(
            row["id"] for batch in store.scan(Pattern(value=value)) for row in batch.to_pylist()
        )
        for value in sorted({row["value"] for row in statements})[:20]
    }
    found = {
        "items": items,
        "statements": statements,
        "each item": [repr(store.item(row["id"])) for row in items],
        "nobody": store.item("nobody"),
        "triples": sorted(
            map(str, (row for batch in store.triples(list(Rank)) for row in batch.to_pylist()))
        ),
        "by value": by_value,
        "counts": vars_of(store.counts()),
        "hash": store.content_hash(),
    }
    if isinstance(store, SparqlQueryable):
        found |= {text: store.sparql(text).rows for text in SPARQL}
    else:
        found |= {text: store.query(text).rows for text in QUERIES}
    return found


def vars_of(counts: Any) -> list[int]:
    """Return the sizes of a store as a list."""
    return [counts.items, counts.statements, counts.properties, counts.values]


def flip_bytes(scheme: str, only: str = "") -> Callable[[Plan], Outcome]:
    """Return the trial of flips over every file of a home whose store has this scheme.

    With ``only`` they are over the files with this name.
    """

    def trial(plan: Plan) -> Outcome:
        """Make a home, and flip one byte after another."""
        return flip_home(run(make_home, plan.folder, scheme), plan, only)

    return trial


def flip_home(home: Path, plan: Plan, only: str = "") -> Outcome:
    """Flip one byte of a home after another."""
    flips = choose_flips(home, plan.count, random.Random(plan.seed), only)
    kinds = Counter(kind_of(flip.file) for flip in flips)
    outcome = Outcome(figures=dict.fromkeys(map(str, Fate), 0))
    for number, result in enumerate(sweep(home, flips), 1):
        outcome.figures[str(result.fate)] += 1
        if result.fate is Fate.MISSED:
            outcome.bad.append(f"{result.flip} (seed {plan.seed}): {result.reason}")
        plan.progress(number)
    outcome.figures["files"] = len({flip.file for flip in flips})
    outcome.figures["kinds of files"] = len(kinds)
    return outcome


def kind_of(file: str) -> str:
    """Return what kind of file one of a home is: its path without numbers and hashes."""
    return re.sub(r"[0-9a-f]*\d[0-9a-f]*", "N", file)


def main() -> None:
    """Make a home, sweep it, and print what became of the flips."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--count", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--store", choices=("ladybug", "rdf"), default="ladybug")
    parser.add_argument("--file", default="", help="flip only files whose path contains this")
    parser.add_argument("--verbose", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="flips-") as folder:
        home = run(make_home, Path(folder), arguments.store)
        rng = random.Random(arguments.seed)
        flips = choose_flips(home, arguments.count * (10 if arguments.file else 1), rng)
        flips = [flip for flip in flips if arguments.file in flip.file][: arguments.count]
        began = time.monotonic()
        fates: Counter[Fate] = Counter()
        for result in sweep(home, flips):
            fates[result.fate] += 1
            if arguments.verbose or result.fate is Fate.MISSED:
                print(result.fate, result.flip, result.reason[:300], flush=True)
    seconds = time.monotonic() - began
    print(json.dumps({"flips": len(flips), **fates, "seconds": round(seconds)}))
    sys.exit(bool(fates[Fate.MISSED]))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
