"""Wrong configurations of every kind: each is refused with one line, or read, and takes no memory.

Valid files are changed at random: numbers become texts, texts become lists, values become null,
huge, nested or missing, keys come twice, and bytes are flipped, cut off, doubled or encoded in
another way. What loads such a file may raise errors of ours, and nothing else.
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import random
import resource
import shutil
import string
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from tests.faults.children import Child
from tests.faults.trials import Outcome, Plan

MEMORY = 2 << 30
"""Bytes that a process may take besides what it has when it begins."""
LONGEST_SECONDS = 30.0
STARTING_SECONDS = 120.0
"""Seconds that a process may take to import what a kind of file needs, on a busy machine."""
FILES_OF_A_PROCESS = 2_000
READY = "ready"

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    2,
    10**6,
    10**9,
    10**18,
    10**400,
    -(10**30),
    0.5,
    -0.5,
    1e308,
    float("nan"),
    float("inf"),
    float("-inf"),
    "",
    "x",
    "\x1b[31m",
    "\0",
    "\ud800",
    "../../etc/passwd",
    "/dev/zero",
    "{id.__class__}",
    "a" * 100_000,
    "(" * 5_000,
    "a{99999999999999999999}",
    [],
    [[]],
    ["a", 1, None],
    [1] * 1000,
    {},
    {"a": {"b": {}}},
    {"": None},
)


@dataclass(frozen=True)
class Kind:
    """A kind of file: the bytes of a valid one, and what loads it.

    ``load`` gets the bytes of a file and an empty folder.
    """

    name: str
    valid: bytes
    load: Callable[[bytes, Path], object]


def changed(data: bytes, rng: random.Random) -> bytes:
    """Return a valid file with a change or several."""
    document = _document(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if document is not None and rng.random() < 0.7:
            document = _changed_document(document, rng)
            text = _written(document, rng, is_toml=not data.lstrip().startswith((b"{", b"[")))
            data = text.encode(errors="surrogatepass")
        else:
            data = _changed_bytes(data, rng)
            document = None
    return data


def _document(data: bytes) -> Any:
    """Return what a JSON or TOML file says; None if it is neither."""
    import tomllib

    try:
        text = data.decode()
        return json.loads(text) if text.startswith(("{", "[")) else tomllib.loads(text)
    except ValueError:
        return None


def _written(document: Any, rng: random.Random, is_toml: bool) -> str:
    if is_toml and isinstance(document, dict):
        # By hand, since a writer refuses most of what is tried.
        return "\n".join(f"{json.dumps(key)} = {_toml(value)}" for key, value in document.items())
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    if isinstance(document, dict) and document and rng.random() < 0.03:
        text = f'{text[:-1]}, "deep": {"[" * 50_000}{"]" * 50_000}}}'
    if isinstance(document, dict) and document and rng.random() < 0.05:
        # A key that comes twice.
        key = rng.choice(list(document))
        text = f"{text[:-1]}, {json.dumps(key)}: {json.dumps(rng.choice(ODD_VALUES))}}}"
    return text


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    return json.dumps(value, ensure_ascii=False)


def _changed_document(document: Any, rng: random.Random) -> Any:
    """Return a document in which one value, anywhere, was changed."""
    document = copy.deepcopy(document)
    places = list(_places(document))
    if not places or rng.random() < 0.03:
        return rng.choice(ODD_VALUES)
    container, key = rng.choice(places)
    match rng.randrange(6):
        case 0:
            del container[key]
        case 1 if isinstance(container, dict):
            container["".join(rng.choices(string.ascii_letters, k=6))] = container.pop(key)
        case 2:
            # What is right elsewhere.
            other, other_key = rng.choice(places)
            container[key] = copy.deepcopy(other[other_key])
        case 3:
            nested: Any = container[key]
            for _ in range(rng.choice((1, 3, 100))):
                nested = [nested] if rng.random() < 0.5 else {"a": nested}
            container[key] = nested
        case _:
            container[key] = copy.deepcopy(rng.choice(ODD_VALUES))
    return document


def _places(document: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
    if isinstance(document, dict) and depth < 20:
        for key, value in document.items():
            yield document, key
            yield from _places(value, depth + 1)
    elif isinstance(document, list) and depth < 20:
        for index, value in enumerate(document):
            yield document, index
            yield from _places(value, depth + 1)


def _changed_bytes(data: bytes, rng: random.Random) -> bytes:
    place = rng.randrange(len(data) + 1)
    match rng.randrange(9):
        case 0:
            return data[:place]
        case 1:
            return data + data
        case 2:
            return data[:place] + rng.randbytes(rng.choice((1, 8, 1000))) + data[place:]
        case 3:
            flipped = bytearray(data)
            for _ in range(min(len(data), rng.choice((1, 1, 5, 50)))):
                flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
            return bytes(flipped)
        case 4:
            encoding = rng.choice(("utf-16", "utf-32", "latin-1", "cp037"))
            return data.decode(errors="replace").encode(encoding, errors="replace")
        case 5:
            return rng.choice((b"", b"\0" * 1000, b"\xef\xbb\xbf" + data, b"[" * 100_000))
        case 6:
            return data[:place] + b"a" * 3_000_000 + data[place:]
        case 7:
            # A giant number in the place of another one.
            digits = [index for index, byte in enumerate(data) if chr(byte).isdigit()]
            at = rng.choice(digits) if digits else place
            return data[:at] + b"9" * rng.choice((12, 30, 5000)) + data[at + 1 :]
        case _:
            end = min(len(data), place + rng.choice((1, 10, 100)))
            return data[:place] + data[end:]


def fuzz(kinds: Sequence[str] | None, plan: Plan) -> Outcome:
    """Load ``plan.count`` wrong files, spread over the kinds (all of them if None)."""
    names = list(kinds or KINDS)
    files = [(names[number % len(names)], number // len(names)) for number in range(plan.count)]
    # Kind by kind, so that a process imports what it needs once.
    files.sort(key=lambda file: names.index(file[0]))
    outcome = Outcome(figures={"files": 0, "read": 0, "refused": 0})
    while outcome.figures["files"] < plan.count:
        first = outcome.figures["files"]
        folder = plan.folder / str(first)
        folder.mkdir(parents=True)
        tried = files[first : first + FILES_OF_A_PROCESS]
        with Child(_try_all, tried, plan.seed, str(folder)) as child:
            _collect(child, tried, plan, outcome)
        shutil.rmtree(folder)
    return outcome


def _collect(child: Child, files: Sequence[tuple[str, int]], plan: Plan, outcome: Outcome) -> None:
    """Receive the outcomes of files until all are tried or the process ends or hangs."""
    for name, number in files:
        patience = LONGEST_SECONDS + STARTING_SECONDS
        try:
            while child.received.poll(patience):
                problem = child.received.recv()
                # A process says when it has made itself ready for the next kind.
                if problem != READY:
                    break
                patience = LONGEST_SECONDS
            else:
                problem = f"takes more than {patience:.0f} seconds"
                child.kill()
        except EOFError:
            problem = f"ends the process: {child.result(5.0)}"
        outcome.figures["files"] += 1
        plan.progress(outcome.figures["files"])
        if problem in ("read", "refused"):
            outcome.figures[problem] += 1
            continue
        outcome.bad.append(f"{name}, file {number} (seed {plan.seed}): {problem}")
        if not child.is_running:
            return


def _try_all(sender: Connection, files: Sequence[tuple[str, int]], seed: int, folder: str) -> None:
    kind: Kind | None = None
    name = ""
    for position, (needed, number) in enumerate(files):
        if kind is None or needed != name:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
            name = needed
            kind = KINDS[name]()
            # All that is imported on the way counts as what the process has when it begins.
            kind.load(kind.valid, _empty(Path(folder) / f"{position}-valid"))
            size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, resource.RLIM_INFINITY))
            sender.send(READY)
        data = changed(kind.valid, random.Random(f"{name} {seed} {number}"))
        sender.send(_outcome(kind, data, _empty(Path(folder) / str(position))))


def _outcome(kind: Kind, data: bytes, folder: Path) -> str:
    from cli import explain

    began = time.monotonic()
    try:
        kind.load(data, folder)
    except Exception as error:
        message, _ = explain(error)
        if message.startswith("unexpected ") or "not enough memory" in message:
            return f"{type(error).__name__}: {str(error)[:300]} ({data[:200]!r})"
        if "\n" in message.strip():
            return f"says more than a line: {message[:300]!r}"
        outcome = "refused"
    else:
        outcome = "read"
    seconds = time.monotonic() - began
    return outcome if seconds < LONGEST_SECONDS else f"takes {seconds:.0f} seconds"


def _empty(folder: Path) -> Path:
    folder.mkdir(parents=True)
    return folder


def _written_file(load: Callable[[Path], object], name: str) -> Callable[[bytes, Path], object]:
    """Return a loader of bytes from one of paths."""

    def load_bytes(data: bytes, folder: Path) -> object:
        (folder / name).write_bytes(data)
        return load(folder / name)

    return load_bytes


def _settings() -> Kind:
    from training.config import TrainOptions, read_settings
    from training.presets import preset
    from training.setup import model_config

    options = TrainOptions(preset="mbsd", size="tiny")
    chosen = preset("mbsd", "tiny")

    def load(path: Path) -> object:
        settings = read_settings(path, [], chosen.model.as_dict(), chosen.recipe.as_settings())
        return model_config(options, settings, [])

    lines = {**chosen.recipe.as_settings(), **chosen.model.as_dict()}
    text = "\n".join(
        f"{key} = {_toml(list(value) if isinstance(value, tuple) else value)}"
        for key, value in lines.items()
        if value is not None
    )
    return Kind("settings of a training", text.encode(), _written_file(load, "c.toml"))


def _model_file(name: str) -> Callable[[], Kind]:
    """Return the kind of a file of a model folder; its digest in the manifest is right."""

    def kind() -> Kind:
        from fusion.checkpoint import ModelFolder, add_file
        from serving.calibration import Calibration

        files = _made_model()

        def load(data: bytes, folder: Path) -> object:
            for each, content in files.items():
                (folder / each).write_bytes(content)
            if name == "manifest.json":
                (folder / name).write_bytes(data)
            else:
                add_file(folder, name, data)
            opened = ModelFolder(folder)
            return Calibration(opened.calibration)

        return Kind(f"{name} of a model folder", files[name], load)

    return kind


def _made_model() -> dict[str, bytes]:
    import tempfile

    import torch

    from encoders.tokenizer import CatalogTokenizer
    from fusion.build import build_model
    from fusion.checkpoint import add_file, save_pretrained
    from schema.ontology import Ontology, PropertySpec
    from training.presets import preset

    tokenizer = CatalogTokenizer.train(["red mug", "blue mug", "red chair"], 40, 40)
    colours = PropertySpec("colour", values=("red", "blue"), counts=(2, 1), coverage=1.0)
    ontology = Ontology([colours], categories={"Mugs": 2})
    torch.manual_seed(0)
    config = preset("joint", "tiny").model
    model = build_model(config, tokenizer, ontology)
    about = {"preset": "joint", "size": "tiny", "seed": 0, "step": 5, "terms": ["lpm"]}
    calibration = {
        "version": 2,
        "confidence": 0.95,
        "temperatures": {
            "global": 1.1,
            "situations": {"title": {"all": 1.2, "properties": {"colour": 1.3}}},
        },
        "proven": {
            "title": {"colour": {"cells": 20, "steps": [[0.9, 0.8, 0.5], [0.8, 0.5, 0.75]]}}
        },
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        save_pretrained(path, config, tokenizer, ontology, model.state_dict(), about)
        add_file(path, "calibration.json", json.dumps(calibration).encode())
        return {each.name: each.read_bytes() for each in path.iterdir()}


def _wrapped_model() -> Kind:
    import transformers

    from fusion.build import least_parameters
    from fusion.config import ModelConfig

    settings = transformers.VisualBertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=50,
        visual_embedding_dim=8,
    ).to_dict()

    def load(data: bytes, folder: Path) -> object:
        wrapped = data.decode(errors="replace")
        config = ModelConfig(architecture="visual_bert", dim=16, heads=2, wrapped=wrapped)
        return least_parameters(config)

    return Kind("configuration of a wrapped model", json.dumps(settings).encode(), load)


def _text_model() -> Kind:
    import torch
    import transformers

    from encoders.text_model import TextModelSettings
    from fusion.build import least_parameters
    from fusion.config import ModelConfig

    settings = transformers.BertConfig(
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        vocab_size=50,
    )
    torch.manual_seed(0)
    bert: Any = transformers.BertModel(settings, add_pooling_layer=False).eval()

    def load(data: bytes, folder: Path) -> object:
        described = data.decode(errors="replace")
        return least_parameters(ModelConfig(text_model=described))

    return Kind("description of a text model", TextModelSettings.of(bert).to_json().encode(), load)


def _pretrained(model: str) -> Callable[[], Kind]:
    def kind() -> Kind:
        import transformers

        from fusion.pretrained import Pretrained
        from training.presets import preset

        kinds: dict[str, Any] = {"bert": transformers.BertConfig, "vit": transformers.ViTConfig}
        settings = kinds[model](
            hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
        ).to_dict()

        def load(data: bytes, folder: Path) -> object:
            (folder / "config.json").write_bytes(data)
            return Pretrained.open(str(folder)).fit(preset("mbsd", "tiny").model)

        return Kind(
            f"configuration of a {model} of transformers", json.dumps(settings).encode(), load
        )

    return kind


def _vocabulary(name: str) -> Callable[[], Kind]:
    def kind() -> Kind:
        from encoders.tokenizer import SPECIAL_TOKENS, CatalogTokenizer, wordpiece_tokenizer
        from fusion.pretrained import read_pieces

        words = [*SPECIAL_TOKENS, "red", "mug", "##s"]
        text = "\n".join(words)
        if name.endswith(".json"):
            text = wordpiece_tokenizer(words).to_str()

        def load(path: Path) -> object:
            tokenizer = CatalogTokenizer.pretrained(read_pieces(str(path)), ["red mugs"], 10)
            return tokenizer.pieces(tokenizer.words("red mugs"), 5)

        return Kind(name, text.encode(), _written_file(load, name))

    return kind


def _split() -> Kind:
    from kg.splits import read_split

    text = "item,split\na,train\nb,validation\nc,test\n"
    return Kind("a split", text.encode(), _written_file(read_split, "split.csv"))


def _cells() -> Kind:
    from commands.loading import read_cells

    text = "item,property\na,colour\nb,size\n"
    return Kind("cells to complete", text.encode(), _written_file(read_cells, "cells.csv"))


def _truth() -> Kind:
    from evaluation.report import read_truth

    text = "item,property,value,kind\na,colour,red,hidden\nb,size,5,corrupted\n"
    return Kind("true values", text.encode(), _written_file(read_truth, "truth.csv"))


def _completions() -> Kind:
    import numpy as np

    from evaluation.report import read_completions, render, report_data
    from kg.image_files import ImageFiles
    from kg.snapshot import GraphSnapshot
    from schema.ontology import Ontology, PropertySpec

    snapshot = GraphSnapshot(
        items=["a"],
        titles=["Red mug"],
        categories=[None],
        images=[None],
        properties=["colour"],
        values=["red"],
        triples=np.array([[0, 0, 0]]),
        indptr=np.array([0, 1]),
    )
    ontology = Ontology([PropertySpec("colour", values=("red",), counts=(1,), coverage=1.0)])
    truth = {("a", "colour"): {"red"}}
    line = {
        "item": "a",
        "property": "colour",
        "candidates": [{"value": "red", "probability": 0.9}, {"value": "blue", "probability": 0.1}],
        "decision": "fill",
        "evidence": {
            "title": 0.5,
            "image": None,
            "known": [{"property": "kind", "value": "mug", "effect": 0.1}],
        },
    }

    def load(path: Path) -> object:
        lines = read_completions(path)
        return render(report_data(snapshot, ontology, lines, truth, ImageFiles([])))

    return Kind("completions", f"{json.dumps(line)}\n".encode(), _written_file(load, "c.jsonl"))


def _mapping() -> Kind:
    text = """name = "shop"
