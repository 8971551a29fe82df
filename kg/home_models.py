"""The models of a home, told from their folders without loading them: a list, and the champion.

The champion is the model that commands use if none is named. ``home.toml`` says which it is, since
when, and who made it so.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from kg.home import Home
from kg.home_ontology import VocabularyEdits
from kg.model_answers import Answers
from kg.model_lock import LOCKS, is_vacant, model_lock, trained_by
from schema.documents import parse_json_object
from schema.errors import CatalographError, HomeNotFoundError, ModelError, UsageError
from schema.files import is_plain_name, open_named
from schema.manifests import (
    ALIGNMENT_FILE,
    CONFIG,
    EXPERT_FILE,
    MANIFEST,
    NETWORK,
    ONTOLOGY,
    read_digests,
)
from schema.ontology import Ontology
from schema.settings import shown
from schema.terms import now

CHAMPION = "champion"
_MAX_BYTES = 1 << 28
"""A configuration or an ontology that is larger is damaged."""


@dataclass(frozen=True)
class Champion:
    """The model that is used if none is named: since when, and by whom."""

    name: str
    time: str
    by: str

    def as_dict(self) -> dict[str, str]:
        """Return plain data."""
        return {"name": self.name, "time": self.time, "by": self.by}


class Kind(StrEnum):
    """What a model folder holds."""

    EXPERTS = "experts"
    NETWORK = "network"
    BOTH = "both"
    ALIGNMENT = "alignment"


class State(StrEnum):
    """Whether a folder of a home is a model."""

    WHOLE = "whole"
    TRAINING = "training"
    UNFINISHED = "unfinished"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class ModelEntry:
    """What a folder among a home's models says of itself.

    Attributes:
        name: the folder's name
        path: the folder
        state: whether it is a model
        problem: what is wrong with it, or who trains it; None if it is whole
        kind: what it holds; None if it is no model
        time: when it was written, in ISO 8601 and UTC
        items: how many items it has learned from; None if it does not say, as earlier ones
        properties: how many properties it has learned
        size: the bytes of all its files
        held_out: figures of items that were left out in training
        answers: what it can still answer; None if the home or the model has no ontology to read
    """

    name: str
    path: Path
    state: State
    size: int
    problem: str | None = None
    kind: Kind | None = None
    time: str | None = None
    items: int | None = None
    properties: int | None = None
    held_out: Mapping[str, float] | None = None
    answers: Answers | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "name": self.name,
            "kind": self.kind,
            "state": self.state,
            "problem": self.problem,
            "time": self.time,
            "items": self.items,
            "properties": self.properties,
            "bytes": self.size,
            "held_out": None if self.held_out is None else dict(self.held_out),
            "answers": None if self.answers is None else self.answers.as_dict(),
            "path": str(self.path),
        }


def read_champion(home: Home) -> Champion | None:
    """Return a home's champion; None if it has none. Raises HomeNotFoundError if it is damaged."""
    found = home.settings.read().get(CHAMPION)
    if found is None:
        return None
    fields = ("name", "time", "by")
    if (
        not isinstance(found, dict)
        or not all(isinstance(found.get(field), str) for field in fields)
        or not is_plain_name(found["name"])
    ):
        raise HomeNotFoundError(
            f"{home.settings.path} has {CHAMPION} = {shown(found)}: name one with `catalograph "
            "models promote NAME`, or none with `catalograph models promote --none`"
        )
    return Champion(**{field: found[field] for field in fields})


def champion_or(home: Home, name: str | None) -> str | None:
    """Return the model that a command uses: ``name``, or else the champion's folder, if any.

    Raises UsageError if the champion's folder is gone.
    """
    if name is not None:
        return name
    champion = read_champion(home)
    if champion is None:
        return None
    folder = home.models / champion.name
    if not (folder / MANIFEST).is_file():
        raise UsageError(
            f"the champion {champion.name!r} is no model of {home.models} any more: promote "
            "another with `catalograph models promote NAME`, or none with --none, or name a model "
            "with --model"
        )
    return str(folder)


def promote(home: Home, name: str | None, by: str) -> Champion | None:
    """Make a model the champion, or none; it is the caller's to check that it can complete."""
    champion = None if name is None else Champion(name, now(), by)
    with home.settings.changing() as settings:
        settings.pop(CHAMPION, None)
        if champion is not None:
            settings[CHAMPION] = champion.as_dict()
    return champion


