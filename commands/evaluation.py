"""Commands that measure: evaluate, leaks, report."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from commands.base import (
    PATH,
    Command,
    Context,
    FiniteRange,
    Group,
    pass_context,
    table,
    write_json,
)
from commands.cards import (
    NewFigures,
    PartOfSplit,
    completion_figures,
    told_setting,
    write_measured,
)
from commands.language_model import llm_option, opened, with_language_model
from commands.loading import (
    fingerprints_of,
    map_option,
    model_option,
    note_not_trained_to_complete,
    note_not_trained_to_match,
    note_unknown_properties,
    read_property_map,
    split_option,
    warn_of_unreadable_images,
)
from commands.progress import bar
from commands.tasks import (
    curves_option,
    evaluate_attributes,
    evaluate_head,
    evaluate_qa,
    evaluate_same_products,
    fault_table,
    out_option,
    part_option,
    protocol_option,
    read_item_pairs,
    refuse_given,
    write_or_draw,
)
from schema.errors import DataError, SourceNotFoundError, UsageError

if TYPE_CHECKING:
    from evaluation.against import Baselines
    from evaluation.alignment import AlignmentReport
    from evaluation.completion import Comparison, EvaluationReport
    from evaluation.retrieval import Ranker
    from evaluation.settings import Setting
    from evaluation.twins import Twins
    from fusion.inference.featurizer import ItemInput
    from kg.home import Home
    from kg.quality.leaks import PropertyDependency
    from kg.snapshot import GraphSnapshot
    from schema.arrays import BoolArray, FloatArray


def _choice(name: str, default: str, *others: str, help: str) -> Callable[[Any], Any]:
    return click.option(
        name,
        type=click.Choice([default, *others]),
        default=default,
        show_default=True,
        help=help,
    )


image_option = _choice("--image", "yes", "no", help="Whether the model sees images.")
description_option = _choice(
    "--description",
    "no",
    "yes",
    help="Whether the model sees descriptions, blind ones with --title blind.",
)
blind_also_option = click.option(
    "--blind-also",
    metavar="WORDS",
    default="",
    help="Further words to remove from blind titles, separated by commas, such as kid,kids.  "
    "[default: none]",
)
completion_against_option = click.option(
    "--against",
    metavar="MODEL|BASELINE",
    multiple=True,
    help="Also evaluate this model, or a baseline that learns from the train split (classical, "
    "most-frequent, or transe, rotate, complex as `baseline kge` has tuned them), and print the "
    "differences with paired intervals; may be repeated.  [default: none]",
)
against_option = click.option(
    "--against",
    metavar="MODEL|classical|most-frequent",
    multiple=True,
    help="Also evaluate this model, or a baseline that learns from the train split, and print the "
    "differences with paired intervals; may be repeated.  [default: none]",
)
all_option = click.option(
    "--all",
    "all_settings",
    is_flag=True,
    help="Evaluate all eleven combinations of --title, --image and --known.",
)


@click.group(cls=Group)
def evaluate() -> None:
    """Evaluate a model on held-out items.

    \b
    Example:
      catalograph evaluate completion --title blind --image yes --known none
    """


evaluate.add_command(evaluate_attributes)
evaluate.add_command(evaluate_qa)
evaluate.add_command(evaluate_same_products)

network_option = click.option(
    "--network",
    is_flag=True,
    help="Measure the head that `finetune … --network` has added to a network instead. Here "
    "--protocol and --curves are for this alone.",
)


def _no_protocol(protocol: str, curves: Path | None) -> None:
    """Raise UsageError if options of a network's head are given without it."""
    if protocol != "clean" or curves is not None:
        raise UsageError("--protocol and --curves are for a network's head: give --network as well")


