"""What ``evaluate classification`` does, once its options are parsed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from commands.base import Context, table
from commands.loading import warn_of_unreadable_images
from commands.progress import bar
from evaluation.against import CLASSICAL, MOST_FREQUENT, read_splits
from evaluation.baselines import Classical, MostFrequent
from evaluation.classification import (
    ClassificationComparison,
    ClassificationReport,
    classification_words,
    compare_classification,
    evaluate_classification,
    hidden,
    with_category,
)
from evaluation.settings import Setting
from evaluation.unseen import unseen_classifier
from experts.category_tree import category_text
from experts.classification import Classifier, classification_ontology, restating_properties
from fusion.inference.featurizer import ItemInput
from kg.home import Home
from kg.snapshot import GraphSnapshot
from schema.errors import DataError, UsageError
from schema.modalities import Modality
from schema.terms import CATEGORY
from serving.cells import Scorer
from serving.home_scorer import HomeScorer
from serving.items import CatalogItems
from serving.loading import items_of_split, load_classifier, load_scorer


@dataclass(frozen=True)
class ClassificationRequest:
    """The options of ``evaluate classification``, which are explained there."""

    model: str | None
    settings: Sequence[Setting]
    against: Sequence[str] = ()
    blind_also: Sequence[str] = ()
    part: str = "test"
    split: Path | None = None


@dataclass
class _Held:
    """What is evaluated: the home's items of the part, and what their settings hide."""

    home: Home
    request: ClassificationRequest
    snapshot: GraphSnapshot
    items: list[ItemInput]
    restating: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()
    baselines: dict[str, list[ItemInput]] = field(default_factory=dict)

    def evaluate(self, scorer: Scorer, setting: Setting) -> ClassificationReport:
        """Evaluate a scorer of categories."""
        return evaluate_classification(
            scorer, self.items, setting, words=self.words, restating=self.restating
        )


def classification_results(
    context: Context, request: ClassificationRequest
) -> tuple[list[dict[str, Any]], list[object]]:
    """Evaluate a model's classifier; return a document for each setting, and lines to print.

    Raises UsageError if the model has none, and DataError if there are no items to evaluate.
    """
    home = context.home()
    classifier = _classifier_of(home, request.model)
    held = _held(home, request, classifier)
    if any(setting.shows(Modality.IMAGE) for setting in request.settings):
        files = home.image_files()
        indexes = [n for n, item in enumerate(held.snapshot.items) if item in _ids(held.items)]
        warn_of_unreadable_images(CatalogItems(held.snapshot, files).unreadable_images(indexes))
    reports = _reports(context, held, classifier)
    others = [_others(context, held, name) for name in dict.fromkeys(request.against)]
    documents = []
    lines: list[object] = []
    if held.restating:
        listed = ", ".join(sorted(held.restating))
        lines.append(f"hidden, because they restate the category: {listed}")
    for report, *baselines in zip(reports, *others, strict=True):
        comparisons = [compare_classification(report, each) for each in baselines]
        document = report.as_dict()
        if comparisons:
            document["against"] = [each.as_dict() for each in comparisons]
        documents.append(document)
        lines += _report_lines(report)
        lines += (line for each in comparisons for line in _comparison_lines(each))
    return documents, lines


def _ids(items: Sequence[ItemInput]) -> frozenset[str]:
    return frozenset(item.id for item in items)


def _classifier_of(home: Home, model: str | None) -> Classifier:
    scorer = load_scorer(home, model)
    ontology = home.ontology()
    classifier = load_classifier(scorer, ontology)
    if classifier is not None:
        return classifier
    if CATEGORY in ontology.properties:
        raise UsageError(
            f"the catalogue has a property {CATEGORY!r} of its own, so that items are not "
            "classified: rename it"
        )
    raise UsageError(
        f"model {scorer.name} has no classifier: `catalograph finetune classify` adds one where "
        "items have categories"
    )