def new_folder(models: Path, name: str | None, stem: str) -> Path:
    """Return the folder of a new model: the named one, or else a new ``STEM-NUMBER``.

    Raises UsageError if the name is taken.
    """
    if name is None:
        return numbered_folder(models, stem)
    folder = models / name
    if not is_vacant(folder):
        raise UsageError(f"model {name!r} exists in {models}: choose another name")
    return folder


def numbered_folder(models: Path, stem: str, *, make: bool = True) -> Path:
    """Return the folder of a new model without a name, ``STEM-NUMBER``, and ``make`` it."""
    numbers = [path.name.rpartition("-")[2] for path in models.glob(f"{stem}-*")]
    taken = [int(number) for number in numbers if number.isdigit()]
    number = max(taken, default=0) + 1
    while True:
        folder = models / f"{stem}-{number}"
        if not make:
            return folder
        try:
            # Made at once, so that a training that begins at the same time takes the next number.
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder


def find_own(home: Home, name: str) -> Path:
    """Return the folder of a model of this home, whatever is in it; raises UsageError if none."""
    folder = home.models / name
    if not is_plain_name(name) or not folder.is_dir():
        names = ", ".join(path.name for path in _folders(home)) or "none yet"
        raise UsageError(f"no model {shown(name)} in {home.models}: it has {names}")
    return folder


def find_folder(home: Home, name: str) -> Path:
    """Return a model's folder by its path, or by its name in this home; raises UsageError."""
    path = Path(name)
    return path if (path / MANIFEST).is_file() else find_own(home, name)


def list_models(home: Home) -> list[ModelEntry]:
    """Return what is in the folder of a home's models, the oldest first."""
    current = _Vocabulary.of(home)
    entries = [_entry(folder, current) for folder in _folders(home)]
    return sorted(entries, key=lambda entry: (entry.time or "", entry.name))


def describe_folder(home: Home, folder: Path) -> ModelEntry:
    """Return what a model folder, of this home or another, says of itself."""
    return _entry(folder, _Vocabulary.of(home))


@dataclass(frozen=True)
class _Vocabulary:
    """A home's ontology, None if it cannot be read, and what a person has edited of it."""

    ontology: Ontology | None
    edits: VocabularyEdits
    models: Path

    @classmethod
    def of(cls, home: Home) -> _Vocabulary:
        try:
            return cls(home.ontology_or_none(), VocabularyEdits.of(home), home.models)
        except CatalographError:
            return cls(None, VocabularyEdits(), home.models)

    def answers(self, folder: Path, model: Ontology) -> Answers | None:
        if self.ontology is None:
            return None
        own = folder.resolve().is_relative_to(self.models.resolve())
        return Answers.of(self.ontology, model, self.edits, own=own)


def _folders(home: Home) -> list[Path]:
    if not home.models.is_dir():
        return []
    return sorted(
        path
        for path in home.models.iterdir()
        if path.is_dir()
        # A training has nothing but the lock at first.
        and (not is_vacant(path) or trained_by(path) is not None)
    )


def _entry(folder: Path, current: _Vocabulary) -> ModelEntry:
    size = folder_size(folder)
    trainer = trained_by(folder)
    if not (folder / MANIFEST).is_file():
        state, problem = _without_manifest(folder, trainer)
        return ModelEntry(folder.name, folder, state, size, problem)
    time = datetime.fromtimestamp((folder / MANIFEST).stat().st_mtime, UTC)
    written = time.isoformat(timespec="seconds")
    try:
        described = _Description.read(folder)
    except ModelError as error:
        return ModelEntry(folder.name, folder, State.DAMAGED, size, str(error), time=written)
    return ModelEntry(
        folder.name,
        folder,
        State.WHOLE if trainer is None else State.TRAINING,
        size,
        None if trainer is None else f"its training goes on ({trainer})",
        described.kind,
        written,
        described.items,
        None if described.kind is Kind.ALIGNMENT else len(described.ontology.learned()),
        described.held_out,
        None if described.kind is Kind.ALIGNMENT else current.answers(folder, described.ontology),
    )


def _without_manifest(folder: Path, trainer: str | None) -> tuple[State, str]:
    if trainer is not None:
        return State.TRAINING, f"its training has not come to a model yet ({trainer})"
    if any((folder / "checkpoints").glob(f"*/{MANIFEST}")):
        return State.UNFINISHED, f"continue with `catalograph train --resume --name {folder.name}`"
    return State.DAMAGED, (
        f"{folder} has no {MANIFEST}, so it is no model: restore it, or remove it with "
        f"`catalograph models delete {folder.name}`"
    )