@evaluate.command()
@model_option
@_choice(
    "--title",
    "full",
    "blind",
    "none",
    help="What the model sees of titles: full, all words; blind, all words but those of property "
    "values; none, nothing.",
)
@image_option
@_choice("--known", "all", "none", help="Whether the model sees the item's other properties.")
@description_option
@_choice(
    "--category",
    "no",
    "yes",
    help="Whether the model sees the item's category, without the level that says the hidden "
    "value.",
)
@all_option
@blind_also_option
@map_option
@llm_option
@click.option(
    "--twins",
    is_flag=True,
    help="Also tell how many items have a twin in the train split, by title or image, and the "
    "metrics without these. All images are read for this, which takes time.",
)
@protocol_option
@curves_option
@completion_against_option
@part_option
@split_option
@out_option
@pass_context
def completion(
    context: Context,
    model: str | None,
    title: str,
    image: str,
    known: str,
    description: str,
    category: str,
    all_settings: bool,
    blind_also: str,
    map_file: Path | None,
    llm: Path | None,
    against: tuple[str, ...],
    twins: bool,
    protocol: str,
    curves: Path | None,
    split_name: str,
    split: Path | None,
    out: Path | None,
) -> None:
    """Evaluate how well a model completes cells.

    Hides every known cell (one property of one item) of the held-out items in turn and has the
    model complete it. Prints Hits@1, Hits@3, Hits@10, MRR and the expected calibration error (ECE)
    for each property, with 95% intervals over items; then the Brier score, the area under the
    risk-coverage curve (AURC), and how many cells are filled at target precisions of 0.9, 0.95 and
    0.99, and how many of these are right. Ranks are filtered and realistic, as in PyKEEN.

    \b
    Example:
      catalograph evaluate completion --title none --against classical
    """
    from evaluation.against import Baselines
    from evaluation.completion import compare, evaluate_settings
    from evaluation.completion_curves import completion_curves
    from evaluation.settings import SETTINGS, Setting
    from evaluation.unseen import unseen_scorer
    from kg.image_files import UnreadableImages
    from serving.home_scorer import HomeScorer
    from serving.loading import items_of_split, load_regions, load_scorer

    settings = [
        replace(each, description=description, category=category)
        for each in (SETTINGS if all_settings else (Setting(title, image, known),))
    ]
    if twins and split_name == "train":
        raise UsageError("--twins compares with the train split: evaluate another --part")
    if protocol == "k3m" and all_settings:
        raise UsageError("--protocol k3m is measured in one setting: leave out --all")
    if curves is not None and protocol != "k3m":
        raise UsageError("--curves has nothing to draw without --protocol k3m: give both")
    home = context.home()
    language_model = click.get_current_context().with_resource(opened(home, llm))
    scorer = load_scorer(home, model)
    folder = scorer.path
    note_not_trained_to_complete(context, scorer)
    ontology = home.ontology()
    property_map = read_property_map(map_file, ontology, scorer.ontology)
    files = home.image_files()
    snapshot = home.snapshot(details=scorer.reads_details or language_model is not None)
    items = items_of_split(snapshot, split_name, files, split, load_regions(home, scorer))
    if not items:
        raise DataError(
            f"the {split_name} split has no items: ingest more, or give a --split file that "
            "names some"
        )
    if scorer.reads_pixels and any(setting.image == "yes" for setting in settings):
        readable = sum(item.image is not None for item in items)
        unreadable = UnreadableImages(readable + len(files.failures), files.failures)
        if unreadable.all:
            raise DataError(f"{unreadable}; to evaluate without images, give --image no")
        warn_of_unreadable_images(unreadable)
    if split_name != "train":
        with bar("fitting", "steps") as progress:
            scorer = unseen_scorer(home, scorer, items, context.note, progress)
    scorer = with_language_model(context, scorer, language_model)
    adapted = HomeScorer(scorer, ontology, property_map)
    note_unknown_properties(context, scorer.name, ontology, adapted.ontology)
    also_blind = [word.strip() for word in blind_also.split(",") if word.strip()]
    with bar("evaluating") as progress:
        reports = evaluate_settings(
            adapted, items, ontology, settings, blind_also=also_blind, progress=progress
        )
    if language_model is not None:
        for line in language_model.total.lines():
            context.note(line)
    baselines = Baselines(home, split, split_name, also_blind)
    others = [evaluate_other(context, baselines, name, settings) for name in dict.fromkeys(against)]
    found = _twins_of(home, snapshot, items, split) if twins else None
    documents = []
    lines: list[object] = [] if found is None else [found.line()]
    for report, *baseline_reports in zip(reports, *others, strict=True):
        comparisons = [compare(report, each) for each in baseline_reports]
        document = report.as_dict()
        if language_model is not None:
            document["language_model"] = language_model.total.as_dict()
        if comparisons:
            document["against"] = [each.as_dict() for each in comparisons]
        lines += _report_lines(report)
        lines += (line for each in comparisons for line in _comparison_lines(each))
        if found is not None:
            kept = found.without([item.id for item in items])
            document["twins"] = found.as_dict()
            document["without_twins"] = _part_document(report, baseline_reports, kept)
            lines += _without_twins_lines(report, kept)
        documents.append(document)
    if protocol == "k3m":
        with bar("missing and noisy", "points") as progress:
            drawn = completion_curves(
                adapted, items, ontology, settings[0], blind_also=also_blind, progress=progress
            )
        documents[0]["curves"] = [asdict(each) for each in drawn]
        lines.append(fault_table(drawn, "Hits@1"))
        if curves is not None:
            write_or_draw(curves, drawn, "Hits@1")
            lines.append(f"curves: {curves}")
    asked = ", with a language model" if language_model is not None else ""
    write_measured(
        context,
        home,
        folder,
        PartOfSplit(split_name, split),
        [
            NewFigures(
                "completion",
                told_setting(report.setting.as_dict()) + asked,
                report.items,
                completion_figures(document),
            )
            for report, document in zip(reports, documents, strict=True)
        ],
    )
    result = documents if all_settings else documents[0]
    write_json(result, out)
    context.emit(result, *lines)