def _held(home: Home, request: ClassificationRequest, classifier: Classifier) -> _Held:
    snapshot = home.snapshot(details=classifier.reads_details, predicted_categories=False)
    items = items_of_split(snapshot, request.part, home.image_files(), request.split)
    if not items:
        raise DataError(
            f"the {request.part} split has no items: ingest more, or give a --split file that "
            "names some"
        )
    every = range(len(snapshot.items))
    restating = restating_properties(
        [snapshot.statements_of(n) for n in every], [snapshot.category_path(n) for n in every]
    )
    return _Held(
        home,
        request,
        snapshot,
        items,
        restating | classifier.restated.wrong.keys(),
        classification_words(
            home.ontology(), CatalogItems(snapshot, home.image_files()), request.blind_also
        ),
    )


def _reports(context: Context, held: _Held, classifier: Classifier) -> list[ClassificationReport]:
    if held.request.part != "train":
        with bar("fitting", "steps") as progress:
            classifier = unseen_classifier(
                held.home, classifier, with_category(held.items), context.note, progress
            )
    adapted = HomeScorer(classifier, held.home.ontology())
    reports = []
    with bar("evaluating", "settings") as progress:
        for number, setting in enumerate(held.request.settings, 1):
            reports.append(held.evaluate(adapted, setting))
            progress(number, len(held.request.settings))
    return reports


def _others(context: Context, held: _Held, name: str) -> list[ClassificationReport]:
    """Evaluate a baseline or another model's classifier in every setting."""
    if name not in (CLASSICAL, MOST_FREQUENT):
        return _reports(context, held, _classifier_of(held.home, name))
    reports = []
    with bar(f"training {name}", "settings") as progress:
        for number, setting in enumerate(held.request.settings, 1):
            reports.append(_baseline(held, name, setting))
            progress(number, len(held.request.settings))
    return reports


def _baseline(held: _Held, name: str, setting: Setting) -> ClassificationReport:
    """Train a baseline on the train split, and evaluate it."""
    if not held.baselines:
        held.baselines.update(_with_categories(held))
    train = with_category(held.baselines["train"])
    paths = [category_text(item.category) or "" for item in train]
    ontology = classification_ontology(held.home.ontology(), held.restating, paths)
    shown = [
        replace(item, known=(*item.known, (CATEGORY, path)))
        for item, path in zip(
            hidden(train, setting, held.words, held.restating), paths, strict=True
        )
    ]
    scorer: Scorer
    if name == MOST_FREQUENT:
        scorer = MostFrequent(ontology, shown)
    else:
        # The titles have lost their words already.
        title = "full" if setting.shows(Modality.TITLE) else "none"
        scorer = Classical.train(
            ontology, shown, replace(setting, title=title), properties=[CATEGORY]
        )
    return evaluate_classification(
        scorer,
        held.baselines[held.request.part],
        setting,
        words=held.words,
        restating=held.restating,
    )


def _with_categories(held: _Held) -> dict[str, list[ItemInput]]:
    """Return the items by split with their categories, and with images of the baselines' size."""
    index = {item: number for number, item in enumerate(held.snapshot.items)}
    return {
        split: [
            replace(item, category=held.snapshot.category_path(index[item.id])) for item in items
        ]
        for split, items in read_splits(held.home, held.request.split).items()
    }


def _report_lines(report: ClassificationReport) -> list[object]:
    columns, *rows = report.as_rows()
    lines: list[object] = [
        f"{report.model}, {report.setting.name}: {report.items:,} items in {report.paths:,} "
        "categories"
        + (
            f"; {report.without_category:,} without a category are left out"
            if report.without_category
            else ""
        ),
        table(columns, rows, right=columns[1:]),
    ]
    decision_columns, *decision_rows = report.decision_rows()
    if decision_rows:
        lines += [
            "what is filled at a target precision, with a path or a parent of it:",
            table(decision_columns, decision_rows, right=decision_columns[1:]),
        ]
    return lines


def _comparison_lines(comparison: ClassificationComparison) -> list[object]:
    columns, *rows = comparison.as_rows()
    return [
        f"{comparison.report.model} against {comparison.baseline.model}, "
        f"{comparison.report.setting.name}, with paired intervals of the difference",
        table(columns, rows, right=columns[1:]),
    ]
