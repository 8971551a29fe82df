"""The commands that write, and what has to hold after one of them was cut off.

What was there before the command is there; a reader reads; ``verify`` finds nothing; and the
command, called again, ends in the same catalogue as if nothing had happened.
"""

from __future__ import annotations

import csv
import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from kg.home import Home
from kg.home_declared import load_declared
from kg.home_ontology import Origin
from kg.home_salvage import REPORT
from kg.stores.open import open_store
from kg.stores.protocol import ChangeBatch, GraphStore
from kg.stores.references import Reference, item_references, statement_references
from tests.faults.children import Child, Result, call, command, run
from tests.faults.former import call_former
from tests.faults.mapped import FORMER_MAPPING, FORMER_TABLE, MAPPING, TABLE, misread, write_mapped
from tests.faults.trials import Outcome, Plan
from tests.faults.watching import Changes

EXPORTED = "exported"
"""The folder of a home into which the commands export."""
COLOURS = ("red", "green", "blue", "black", "white", "grey")


@dataclass(frozen=True)
class State:
    """What a catalogue says: hashes by what they are of, and its statements and items."""

    hashes: dict[str, str]
    facts: frozenset[tuple[str, ...]]


@dataclass(frozen=True)
class WritePath:
    """A command that writes.

    Attributes:
        name: its name
        words: the command
        prepare: calls that make the home that the command works on
        store: the store that it writes to, in the home's folder; empty for the home's own
        home: the home that it writes to, beside the other; empty for the same one
        keeps: whether everything that was there before is there afterwards
        has_ended: whether the command came to its end before it was killed, and refuses to be
            called again; given the folder of both homes
        misread: what the ontology of a home, inferred anew, has otherwise than the mapping says;
            given the home
        replaces: whether it may take back what was there; then all that it leaves was there before
            or is there afterwards, and what is in both is there at any time
        can_be_undone: whether what it did until it was cut off is a run that can be taken back
        with_history: whether the history is to be the same as that of an undisturbed one
        former: whether the home that it works on is one of an earlier version
        feed: the files that the home keeps of the source ``feed`` before it, and after it; none if
            that is not looked at
    """

    name: str
    words: tuple[str, ...]
    prepare: tuple[tuple[str, ...], ...] = ()
    store: str = ""
    home: str = ""
    keeps: bool = True
    has_ended: Callable[[Path], bool] = lambda area: False
    misread: Callable[[str], list[str]] | None = None
    replaces: bool = False
    can_be_undone: bool = False
    with_history: bool = False
    former: bool = False
    feed: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


def _is_salvaged(area: Path) -> bool:
    report = area / "rescued" / REPORT
    return report.exists() and bool(json.loads(report.read_text())["finished"])


def _is_deleted(area: Path) -> bool:
    return call("show", DELETED[-1], home=area / "home").code == 2


FIRST = ("ingest", "{sources}/first.csv", "--max-rejects", "50%")
AGAIN = ("ingest", "{sources}/again.csv", "--max-rejects", "50%")
BY_MAPPING = ("ingest", f"{{sources}}/{TABLE}", "--mapping", f"{{sources}}/{MAPPING}")
BY_FORMER_MAPPING = (
    "ingest",
    f"{{sources}}/{FORMER_TABLE}",
    "--mapping",
    f"{{sources}}/{FORMER_MAPPING}",
)
QUERIES = ("queries", "{sources}/queries.csv")
TRAIN = ("train", "--preset", "experts", "--name", "m")
COMPLETE = ("complete", "--model", "m", "--target-precision", "0.01", "--write")
FEED = ("--source", "feed", "--max-rejects", "50%")
YESTERDAY = ("ingest", "{sources}/first.csv", *FEED)
TONIGHT = ("ingest", "{sources}/tonight.csv", *FEED, "--sync")
TONIGHT_AS_FIRST = (*TONIGHT, "--source", "first.csv")
SEVERAL_YESTERDAY = ("ingest", "{sources}/first.csv", "{sources}/again.csv", *FEED)
SEVERAL_TONIGHT = ("ingest", "{sources}/tonight.csv", "{sources}/again.csv", *FEED)
WRITE_SOURCE = ("export", "--format", "source", "{home}/exported/first.csv")
DELETED = tuple(
    f"item-{number}" for number in range(1, 40, 3) if number % 50 != 7 and number % 10 != 3
)
INTO_RDF = ("--store", "rdf:{home}/quads")