def evaluate_other(
    context: Context, baselines: Baselines, name: str, settings: Sequence[Setting]
) -> list[EvaluationReport]:
    """Evaluate a baseline or another model on the same items."""
    from evaluation.against import BASELINES
    from evaluation.completion import evaluate_settings
    from evaluation.unseen import unseen_scorer
    from serving.home_scorer import HomeScorer
    from serving.loading import items_of_split, load_regions, load_scorer

    if name in BASELINES:
        reports = []
        with bar(f"training {name}", "settings") as progress:
            for number, setting in enumerate(settings, 1):
                reports.append(baselines.evaluate(name, setting))
                progress(number, len(settings))
        return reports
    home = baselines.home
    scorer = load_scorer(home, name)
    items = items_of_split(
        home.snapshot(details=scorer.reads_details),
        baselines.part,
        home.image_files(),
        baselines.split_file,
        load_regions(home, scorer),
    )
    if baselines.part != "train":
        with bar("fitting", "steps") as progress:
            scorer = unseen_scorer(home, scorer, items, context.note, progress)
    with bar(f"evaluating {name}") as progress:
        return evaluate_settings(
            HomeScorer(scorer, baselines.ontology),
            items,
            baselines.ontology,
            settings,
            blind_also=baselines.blind_also,
            progress=progress,
        )


def _twins_of(
    home: Home, snapshot: GraphSnapshot, items: Sequence[ItemInput], split: Path | None
) -> Twins:
    from evaluation.twins import find_twins
    from kg.splits import assign_splits

    splits = assign_splits(snapshot.items, split)
    train = [item for item, name in splits.items() if name == "train"]
    fingerprints = fingerprints_of(home, snapshot)
    return find_twins(snapshot, [item.id for item in items], train, fingerprints)


def _part_document(
    report: EvaluationReport, others: Sequence[EvaluationReport], kept: BoolArray
) -> dict[str, Any] | None:
    """Return the JSON of a report, and of what it is compared with, on some of its items."""
    from evaluation.completion import compare

    part = report.of_items(kept)
    if part is None:
        return None
    document = part.as_dict()
    same = [each.of_items(kept) for each in others]
    if same:
        document["against"] = [compare(part, each).as_dict() for each in same if each is not None]
    return document


def _without_twins_lines(report: EvaluationReport, kept: BoolArray) -> list[object]:
    part = report.of_items(kept)
    if part is None:
        return ["without twins no cell is left to measure"]
    columns, *rows = report.rows_beside(part)
    return [
        f"without the items that have a twin: {part.items:,} of {report.items:,} items",
        table(columns, rows, right=columns[1:]),
    ]


def _report_lines(report: EvaluationReport) -> list[object]:
    columns, *rows = report.as_rows()
    decision_columns, *decision_rows = report.decision_rows()
    return [
        f"{report.model}, {report.setting.name}: {report.items:,} items",
        table(columns, rows, right=columns[1:]),
        "what is filled at a target precision, and how much of it is right:",
        table(decision_columns, decision_rows, right=decision_columns[1:]),
        *report.decision_lines(),
        *_several_lines(report),
    ]


