"""A language model beside the experts of a model folder: learn where it helps, and use it there.

``language_model.json`` says which model was asked, with which weights its answers join, and how the
joined scores are calibrated. It is about the experts and the network of its folder as they were.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from experts.ensemble import ExpertEnsemble
from experts.fitting import FittedExperts
from experts.folder import JOINT
from experts.joint_scorer import JointScorer, NetworkSource, score_by_sources
from experts.language_model.asking import LanguageModel
from experts.language_model.cache import CACHE_FILE, AnswerCache
from experts.language_model.left_out import (
    SOURCE,
    AnsweredCells,
    ask_left_out,
    fit_answers,
    sample_left_out,
)
from experts.language_model.prompt import PROMPT_VERSION
from experts.language_model.report import AskingReport
from experts.language_model.scorer import AskedScorer, asked_name
from experts.language_model.settings import read_settings
from experts.second_stage import Key, SecondStage, SourcedCells
from experts.situations import every_situation
from fusion.checkpoint import RESTORE, add_file, read_manifest
from fusion.inference.scorer import CellScorer
from kg.home import Home
from kg.image_cache import read_pixels
from schema.documents import parse_json_object
from schema.errors import ModelError, UsageError
from schema.files import open_named
from schema.manifests import EXPERT_FILE
from schema.progress import ProgressCallback, no_progress
from serving.calibration import Calibration
from serving.expert_calibration import calibrate_joint
from serving.items import CatalogItems
from serving.joining import Joined, stage_lines

LANGUAGE_MODEL = "language_model.json"
MAX_BYTES = 64 << 20
_BY_SITUATION = ("proven", "intervals")


@dataclass(frozen=True)
class JoinedLanguageModel:
    """What was learned of a language model.

    Attributes:
        model: its name
        prompt: the version of the words in which it was asked
        settings: what it was sent beside the titles
        stage: where its answers join, and with which weights
        situations: the calibration of the situations in which they do, as parts of that of a scorer
        beside: the digests of the files whose scores it was joined to
    """

    model: str
    prompt: int
    settings: Mapping[str, bool]
    stage: SecondStage
    situations: Mapping[str, Mapping[str, Any]]
    beside: Mapping[str, str | None]

    @property
    def joins(self) -> bool:
        """Whether its answers join anywhere."""
        return self.stage.joins_anywhere and bool(self.situations["temperatures"])

    def lines(self) -> list[str]:
        """Return where it joins, in words."""
        return stage_lines(replace(self.stage, sources=(SOURCE,)))

    def calibration(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """Return a scorer's calibration with the situations of this one."""
        temperatures = base["temperatures"]
        proving = base.get("proving_temperatures", temperatures)
        with_asked = {
            key: {**own, "situations": {**own["situations"], **self.situations[key]}}
            for key, own in (("temperatures", temperatures), ("proving_temperatures", proving))
        }
        by_situation = {key: {**base.get(key, {}), **self.situations[key]} for key in _BY_SITUATION}
        confidence = min(base["confidence"], self.situations["confidence"]["of_all"])
        return {**base, **with_asked, **by_situation, "confidence": confidence}

    def scorer(
        self, base: ExpertEnsemble | JointScorer, model: LanguageModel
    ) -> ExpertEnsemble | JointScorer | AskedScorer:
        """Return experts with a language model, where that joins anywhere.

        Raises UsageError if it is another one than was learned about.
        """
        if model.name != self.model:
            raise UsageError(
                f"model {base.name} has learned how far to trust {self.model!r}, and --llm names "
                f"{model.name!r}: name the former, or train again with --llm"
            )
        if self.prompt != PROMPT_VERSION:
            raise UsageError(
                f"model {base.name} was trained with version {self.prompt} of the words in which a "
                f"language model is asked, and this is version {PROMPT_VERSION}: train again with "
                "--llm"
            )
        for name, sent in _sent(model).items():
            if self.settings.get(name) != sent:
                raise UsageError(
                    f"model {base.name} was trained with {name} = {str(not sent).lower()} in the "
                    f"file of --llm: set that, or train again with --llm"
                )
        if not self.joins or base.calibration is None:
            return base
        return AskedScorer(
            base,
            model,
            self.stage,
            self.calibration(base.calibration),
            self.situations["temperatures"],
        )


@contextmanager
def open_language_model(home: Home, file: Path) -> Iterator[LanguageModel]:
    """Open the language model that a file of settings names, with the home's cache of answers.

    Raises UsageError if the file does not fit.
    """
    settings = read_settings(file)
    settings.api_key()
    home.cache.mkdir(exist_ok=True)
    with AnswerCache(home.cache / CACHE_FILE) as cache:
        yield LanguageModel(settings, cache, read_pixels)


@dataclass(frozen=True)
class LearnedLanguageModel:
    """What was learned of a language model, and what it took to ask it."""

    joined: JoinedLanguageModel
    report: AskingReport

    def as_dict(self) -> dict[str, Any]:
        """Return plain data for the JSON of a command."""
        return {
            "model": self.joined.model,
            "prompt": self.joined.prompt,
            "gains": self.joined.stage.as_dict()["gains"],
            **self.report.as_dict(),
        }