id = ["sku", "id"]
title = "name"
category = { any = ["category"] }
category_separator = ">"
image = "image"
image_pattern = "{id}.jpg"
image_folder = "images"
properties = "*"
ignore = ["url"]
packed = { column = "more", pair = ":", item = ";" }
multi = "|"
missing = ["NA", "-"]
language = "en"
delimiter = ","
quote = '"'
guess = { columns = ["sku"], width = 3, cell = 1, pattern = "^a" }
parent = "of"
locale = "de-DE"
columns = { price = { property = "cost", unit = "EUR", datatype = "decimal", locale = "de-DE", \
missing = ["0"] }, colour = { multi = "|", quoted = true, html = true, language = "en" } }
pairs = [{ name = "a{n}", value = "v{n}", unit = "u{n}", multi = "," }]
languages = { columns = ["{name}-{language}"], tag = "tag", value = "value", codes = { us = "en" } }
"""
    table = (
        "sku,name,category,image,more,colour,price,of,name-de,a1,v1,u1\n"
        '1,Red mug,A>B,1.jpg,size:5;kind:x,red|blue,"1.310",,Becher,height,9,cm\n'
        "2,Red mug,A>B,1.jpg,size:5;kind:x,red,2,1,Becher,height,9,cm\n"
    )
    return Kind("a mapping", text.encode(), _loaded_by(table))


def _long_mapping() -> Kind:
    text = """name = "long"