def _several_lines(report: EvaluationReport) -> list[object]:
    """Return a table of the values of properties with several; nothing without such."""
    columns, *rows = report.several_rows()
    if not rows:
        return []
    return [
        "properties with several values, value by value:",
        table(columns, rows, right=columns[1:]),
    ]


def _comparison_lines(comparison: Comparison) -> list[object]:
    columns, *rows = comparison.as_rows()
    metric_columns, *metric_rows = comparison.metric_rows()
    report = comparison.report
    return [
        f"{report.model} against {comparison.baseline.model}, {report.setting.name}: Hits@1, "
        "with paired intervals of the difference",
        table(columns, rows, right=columns[1:]),
        "all metrics, macro:",
        table(metric_columns, metric_rows, right=metric_columns[1:]),
    ]


@evaluate.command()
@click.option(
    "--ratings",
    metavar="FILE",
    type=PATH,
    required=True,
    help="CSV file with the columns query,item,rating: 0 for items that do not answer the query, "
    "and more the better they do.",
)
@click.option(
    "--folds",
    metavar="N",
    type=click.IntRange(0, 100),
    default=0,
    show_default=True,
    help="Also learn the weights from the queries of all folds but one, and rank those of that "
    "fold; 0: do not.",
)
@click.option("--words-only", is_flag=True, help="Do without the text encoder.")
@click.option(
    "--network",
    "networks",
    metavar="NAME|DIR",
    multiple=True,
    help="Also rank by a network's match probabilities, as `catalograph match` gives them; may be "
    "repeated.  [default: none]",
)
@out_option
@pass_context
def retrieval(
    context: Context,
    ratings: Path,
    folds: int,
    words_only: bool,
    networks: tuple[str, ...],
    out: Path | None,
) -> None:
    """Evaluate search against people's ratings.

    Ranks the rated items of each query as `search` does, by words alone, by vectors alone, by both
    ranks fused, and by BM25. Prints NDCG@10, the mean reciprocal rank (MRR) and recall@10 of the
    items rated 2 or more, with 95% intervals over queries and paired differences to BM25.

    \b
    Example:
      catalograph evaluate retrieval --ratings ratings.csv
    """
    from evaluation.retrieval import evaluate_retrieval
    from serving.search.opening import open_searcher
    from serving.search.ratings import rateable, read_ratings

    searcher = open_searcher(context.home(), words_only=words_only)
    rated = rateable(searcher, read_ratings(ratings))
    rankers = {f"network {name}": _matching_ranker(context, name) for name in networks}
    report = evaluate_retrieval(searcher, rated, folds=folds, others=rankers)
    write_json(report.as_dict(), out)
    columns, *rows = report.as_rows()
    left_out = ", ".join(f"{count:,} {what}" for what, count in report.left_out.items() if count)
    context.emit(
        report.as_dict(),
        f"{report.ratings:,} ratings of {report.queries:,} queries"
        + (f"; left out: {left_out}" if left_out else ""),
        table(columns, rows, right=columns[1:]),
    )