WRITE_PATHS = (
    WritePath("ingest", FIRST),
    WritePath("ingest again", AGAIN, prepare=(FIRST,)),
    WritePath("ingest by a mapping", BY_MAPPING, misread=misread),
    WritePath(
        "ingest by an edited mapping", BY_MAPPING, prepare=(BY_FORMER_MAPPING,), misread=misread
    ),
    WritePath(
        "ingest into RDF", (*INTO_RDF, *FIRST), prepare=((*INTO_RDF, "init"),), store="rdf:quads"
    ),
    WritePath(
        "copy to RDF", ("copy", "--to", "rdf:{home}/copy"), prepare=(FIRST,), store="rdf:copy"
    ),
    WritePath(
        "copy to Ladybug",
        ("copy", "--to", "ladybug:{home}/copy"),
        prepare=(FIRST,),
        store="ladybug:copy",
    ),
    WritePath(
        "copy a history to RDF",
        ("copy", "--to", "rdf:{home}/copy"),
        prepare=(YESTERDAY, TONIGHT, ("delete", *DELETED)),
        store="rdf:copy",
        with_history=True,
    ),
    WritePath(
        "copy a history to Ladybug",
        ("copy", "--to", "ladybug:{home}/copy"),
        prepare=(YESTERDAY, TONIGHT, ("delete", *DELETED)),
        store="ladybug:copy",
        with_history=True,
    ),
    WritePath("rebuild", ("rebuild",), prepare=(FIRST, AGAIN)),
    WritePath(
        "rebuild RDF",
        (*INTO_RDF, "rebuild"),
        prepare=((*INTO_RDF, "init"), (*INTO_RDF, *FIRST)),
        store="rdf:quads",
    ),
    WritePath("queries", QUERIES, prepare=(FIRST,)),
    WritePath("schema infer", ("schema", "infer"), prepare=(FIRST,)),
    WritePath("complete --write", COMPLETE, prepare=(FIRST, TRAIN)),
    WritePath("validate", ("validate",), prepare=(FIRST,)),
    WritePath(
        "salvage",
        ("salvage", "{home}/../rescued"),
        prepare=(FIRST, QUERIES),
        home="rescued",
        has_ended=_is_salvaged,
    ),
    WritePath(
        "update",
        TONIGHT,
        prepare=(YESTERDAY,),
        replaces=True,
        can_be_undone=True,
        feed=(("first.csv",), ("tonight.csv",)),
    ),
    WritePath(
        "update of several files",
        SEVERAL_TONIGHT,
        prepare=(SEVERAL_YESTERDAY,),
        replaces=True,
        can_be_undone=True,
        feed=(("first.csv", "again.csv"), ("tonight.csv", "again.csv")),
    ),
    WritePath(
        "undo",
        ("undo", "{run}"),
        prepare=(YESTERDAY, TONIGHT),
        replaces=True,
        can_be_undone=True,
        feed=(("tonight.csv",), ("first.csv",)),
    ),
    WritePath(
        "delete",
        ("delete", *DELETED),
        prepare=(YESTERDAY,),
        replaces=True,
        can_be_undone=True,
        has_ended=_is_deleted,
    ),
    WritePath(
        "sources --order",
        ("sources", "--order", "first.csv,again.csv"),
        prepare=(FIRST, AGAIN),
        replaces=True,
        can_be_undone=True,
    ),
    WritePath(
        "update of an earlier version's home",
        TONIGHT_AS_FIRST,
        prepare=(FIRST,),
        replaces=True,
        can_be_undone=True,
        former=True,
    ),
    WritePath("export", ("export", "--format", "csv", "{home}/exported"), prepare=(FIRST,)),
    WritePath(
        "export --format source",
        (*WRITE_SOURCE, "--predicted"),
        prepare=(FIRST, TRAIN, COMPLETE, WRITE_SOURCE),
    ),
)