title = ["name"]
header = 1
escape = ""
encoding = "utf-8"
triples = { item = "sku", property = "p", value = "v", unit = "u", language = "l" }
columns = { size = { datatype = "quantity", unit = "cm" } }
"""
    table = "sku,p,v,u,l\n1,name,Red mug,,en\n1,size,5,cm,\n"
    return Kind("a mapping of a long table", text.encode(), _loaded_by(table))


def _variant_mapping(variants: str, table: str) -> Callable[[], Kind]:
    """Return the kind of a mapping with this ``variants``, which fits a table."""
    text = f'id = "id"\ntitle = "title"\nvariants = {variants}\n'
    return lambda: Kind("a mapping with variants", text.encode(), _loaded_by(table))


def _loaded_by(table: str) -> Callable[[bytes, Path], object]:
    """Return what loads a table by a mapping."""
    from contextlib import ExitStack

    from kg.ingest.assemble import Origin
    from kg.ingest.source_plan import plan_sources
    from schema.declared import DeclaredReadings

    def load(data: bytes, folder: Path) -> object:
        (folder / "items.csv").write_text(table)
        (folder / "shop.toml").write_bytes(data)
        origin = Origin("items.csv", "items.csv", "run", "time")
        declared = DeclaredReadings()
        with ExitStack() as stack:
            mapping = str(folder / "shop.toml")
            (plan,) = plan_sources([folder / "items.csv"], mapping, None, stack).plans
            batches = list(plan.assembled_batches(origin))
            if plan.stated is not None:
                for property, column in (pair for batch in batches for pair in batch.columns):
                    declared.add(plan.stated, property, column)
            return batches, DeclaredReadings.from_toml(declared.to_toml(), "d.toml").given()

    return load


def _home() -> Kind:
    from kg.home import Home

    text = 'format = 1\nstore = "rdf:graph"\nimage_folders = ["/photos", "/more/photos"]\n'

    def load(path: Path) -> object:
        home = Home.open(path.parent)
        return home.store_url, home.image_files().unreadable(["/photos/1.jpg"])

    return Kind("home.toml", text.encode(), _written_file(load, "home.toml"))


def _ontology() -> Kind:
    from schema.ontology import Ontology
    from schema.shapes import shapes_text

    text = """version = 1