@evaluate.command()
@model_option
@_choice(
    "--title",
    "full",
    "blind",
    "none",
    help="What the model sees of titles: full, all words; blind, all words but those of property "
    "values and of category levels; none, nothing.",
)
@image_option
@_choice(
    "--known",
    "all",
    "none",
    help="Whether the model sees the item's statements, without those that restate the category.",
)
@description_option
@all_option
@blind_also_option
@against_option
@network_option
@protocol_option
@curves_option
@part_option
@split_option
@out_option
@pass_context
def classification(
    context: Context,
    model: str | None,
    title: str,
    image: str,
    known: str,
    description: str,
    all_settings: bool,
    blind_also: str,
    against: tuple[str, ...],
    split_name: str,
    split: Path | None,
    out: Path | None,
    network: bool,
    protocol: str,
    curves: Path | None,
) -> None:
    """Evaluate how well a model finds the category of items.

    Hides the category of every held-out item, and with it what repeats it: properties that restate
    the category, and statements that name one of its levels. Prints top-1, macro-F1 and the
    accuracy at each level of the tree, with 95% intervals over items, and how many items are filled
    with a category or a parent of it at target precisions of 0.9, 0.95 and 0.99, and how many of
    these are right.

    \b
    Example:
      catalograph evaluate classification --title blind --against classical
    """
    if network:
        settings = ("title", "image", "known", "description", "all_settings", "blind_also")
        refuse_given(settings, "does not count for a network's head: leave it or --network out")
        name = "classification"
        evaluate_head(context, name, model, split_name, split, protocol, curves, against, out)
        return
    _no_protocol(protocol, curves)
    from commands.classifying import ClassificationRequest, classification_results
    from evaluation.settings import SETTINGS, Setting
    from fusion.checkpoint import find_model
    from kg.home_models import champion_or
    from kg.model_facts import figures_of

    chosen = SETTINGS if all_settings else (Setting(title, image, known),)
    request = ClassificationRequest(
        model,
        [replace(each, description=description) for each in chosen],
        against,
        [word.strip() for word in blind_also.split(",") if word.strip()],
        split_name,
        split,
    )
    home = context.home()
    folder = find_model(home.models, champion_or(home, model))
    documents, lines = classification_results(context, request)
    write_measured(
        context,
        home,
        folder,
        PartOfSplit(split_name, split),
        [
            NewFigures(
                "classification",
                told_setting(each["setting"]),
                each["items"],
                {"": figures_of(each["metrics"])},
            )
            for each in documents
        ],
    )
    result = documents if all_settings else documents[0]
    write_json(result, out)
    context.emit(result, *lines)


def _matching_ranker(context: Context, name: str) -> Ranker:
    """Return what scores items by a network's match probabilities."""
    from serving.items import CatalogItems
    from serving.loading import load_network, load_regions

    home = context.home()
    scorer = load_network(home, name)
    note_not_trained_to_match(context, scorer)
    catalog = CatalogItems(home.snapshot(), home.image_files(), load_regions(home, scorer))

    def ranker(query: str, items: Sequence[str]) -> FloatArray:
        return scorer.match(query, [catalog.named(item) for item in items]).astype(float)

    return ranker


@evaluate.command()
@model_option
@click.option(
    "--hard-negatives",
    metavar="SHARE",
    type=FiniteRange(0, 1),
    default=0.5,
    show_default=True,
    help="Share of the negatives that are hard: queries of the same category, or the item's own "
    "query with one term replaced.",
)
@_choice(
    "--rewrites",
    "logged",
    "any",
    help="Queries that one term may turn the item's own query into: those of other items, or any.",
)
@network_option
@protocol_option
@curves_option
@click.option(
    "--against",
    type=click.Choice(["bm25", "tf-idf"]),
    multiple=True,
    help="Also score the query against the title, and print the differences with paired "
    "intervals; may be repeated.  [default: none]",
)
@part_option
@split_option
@out_option
@pass_context
def matching(
    context: Context,
    model: str | None,
    hard_negatives: float,
    rewrites: str,
    against: tuple[str, ...],
    split_name: str,
    split: Path | None,
    out: Path | None,
    network: bool,
    protocol: str,
    curves: Path | None,
) -> None:
    """Evaluate how well a model matches queries with items.

    Scores the pairs of a query and a held-out item that led to a purchase (or, in a log without
    purchases, to a click), and as many pairs that do not match. Prints ROC-AUC and PR-AUC with 95%
    intervals over items: with title and image, without the title, and without the image; and those
    of a baseline that has learned from the train split and sees only the query.

    \b
    Example:
      catalograph evaluate matching --part test
    """
    if network:
        if against:
            raise UsageError(
                f"--against {against[0]} is measured against negatives of its own, which "
                "--network does not use: leave out one of the two"
            )
        negatives = ("hard_negatives", "rewrites")
        refuse_given(negatives, "does not count for a network's head: leave it or --network out")
        name = "matching"
        evaluate_head(context, name, model, split_name, split, protocol, curves, (), out)
        return
    _no_protocol(protocol, curves)
    from evaluation.matching import evaluate_matching
    from evaluation.query_pairs import held_out_pairs
    from evaluation.query_peers import TextPeer
    from kg.model_facts import figures_of
    from serving.loading import load_network
    from training.queries import Rewrites

    home = context.home()
    scorer = load_network(home, model)
    note_not_trained_to_match(context, scorer)
    held_out = held_out_pairs(home, scorer, split_name, split, hard_negatives, Rewrites(rewrites))
    peers = [TextPeer(name, held_out.titles) for name in dict.fromkeys(against)]
    with bar("evaluating", "pairs") as progress:
        report = evaluate_matching(
            scorer,
            held_out.builder,
            held_out.pairs,
            baseline=held_out.baseline,
            peers=peers,
            progress=progress,
        )
    settings = report.as_dict()["settings"].items()
    figures = {setting: figures_of(metrics) for setting, metrics in settings}
    write_measured(
        context,
        home,
        scorer.path,
        PartOfSplit(split_name, split),
        [NewFigures("matching", "", report.positive + report.negative, figures)],
    )
    write_json(report.as_dict(), out)
    columns, *rows = report.as_rows()
    kind_columns, *kind_rows = report.kind_rows()
    against_columns, *against_rows = report.difference_rows()
    compared: list[object] = []
    if against_rows:
        compared = [
            f"by how much {report.model} exceeds:",
            table(against_columns, against_rows, right=against_columns[2:]),
        ]
    context.emit(
        report.as_dict(),
        f"{report.model}: {report.positive:,} matching pairs and {report.negative:,} others "
        f"of {report.items:,} items",
        table(columns, rows, right=columns[1:]),
        "by kind of negatives:",
        table(kind_columns, kind_rows, right=kind_columns[1:]),
        *compared,
    )