def learn_language_model(
    home: Home,
    folder: Path,
    fitted: FittedExperts,
    alone: dict[str, Any],
    model: LanguageModel,
    network: tuple[Joined, CellScorer] | None = None,
    *,
    seed: int = 0,
    progress: ProgressCallback = no_progress,
) -> LearnedLanguageModel:
    """Ask a language model about left-out cells, and learn where its answers help.

    ``fitted.held_out`` are the cells that may be asked about. ``alone`` is the experts' own
    calibration, and ``network`` what joins a network to them in ``folder``.
    """
    sample = sample_left_out(fitted, model.settings.training_cells, seed)
    ids = {fitted.items.ids[int(n)] for cells in sample.held_out.values() for n in cells.item}
    snapshot = home.snapshot(details=True)
    catalogue = CatalogItems(snapshot, home.image_files())
    items = {id: catalogue[number] for number, id in enumerate(snapshot.items) if id in ids}
    answered = ask_left_out(model, fitted, sample, items, progress)
    sourced = answered.sourced
    if network is not None and network[0].stage.joins_anywhere:
        joined, scorer = network
        source = NetworkSource(scorer, fitted.ensemble)
        by_network = score_by_sources(fitted, answered.held_out, [source], items)
        sourced = {
            key: replace(
                cells,
                logits=joined.stage.join(*key, cells.logits, by_network[key].probabilities),
            )
            for key, cells in sourced.items()
        }
    found = JoinedLanguageModel(
        model=model.name,
        prompt=PROMPT_VERSION,
        settings=_sent(model),
        **_fitted(fitted, alone, answered, sourced),
        beside=_digests(folder),
    )
    return LearnedLanguageModel(found, answered.report)


def _fitted(
    fitted: FittedExperts,
    alone: dict[str, Any],
    answered: AnsweredCells,
    sourced: Mapping[Key, SourcedCells],
) -> dict[str, Any]:
    """Return the second stage, and the calibration of the situations in which it joins."""
    stage = fit_answers(sourced)
    joint = calibrate_joint(alone, answered.held_out, stage, fitted.ensemble.ontology)
    asked = {key[0] for key in answered.held_out}
    joining = [
        each.name for each in every_situation() if each in asked and stage.stage.joining(each)
    ]
    situations: dict[str, Any] = {
        key: {
            asked_name(name): data[key]["situations"][name]
            for name in joining
            if name in data[key]["situations"]
        }
        for key, data in (
            ("temperatures", joint),
            ("proving_temperatures", {"proving_temperatures": alone["temperatures"]}),
        )
    }
    for key in _BY_SITUATION:
        own = joint.get(key, {})
        situations[key] = {asked_name(name): own[name] for name in joining if name in own}
    situations["confidence"] = {"of_all": joint["confidence"]}
    return {"stage": stage.stage, "situations": situations}


def save_language_model(folder: Path, joined: JoinedLanguageModel) -> None:
    """Add what was learned of a language model to a model folder."""
    document = {
        "model": joined.model,
        "prompt": joined.prompt,
        "settings": dict(joined.settings),
        "stage": joined.stage.as_dict(),
        "situations": joined.situations,
        "beside": dict(joined.beside),
    }
    add_file(folder, LANGUAGE_MODEL, json.dumps(document, ensure_ascii=False).encode())


def read_language_model(base: ExpertEnsemble | JointScorer) -> JoinedLanguageModel | None:
    """Return what was learned of a language model beside experts; None if nothing was.

    Nothing counts as learned if it is about other experts, or another network, than the folder has
    now. Raises ModelError if it is damaged.
    """
    folder = base.path
    if LANGUAGE_MODEL not in read_manifest(folder):
        return None
    try:
        with open_named(folder, LANGUAGE_MODEL) as stream:
            document = parse_json_object(stream.read(MAX_BYTES))
        joined = JoinedLanguageModel(
            model=str(document["model"]),
            prompt=int(document["prompt"]),
            settings={str(name): bool(sent) for name, sent in document["settings"].items()},
            stage=SecondStage.from_dict(document["stage"]),
            situations={
                key: dict(document["situations"][key])
                for key in ("temperatures", "proving_temperatures", *_BY_SITUATION, "confidence")
            },
            beside=dict(document["beside"]),
        )
        float(joined.situations["confidence"]["of_all"])
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{folder / LANGUAGE_MODEL} is damaged ({str(error)[:100]}): {RESTORE}"
        ) from None
    if base.calibration is not None:
        Calibration(joined.calibration(base.calibration))
    return joined if joined.beside == _digests(folder) else None


def _digests(folder: Path) -> dict[str, str | None]:
    manifest = read_manifest(folder)
    return {name: manifest.get(name) for name in (EXPERT_FILE, JOINT)}


def _sent(model: LanguageModel) -> dict[str, bool]:
    """Return what a model is sent, as far as its answers can be weighed by that alone."""
    return {"images": model.settings.images, "statements": model.settings.statements}