threshold = 0.5
categories = { "A" = 3, "A > B" = 2 }
property = { colour = { datatype = "string", cardinality = "one", coverage = 0.9, \
applies_to = { A = 1.0 }, values = { red = 2, blue = 1 }, case_sensitive = true, \
spellings = { rot = "red" }, synonyms = { red = ["crimson"] } }, size = { datatype = "quantity", \
unit = "cm", cardinality = "many", coverage = 0.5, decimal_mark = ",", date_order = "dmy", \
remark = "odd", values = { "5 cm" = 1 } } }
"""

    def load(path: Path) -> object:
        ontology = Ontology.load(path)
        return ontology.to_toml(), shapes_text(ontology), ontology.applicable("A > B > C")

    return Kind("ontology.toml", text.encode(), _written_file(load, "ontology.toml"))


def _declared() -> Kind:
    from kg.home import Home
    from kg.home_declared import load_declared
    from schema.given_readings import infer_reading

    text = """version = 1
mapping = { shop = { price = { price = { datatype = "decimal", unit = "EUR", \
decimal_mark = ",", date_order = "dmy" }, cost = { decimal_mark = "." } } }, \
other = { price = { price = { datatype = "quantity", unit = "cm", date_order = "mdy" } } } }
"""

    def load(path: Path) -> object:
        declared = load_declared(Home(path.parent))
        # What one home holds, the next command writes again.
        declared.from_toml(declared.to_toml(), "again.toml")
        values = ["1.310", "12,5 cm", "03/04/2024"]
        return [
            infer_reading(name, values, [1, 1, 1], given=given)
            for name, given in declared.given().items()
        ]

    name = "ontology.declared.toml"
    return Kind(name, text.encode(), _written_file(load, name))


def _shapes() -> Kind:
    from kg.quality.shacl import Shapes

    text = """@prefix sh: <http://www.w3.org/ns/shacl#> .