@evaluate.command()
@click.option(
    "--pairs",
    metavar="FILE",
    type=PATH,
    required=True,
    help="CSV file with the columns left,right,label: the pairs to tell apart.",
)
@click.option(
    "--model",
    metavar="NAME|DIR",
    help="A model that `catalograph finetune align` trained.  [default: the home's newest]",
)
@click.option(
    "--train",
    metavar="FILE",
    type=PATH,
    help="The pairs that the model learned from: those are not measured, and baselines learn from "
    "them.  [default: none]",
)
@click.option(
    "--against",
    type=click.Choice(["tf-idf", "similarities"]),
    multiple=True,
    help="Also measure a baseline, which needs --train: TF-IDF with a tuned threshold, or boosted "
    "trees over similarities of each attribute; may be repeated.  [default: none]",
)
@network_option
@protocol_option
@curves_option
@part_option
@split_option
@out_option
@pass_context
def alignment(
    context: Context,
    pairs: Path,
    model: str | None,
    train: Path | None,
    against: tuple[str, ...],
    network: bool,
    protocol: str,
    curves: Path | None,
    split_name: str,
    split: Path | None,
    out: Path | None,
) -> None:
    """Evaluate how well a model finds the same products.

    Prints F1, precision and recall of labelled pairs from the probability on that was best in
    training, average precision and ROC-AUC, with 95% intervals over the items on the left, and what
    became of the pairs that are decided. Differences from a baseline have paired intervals.

    \b
    Example:
      catalograph evaluate alignment --pairs valid.csv --train train.csv --against similarities
    """
    if network:
        if against or train is not None:
            raise UsageError("--network compares with nothing: leave out --against and --train")
        evaluate_head(
            context,
            "alignment",
            model,
            split_name,
            split,
            protocol,
            curves,
            (),
            out,
            read_item_pairs(context, pairs),
        )
        return
    _no_protocol(protocol, curves)
    refuse_given(
        ("split", "split_name"), "is for --network: all pairs of --pairs are measured without it"
    )
    from evaluation.alignment import evaluate_alignment
    from evaluation.alignment_baselines import AlignmentBaseline
    from kg.model_facts import figures_of
    from serving.alignment.model import AlignmentModel, find_alignment_model
    from serving.alignment.pair_files import read_labelled_pairs

    if against and train is None:
        raise UsageError("--against needs --train: name the pairs that the baseline learns from")
    home = context.home()
    folder = find_alignment_model(home.models, model)
    aligner = AlignmentModel.load(folder)
    found = evaluate_alignment(
        home,
        aligner,
        read_labelled_pairs(pairs),
        None if train is None else read_labelled_pairs(train),
        [AlignmentBaseline(each) for each in against],
    )
    for note in found.notes:
        context.note(note)
    own = found.reports[0]
    figures = {"": figures_of(own.as_dict()["metrics"])}
    write_measured(
        context,
        home,
        folder,
        PartOfSplit(f"pairs of {pairs.name}"),
        [NewFigures("alignment", "", own.pairs, figures)],
    )
    write_json(found.as_dict(), out)
    lines: list[object] = []
    for report in found.reports:
        lines += [f"{report.model}:", *alignment_lines(report)]
    for comparison in found.differences:
        columns, *rows = comparison.as_rows()
        lines.append(table(columns, rows, right=columns[1:]))
    context.emit(found.as_dict(), *lines)