def write_sources(folder: Path, items: int = 1_200) -> None:
    """Write the tables that the commands read.

    ``again.csv`` has half of the items of ``first.csv``, with other values, and as many new ones.
    Both have rows without an id. The tables with a mapping are those of ``write_mapped``.
    ``tonight.csv`` is a night later than ``first.csv``, see :func:`_write_tonight`.
    """
    write_mapped(folder, items)
    folder.mkdir(parents=True, exist_ok=True)
    for name, start, seed in (("first", 0, 1), ("again", items // 2, 2)):
        rng = random.Random(seed)
        with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "title", "category", "colour", "size", "material", "weight"))
            for number in range(start, start + items):
                # Some have no colour but in the title, from which `complete` can fill it in.
                said = rng.choice(COLOURS)
                colour = said if number % 5 else ""
                writer.writerow(
                    (
                        "" if number % 50 == 7 else f"item-{number}",
                        f"A {said} thing, number {number}",
                        f"Things > Kind {number % 7}",
                        colour,
                        f"{rng.randrange(40)} cm",
                        rng.choice(("oak", "clay", "steel")),
                        f"{rng.randrange(1000)} g",
                    )
                )
    _write_tonight(folder)
    with (folder / "queries.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("query", "item", "impressions", "clicks"))
        writer.writerows(
            (f"{COLOURS[number % 6]} thing {number}", f"item-{number}", 10, 3)
            for number in range(2 * items)
        )


def _write_tonight(folder: Path) -> None:
    """Write a table in which rows of ``first.csv`` have other values, or none, or are gone.

    All have ids, so that what is gone can be retired; a few are new.
    """
    with (folder / "first.csv").open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    with (folder / "tonight.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        for number, (id, title, category, *values, weight) in enumerate(rows):
            if not id or number % 10 == 3:
                continue
            if number % 4 == 1:
                title = f"{title}, second edition"
                weight = f"{number + 1000} g"
            elif number % 4 == 2:
                weight = ""
            writer.writerow((id, title, category, *values, weight))
        for number in range(len(rows) // 10):
            new = (f"new-{number}", f"A new thing, number {number}", "Things > New", "red")
            writer.writerow((*new, "1 cm", "oak", "5 g"))


def state_of(home: str, url: str, with_history: bool = False) -> State:
    """Return what a home and the store at ``url`` (empty for the home's own) say.

    Times and the ids of runs, which differ from run to run, are left out.
    """
    opened = Home.open(home)
    hashes = {}
    with open_store(url or opened.store_url, create=False, read_only=True) as store:
        facts = frozenset(_facts(store))
        if with_history:
            hashes["history"] = _digest([_told(batch) for batch in store.changes()])
    hashes["graph"] = _digest(sorted(facts))
    hashes["order of sources"] = ",".join(opened.source_order())
    if opened.ontology_path.exists():
        hashes["ontology"] = opened.ontology().content_hash()
        origin = Origin.of(opened.ontology_path)
        hashes["inferred ontology"] = "" if origin is None else origin.inferred
    hashes["what mappings say"] = load_declared(opened).digest()
    if opened.shapes_path.exists():
        hashes["shapes"] = _digest([opened.shapes_path.read_text(encoding="utf-8")])
    with opened.ledger() as ledger:
        hashes["queries"] = _digest(
            sorted((row.query, row.item, row.clicks, row.purchases) for row in ledger.query_log())
        )
        hashes["rejects"] = _digest(
            sorted((row.line, row.reason, row.text) for row in ledger.rejects(None))
        )
    # Not what a killed export was still writing, whose name begins with a dot.
    for path in sorted((opened.path / EXPORTED).glob("[!.]*")):
        hashes[f"{EXPORTED}/{path.name}"] = _digest(_without_runs(path))
    return State(hashes, facts)


def _facts(store: GraphStore) -> list[tuple[str, ...]]:
    facts: list[tuple[str, ...]] = []
    for batch in store.items():
        for row in batch.to_pylist():
            images = "|".join(row["images"] or [])
            texts = (f"{row[name]}" for name in ("title", "description", "category"))
            sources = _sources(item_references(row))
            facts.append(("item", row["id"], *texts, images, sources))
    for batch in store.scan():
        for row in batch.to_pylist():
            names = ("id", "item", "property", "value", "language", "rank", "source", "row")
            sources = _sources(statement_references(row))
            facts.append(("statement", *(f"{row[name]}" for name in names), sources))
    return facts


def _sources(references: Sequence[Reference]) -> str:
    """Return what each source says of a row, in the order of their arrival."""
    kept = [
        {name: value for name, value in each.items() if name not in ("batch", "time") and value}
        for each in references
    ]
    return json.dumps(kept, sort_keys=True)


def _told(batch: ChangeBatch) -> list[list[str]]:
    """Return what a write changed, and which run made it."""
    return sorted([f"{value}" for value in row.values()] for row in batch.changes.to_pylist())


def _without_runs(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    left_out = {index for index, name in enumerate(rows[0]) if name in ("batch", "time")}
    if not left_out:
        return [[path.read_bytes().hex()]]
    return sorted([cell for index, cell in enumerate(row) if index not in left_out] for row in rows)


def files_of_feed(home: str) -> tuple[bytes, ...] | str:
    """Return the files that an export of the source ``feed`` writes, or the line that refuses it.

    Raises RuntimeError if it fails otherwise.
    """
    out = Path(home).parent / "feed"
    shutil.rmtree(out, ignore_errors=True)
    # Into a folder, whether it is one file or several.
    words = ("export", "--format", "source", "--source", "feed", "--json")
    result = call(*words, out / "one", home=Path(home))
    if result.code and result.is_explained and "is not kept" in result.err:
        return result.err.splitlines()[-1]
    if result.code:
        raise RuntimeError(f"the source is not written: {result}")
    return tuple(Path(path).read_bytes() for path in result.json["files"])


def _digest(rows: Sequence[object]) -> str:
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def _kept(state: State) -> set[tuple[str, ...]]:
    """Return what no source can replace: the ids of items, and what is said of them."""
    # The title of an item and the provenance of a statement are those of the last source.
    return {fact[: 2 if fact[0] == "item" else 6] for fact in state.facts}


@dataclass(frozen=True)
class Before:
    """What the home's own store, and the one that a command writes to, say before the command."""

    own: State
    written: State

    @property
    def facts(self) -> frozenset[tuple[str, ...]]:
        """What the one says that is written to."""
        return self.written.facts


@dataclass(frozen=True)
class Undisturbed:
    """How many changes of files a command makes if nothing happens, and how long it takes."""

    changes: int
    seconds: float


class CommandTrial:
    """A command that writes, on a copy of a home each time; subclasses cut it off.

    ``base`` is the home before the command, ``work`` the copy, in the folder ``area``.
    """

    def __init__(self, path: WritePath, plan: Plan) -> None:
        self.path = path
        self.plan = plan
        self.sources = plan.folder / "sources"
        self.base = plan.folder / "base"
        self.area = plan.folder / "work"
        self.outcome = Outcome()
        self.runs: list[str] = []
        """The runs that the home knows before the command."""

    @property
    def work(self) -> Path:
        """The home that the command works on."""
        return self.area / "home"

    def prepare(self) -> None:
        """Make the home that the command works on."""
        write_sources(self.sources, self.plan.items)
        for words in (("init",), *self.path.prepare):
            if self.path.former:
                call_former(*self._words(words, self.base), home=self.base)
                continue
            result = call(*self._words(words, self.base), home=self.base)
            if result.code:
                raise RuntimeError(f"{' '.join(words)} fails: {result}")
        if self.path.can_be_undone and not self.path.former:
            self.runs = self._runs(self.base)

    def begin(self) -> None:
        """Copy the home."""
        shutil.rmtree(self.area, ignore_errors=True)
        shutil.copytree(self.base, self.work)

    def start(self) -> Child:
        """Start the command."""
        return command(*self._words(self.path.words, self.work), home=self.work)

    def again(self) -> Result:
        """Call the command, and wait for its end."""
        return call(*self._words(self.path.words, self.work), home=self.work)

    def run_undisturbed(self) -> Undisturbed:
        """Call the command twice, the second time with all that it reads in the cache."""
        for _ in range(2):
            self.begin()
            with Changes(self.area) as changes, self.start() as child:
                while child.is_running:
                    changes.wait_for(changes.count + 1, 0.01)
                seconds = time.monotonic() - child.began
                result = child.result()
                changes.read()
            if result.code:
                raise RuntimeError(f"{self.path.name} fails undisturbed: {result}")
        return Undisturbed(changes.count, seconds)

    def state(self, home: Path) -> State:
        """Return what the home and the store that the command writes to say.

        ``home`` is the one that the command is called with. Raises RuntimeError if it cannot be
        read.
        """
        return self._state(self._target(home), self._url(home))

    def _state(self, home: Path, url: str) -> State:
        if not _place(home, url).exists():
            return State({}, frozenset())
        state: State = run(state_of, str(home), url, self.path.with_history)
        return state

    def before(self) -> Before:
        """Return what there is before the command."""
        return Before(self._state(self.base, ""), self.state(self.base))

    def check_left(self, name: str, before: Before) -> None:
        """Look at what the command left when it was cut off."""
        if self.path.misread is not None:
            self._check_readings(name, self.path.misread)
        if not before.own.facts and not before.written.facts:
            return
        reader = call("stats", home=self.work)
        if reader.code:
            self.bad(name, f"a reader fails: {reader}")
        if not self.path.keeps or self.path.replaces:
            return
        try:
            lost = _kept(before.own) - _kept(self._state(self.work, ""))
            if before.written.facts and self._url(self.work):
                lost |= _kept(before.written) - _kept(self.state(self.work))
        except RuntimeError as error:
            self.bad(name, str(error))
            return
        if lost:
            self.bad(name, f"{len(lost)} of what was there before are lost, as {min(lost)}")

    def _check_readings(self, name: str, misread: Callable[[str], list[str]]) -> None:
        """Infer the ontology of what the command left, in a copy, and look at how it reads."""
        if not _place(self.work, "").exists():
            return
        copy = self.plan.folder / "left"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.work, copy)
        inferred = call("schema", "infer", home=copy)
        if inferred.code:
            self.bad(name, f"the ontology of what is left is not inferred: {inferred}")
            return
        for problem in run(misread, str(copy)):
            self.bad(name, problem)

    def check_between(self, name: str, before: Before, expected: State) -> None:
        """Look whether all that a command left was there before, or is there at its end."""
        if not self.path.replaces:
            return
        try:
            left = self.state(self.work).facts
        except RuntimeError as error:
            self.bad(name, str(error))
            return
        lost = (before.facts & expected.facts) - left
        strange = left - before.facts - expected.facts
        for what, facts in (("lost", lost), ("neither from before nor from after", strange)):
            if facts:
                self.bad(name, f"{len(facts)} of what is there is {what}, as {min(facts)}")

    def check_exported(self, name: str, before: Before, expected: State) -> None:
        """Look whether each file that the command exports is the old one or the new one."""
        names = [each for each in expected.hashes if each.startswith(EXPORTED)]
        if not names:
            return
        left = self._state(self.work, "").hashes
        for each in names:
            old = before.own.hashes.get(each)
            new = expected.hashes[each]
            found = left.get(each)
            if found not in (old, new):
                self.bad(name, f"{each} is neither the old file nor the new one")
            self.outcome.count("new files" if found == new else "old files")

    def check_feed(self, name: str, has_ended: bool) -> None:
        """Look whether the files that are kept of a source are the old or the new ones."""
        old, new = (self._contents(names) for names in self.path.feed)
        if not new:
            return
        try:
            files = files_of_feed(str(self.work))
        except RuntimeError as error:
            self.bad(name, str(error))
            return
        if has_ended and files != new:
            self.bad(name, f"the source is not written as it was read last: {files!r:.300}")
        elif isinstance(files, tuple) and files not in (old, new):
            self.bad(name, "the source is written neither as it was nor as it is read last")
        if not has_ended:
            kinds = {old: "old sources", new: "new sources"}
            self.outcome.count("refused" if isinstance(files, str) else kinds.get(files, "others"))

    def _contents(self, names: Sequence[str]) -> tuple[bytes, ...]:
        return tuple((self.sources / name).read_bytes() for name in names)

    def check_undo(self, name: str, before: Before, expected: State) -> None:
        """Take back what a command left, in a copy, and call the command again."""
        if not self.path.can_be_undone:
            return
        try:
            new = [run for run in self._runs(self.work) if run not in self.runs]
        except RuntimeError as error:
            self.bad(name, str(error))
            return
        if len(new) > 1:
            self.bad(name, f"the killed command shows as {len(new)} runs")
        if not new:
            return
        home = self.plan.folder / "undone" / "home"
        shutil.rmtree(home.parent, ignore_errors=True)
        shutil.copytree(self.work, home)
        undone = call("undo", new[0], home=home)
        if undone.code:
            self.bad(name, f"what was left is not undone: {undone}")
            return
        if (found := self.state(home).facts) != before.facts:
            other = min(found ^ before.facts)
            self.bad(name, f"undo of what was left does not lead back, as {other}")
        old = self._contents(self.path.feed[0])
        if old and (files := files_of_feed(str(home))) != old:
            self.bad(name, f"the source is not written as before what was undone: {files!r:.300}")
        again = call(*self._words(self.path.words, home), home=home)
        if again.code:
            self.bad(name, f"the command, called after undo, fails: {again}")
        elif self.state(home).facts != expected.facts:
            self.bad(name, "the command, called after undo, ends otherwise")

    def _runs(self, home: Path) -> list[str]:
        """Return the runs that a home tells of, oldest first."""
        result = call("history", "--json", home=home)
        if result.code:
            raise RuntimeError(f"the history is not told: {result}")
        # Earlier versions did not note theirs.
        return [each["run"] for each in result.json if each["run"]]

    def check_end(self, name: str, expected: State) -> None:
        """Call the command again, and compare its end with that of an undisturbed one."""
        self.verify(name, "afterwards")
        has_ended = self.path.has_ended(self.area)
        again = self.again()
        if again.code and not has_ended:
            self.bad(name, f"the command, called again, fails: {again}")
            return
        self.verify(name, "after the command was called again")
        self.check_feed(name, has_ended=True)
        for folder in (self.work / "sources", self.work / EXPORTED):
            for path in folder.glob(".writing.*"):
                self.bad(name, f"{path.relative_to(self.work)} is left for ever")
        try:
            found = self.state(self.work).hashes
        except RuntimeError as error:
            self.bad(name, str(error))
            return
        differing = [key for key, value in expected.hashes.items() if found.get(key) != value]
        if differing:
            self.bad(name, f"other {', '.join(differing)} than undisturbed")

    def verify(self, name: str, when: str) -> None:
        """Call ``verify`` on the store, if there is one by now."""
        home = self._target(self.work)
        url = self._url(self.work)
        store = ("--store", url) if url else ()
        if _place(home, url).exists():
            result = call(*store, "verify", home=home)
            if result.code:
                self.bad(name, f"verify {when} says: {result.out.strip()[:300]} {result}")

    def bad(self, name: str, what: str) -> None:
        """Note a try that did what must not happen."""
        self.outcome.bad.append(f"{self.path.name}, {name} (seed {self.plan.seed}): {what}")

    def _words(self, words: Sequence[str], home: Path) -> list[str]:
        run = self.runs[-1] if self.runs else ""
        return [word.format(home=home, sources=self.sources, run=run) for word in words]

    def _target(self, home: Path) -> Path:
        return home.parent / self.path.home if self.path.home else home

    def _url(self, home: Path) -> str:
        scheme, _, place = self.path.store.partition(":")
        return f"{scheme}:{home / place}" if place else ""


def _place(home: Path, url: str) -> Path:
    """Return the folder of a store, or of a home's own."""
    return Path(url.partition(":")[2]) if url else home / "graph"