@dataclass(frozen=True)
class _Description:
    """What the small files of a model folder say."""

    kind: Kind
    ontology: Ontology
    items: int | None
    held_out: dict[str, float] | None

    @classmethod
    def read(cls, folder: Path) -> _Description:
        """Read it; raises ModelError if the folder is damaged, as far as that is seen quickly."""
        digests = model_digests(folder)
        for name in digests:
            if not (folder / name).is_file():
                raise ModelError(f"{folder / name} is missing: restore the folder, or train again")
        config = whole_file(folder, CONFIG, digests)
        text = whole_file(folder, ONTOLOGY, digests)
        try:
            about = parse_json_object(config)
            ontology = Ontology.from_toml(text.decode(), str(folder / ONTOLOGY))
        except (ValueError, CatalographError) as error:
            reason = str(error).splitlines()[0]
            raise ModelError(f"{folder} cannot be read ({reason}): train again") from None
        items = about.get("items")
        return cls(
            model_kind(folder, digests),
            ontology,
            items if isinstance(items, int) else None,
            _figures(about.get("validation")),
        )


def model_kind(folder: Path, digests: Mapping[str, str]) -> Kind:
    """Return what a model folder holds, by the names in its manifest."""
    if EXPERT_FILE in digests:
        has_network = (folder / NETWORK / MANIFEST).is_file()
        return Kind.BOTH if has_network else Kind.EXPERTS
    return Kind.ALIGNMENT if ALIGNMENT_FILE in digests else Kind.NETWORK


def model_digests(folder: Path) -> dict[str, str]:
    """Return the digests in a model folder's manifest; raises ModelError if it is damaged."""
    path = folder / MANIFEST
    try:
        digests = read_digests(folder)
    except OSError as error:
        raise ModelError(f"{path} cannot be read ({error.strerror}): restore the folder") from None
    except ValueError:
        raise ModelError(f"{path} is damaged: restore the folder, or train again") from None
    for name in (CONFIG, ONTOLOGY, *digests):
        if name not in digests or not is_plain_name(name):
            raise ModelError(f"{path} is damaged ({shown(name)}): restore the folder")
    return digests


def whole_file(folder: Path, name: str, digests: Mapping[str, str]) -> bytes:
    """Return a file of a model folder; raises ModelError if it is damaged."""
    try:
        with open_named(folder, name) as stream:
            data = stream.read(_MAX_BYTES)
    except OSError as error:
        raise ModelError(f"{folder / name} cannot be read ({error.strerror})") from None
    if hashlib.sha256(data).hexdigest() != digests[name]:
        raise ModelError(
            f"{folder / name} is damaged (its sha256 is not the manifest's): restore the folder, "
            "or train again"
        )
    return data


def _figures(found: Any) -> dict[str, float] | None:
    if not isinstance(found, dict):
        return None
    return {
        str(name): float(value)
        for name, value in found.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def folder_size(folder: Path) -> int:
    """Return the bytes of all files below a folder; one that vanishes meanwhile counts nothing."""
    total = 0
    for root, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += (Path(root) / name).lstat().st_size
    return total


def check_deletable(home: Home, name: str, *, force: bool = False) -> int:
    """Return the bytes of a model's folder.

    Raises UsageError if there is none, if it is the champion's without ``force``, or if it is being
    trained.
    """
    folder = find_own(home, name)
    if _is_champion(home, name) and not force:
        raise UsageError(
            f"{name} is the champion, which `complete` uses: promote another one first, or delete "
            "it with --force"
        )
    trainer = trained_by(folder)
    if trainer is not None:
        raise UsageError(f"{name} is being trained ({trainer}): end that first")
    return folder_size(folder)


def _is_champion(home: Home, name: str) -> bool:
    champion = read_champion(home)
    return champion is not None and champion.name == name


def delete_model(home: Home, name: str, *, force: bool = False) -> int:
    """Delete a model's folder; return the bytes that it had.

    Raises what :func:`check_deletable` does. A model whose deletion was killed is none any more,
    and what is left of it can be deleted again.
    """
    size = check_deletable(home, name, force=force)
    folder = home.models / name
    is_champion = _is_champion(home, name)
    if folder.is_symlink():
        # What it leads to is not the home's.
        folder.unlink()
    else:
        with model_lock(folder):
            # A killed deletion leaves no model that seems whole.
            for manifest in (folder / MANIFEST, folder / NETWORK / MANIFEST):
                manifest.unlink(missing_ok=True)
            for path in folder.iterdir():
                if path.name in LOCKS:
                    continue
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path)
                else:
                    path.unlink()
    if is_champion:
        promote(home, None, "")
    return size