def alignment_lines(report: AlignmentReport) -> list[object]:
    """Return what is printed of how well a model aligns."""
    columns, *rows = report.as_rows()
    lines: list[object] = [
        f"{report.pairs:,} pairs, of which {report.matching:,} are the same product; F1, precision "
        f"and recall from {report.threshold:.3f} on",
        table(columns, rows, right=columns[1:]),
    ]
    columns, *rows = report.decision_rows()
    return [*lines, table(columns, rows, right=columns[1:])] if rows else lines


@click.command(cls=Command)
@split_option
@click.option(
    "--images/--no-images",
    default=True,
    show_default=True,
    help="Whether to compare the items' images, which takes most of the time.",
)
# The option's former name.
@click.option(
    "--pictures/--no-pictures", default=None, hidden=True, help="The same as --images/--no-images."
)
@pass_context
def leaks(context: Context, split: Path | None, images: bool, pictures: bool | None) -> None:
    """Report train/test leakage in a split.

    Three kinds are reported: held-out items whose title or image is nearly the same as that of a
    train item, properties whose value follows from another property, and values that an item
    states under two properties. The more there is of it, the more a test rewards memorising.

    \b
    Example:
      catalograph leaks --split split.csv
    """
    from kg.quality.leaks import find_leaks
    from kg.splits import assign_splits

    home = context.home()
    snapshot = home.snapshot()
    compared = images if pictures is None else pictures
    fingerprints = fingerprints_of(home, snapshot) if compared else None
    leakage = find_leaks(snapshot, assign_splits(snapshot.items, split), fingerprints)

    twins = (
        (
            twin.part,
            twin.by,
            f"{twin.items:,}",
            f"{twin.share:.1%}",
            ", ".join(twin.pairs[0]) if twin.pairs else "",
        )
        for twin in leakage.twins
    )
    context.emit(
        leakage.as_dict(),
        "held-out items that are nearly the same as a train item:",
        table(
            ("split", "by", "items", "share", "example (held out, train)"),
            twins,
            right=("items", "share"),
        ),
        "properties whose value follows from another property:",
        table(
            ("property", "follows from", "share right", "items"),
            _leak_rows(leakage.determined),
            right=("share right", "items"),
        ),
        "values that items state under two properties:",
        table(
            ("property", "and", "share", "items"),
            _leak_rows(leakage.repeated),
            right=("share", "items"),
        ),
    )


def _leak_rows(leaks: Iterable[PropertyDependency]) -> list[tuple[str, ...]]:
    return [(leak.property, leak.by, f"{leak.share:.1%}", f"{leak.items:,}") for leak in leaks]


@click.command(cls=Command)
@click.argument("out", metavar="OUT.html", type=PATH)
@click.option(
    "--completions",
    metavar="FILE",
    type=PATH,
    required=True,
    help="Completions to report on, as `complete --out` writes them.",
)
@click.option(
    "--truth",
    metavar="FILE",
    type=PATH,
    help="CSV file of true values to measure against, such as the truth.csv that `sample` writes.  "
    "[default: none, so that no accuracy is reported]",
)
@pass_context
def report(context: Context, out: Path, completions: Path, truth: Path | None) -> None:
    """Write an HTML report on what completion did.

    OUT.html is one self-contained page. It shows the coverage of every property before and after
    completion, and examples of filled cells with image, probability and evidence. With --truth it
    also shows the accuracy, compared with always choosing the most frequent value, and how reliable
    the probabilities are.

    \b
    Example:
      catalograph report page.html --completions filled.jsonl --truth shop/truth.csv
    """
    for path in (completions, truth):
        if path is not None and not path.is_file():
            raise SourceNotFoundError(
                f"no file {path}: name one that `catalograph complete --out` or `catalograph "
                "sample` wrote"
            )
    from evaluation.report import write_report

    write_report(context.home(), out, completions, truth)
    context.emit({"page": str(out)}, f"page: {out}")