@prefix schema: <https://schema.org/> .
<urn:mine> a sh:NodeShape ; sh:targetClass schema:Product ;
  sh:property [ sh:path schema:name ; sh:minCount 0 ; sh:maxLength 500 ; sh:pattern "^.*$" ] .
"""
    return Kind("shapes.ttl", text.encode(), _written_file(Shapes, "shapes.ttl"))


def _log() -> Kind:
    from schema.training_log import read_training_log
    from training.run_log import RunLog

    line = {"step": 1, "epoch": 0, "loss": {"total": 1.5, "mlm": 0.5}, "lr": 0.1}

    def load(data: bytes, folder: Path) -> object:
        (folder / "log.jsonl").write_bytes(data)
        read_training_log(folder / "log.jsonl")
        return RunLog(folder / "log.jsonl", step=5)

    text = "".join(json.dumps({**line, "step": step}) + "\n" for step in (1, 2, 3))
    return Kind("log.jsonl", text.encode(), load)


def _checkpoint_file(name: str) -> Callable[[], Kind]:
    def kind() -> Kind:
        import torch
        from safetensors.torch import save

        from training.checkpoints import load_checkpoint

        progress = {"step": 5, "seconds": 1.5, "items": 10, "stage": 0, "metrics": {"mrr": 0.5}}
        files = {
            f"{each}.safetensors": save({"a": torch.ones(3)})
            for each in ("weights", "average", "optimizer")
        }
        files["progress.json"] = json.dumps(progress).encode()
        digests = {each: hashlib.sha256(data).hexdigest() for each, data in files.items()}
        files["manifest.json"] = json.dumps(digests).encode()

        def load(data: bytes, folder: Path) -> object:
            step = _empty(folder / "step-00000005")
            changed_files = {**files, name: data}
            if name != "manifest.json":
                digest = hashlib.sha256(data).hexdigest()
                changed_files["manifest.json"] = json.dumps(digests | {name: digest}).encode()
            for each, content in changed_files.items():
                (step / each).write_bytes(content)
            return load_checkpoint(folder)

        return Kind(f"{name} of a checkpoint", files[name], load)

    return kind


def _regions(name: str) -> Callable[[], Kind]:
    def kind() -> Kind:
        import numpy as np

        from encoders.regions import RegionFolder

        features = np.ones((3, 8), np.float32)
        boxes = np.ones((3, 4), np.float32)
        file = io.BytesIO()
        if name.endswith(".npz"):
            np.savez_compressed(file, features=features, boxes=boxes, size=np.array([5, 6]))
        else:
            np.save(file, np.concatenate([features, boxes], 1))

        def load(path: Path) -> object:
            return RegionFolder(path.parent).read("a")

        return Kind(f"regions in {name}", file.getvalue(), _written_file(load, name))

    return kind


KINDS: dict[str, Callable[[], Kind]] = {
    "settings": _settings,
    "model config": _model_file("config.json"),
    "model calibration": _model_file("calibration.json"),
    "model ontology": _model_file("ontology.toml"),
    "model tokenizer": _model_file("tokenizer.json"),
    "model n-grams": _model_file("ngrams.json"),
    "model weights": _model_file("model.safetensors"),
    "model manifest": _model_file("manifest.json"),
    "wrapped model": _wrapped_model,
    "text model": _text_model,
    "pretrained bert": _pretrained("bert"),
    "pretrained vit": _pretrained("vit"),
    "vocabulary": _vocabulary("vocab.txt"),
    "tokenizer": _vocabulary("tokenizer.json"),
    "split": _split,
    "cells": _cells,
    "truth": _truth,
    "completions": _completions,
    "mapping": _mapping,
    "mapping of a long table": _long_mapping,
    "mapping with a group": _variant_mapping(
        """{ group = "id", id = "sku", columns = ["sku"], \
axes = [{ name = "o{n}", value = "v{n}" }] }""",
        "id,title,sku,o1,v1\n1,Mug,1a,colour,red\n1,,1b,,blue\n",
    ),
    "mapping with packed variants": _variant_mapping(
        '{ packed = "more", id = "sku", pair = "=", item = ",", variant = "|" }',
        'id,title,more\n1,Mug,"sku=1a,colour=red|sku=1b,colour=blue"\n',
    ),
    "home": _home,
    "ontology": _ontology,
    "declared": _declared,
    "shapes": _shapes,
    "log": _log,
    "checkpoint progress": _checkpoint_file("progress.json"),
    "checkpoint manifest": _checkpoint_file("manifest.json"),
    "checkpoint weights": _checkpoint_file("weights.safetensors"),
    "regions npz": _regions("a.npz"),
    "regions npy": _regions("a.npy"),
}


def fuzz_configs(plan: Plan) -> Outcome:
    """Load wrong files of all kinds."""
    return fuzz(None, plan)
