"""What ``complete`` does, once its options are checked: load, plan, complete, write and report."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from commands.base import Context, table
from commands.completion_output import Output, choose_layout, opened_output, written_table
from commands.completion_request import CompletionRequest
from commands.completion_run import CompletionRun
from commands.completion_summary import Counts, Result
from commands.engine import Engine
from commands.language_model import ask_ahead, opened, with_language_model
from commands.loading import note_not_trained_to_complete, read_cells, warn_of_unreadable_images
from commands.progress import bar
from commands.review_options import note_due
from experts.classification import Classifier
from experts.image_kernel import MAX_IMAGES
from kg.home import Home
from kg.image_files import UnreadableImages
from kg.snapshot import GraphSnapshot
from schema.dtypes import Dtype
from schema.errors import (
    CatalographError,
    CatalographWarning,
    StoreError,
    StoreLockedError,
    UsageError,
)
from schema.ledger_proposals import ProposalRecords
from schema.ontology import Ontology
from schema.progress import ProgressCallback
from schema.property_maps import propose_map, unknown_properties, write_map
from serving.asking import CellPlan
from serving.calibration import Calibration
from serving.completion import CompletesCells
from serving.home_completion import AskedCells, Catalogue, HomeCompletion
from serving.limits import general_target
from serving.loading import ModelScorer, load_classifier, load_scorer, reads_one_image
from serving.provable import ProvableTargets
from serving.results import Completion
from serving.review.drifting import Drifting, find_drifts
from serving.review.recorder import ProposalRecorder, begin_run
from serving.review.store_of_proposals import check_store

if TYPE_CHECKING:
    from kg.ray_cluster import RayCluster


@dataclass(frozen=True)
class _Job:
    """What a run completes, and by what.

    Attributes:
        run: the run
        completion: the catalogue, and the model that completes it
        plan: which cells are asked, and which are refused
    """

    run: CompletionRun
    completion: HomeCompletion
    plan: CellPlan

    @property
    def catalogue(self) -> Catalogue:
        """What is completed."""
        return self.completion.catalogue

    @property
    def scorer(self) -> ModelScorer:
        """The model, perhaps with a language model."""
        return self.completion.scorer

    @property
    def request(self) -> CompletionRequest:
        """The options of the run."""
        return self.run.request


def run(context: Context, request: CompletionRequest) -> None:
    """Complete the cells that are asked for, and print what came of them."""
    started = time.monotonic()
    home = context.home()
    this_run = CompletionRun.of(home, request)
    click.get_current_context().call_on_close(this_run.close)
    request = this_run.request
    layout = choose_layout(context, home, request)
    named = None if request.cells_file is None else read_cells(request.cells_file)
    # Before the model is loaded and the run begins: a cluster may not answer.
    cluster = click.get_current_context().with_resource(_connected(home, request))
    language_model = click.get_current_context().with_resource(opened(home, request.llm))
    scorer = load_scorer(home, request.model, Dtype(request.dtype))
    if request.write_map is not None:
        _write_map(context, home.ontology(), scorer, request.write_map)
        return
    note_not_trained_to_complete(context, scorer)
    classifier = load_classifier(scorer, home.ontology())
    scorer = with_language_model(context, scorer, language_model)

    job = _planned(context, this_run, scorer, named, classifier)
    elsewhere = _scoring(context, job, cluster)
    unreadable = _look_at_images(context, job)
    told = ask_ahead(scorer, job.completion.adapted, job.catalogue.items, job.plan.cells)
    recorder = _recorder(context, job)
    drifting = _drifting(context, home, scorer.name)
    counts = _counts(job)
    with (
        opened_output(context, home, request, layout, scorer.name) as output,
        bar("completing") as progress,
    ):
        completions = map(told.explained, _completions(job, elsewhere, progress))
        this_run.restore(counts, output)
        try:
            _write_all(map(drifting.held_back, completions), counts, output, this_run, recorder)
        except BaseException:
            _keep(context, recorder)
            raise
    if recorder is not None:
        # After the file is there: what was computed is not lost if the graph cannot be written.
        recorder.finish()
    this_run.end()

    with home.ledger() as ledger:
        note_due(context, ProposalRecords(ledger).delayed())
    _warn_of_damaged_images(job, unreadable)
    result = Result(counts, job.plan, recorder, language_model, request.out)
    document = {
        "model": scorer.name,
        **result.as_dict(),
        "table": written_table(output),
        "seconds": round(time.monotonic() - started, 2),
    }
    context.emit(document, *result.lines())


def _planned(
    context: Context,
    this_run: CompletionRun,
    scorer: ModelScorer,
    named: Sequence[tuple[str, str]] | None,
    classifier: Classifier | None,
) -> _Job:
    """Return what is to be done: the ``named`` cells, or all that are missing, but for those done.

    ``named`` are items and properties.
    """
    request = this_run.request
    completion = HomeCompletion.of(context.home(), scorer, classifier, request.map_file)
    for note in completion.notes:
        context.note(note)
    asked = AskedCells(named, request.items, request.properties)
    plan = completion.plan(asked)
    catalogue = completion.catalogue
    if classifier is None and named is None and not request.properties:
        _note_categories(context, catalogue.snapshot)
    plan = dataclasses.replace(plan, cells=this_run.left(plan.cells, catalogue.snapshot.items))
    _warn_of_decisions(catalogue)
    return _Job(this_run, completion, plan)


def _note_categories(context: Context, snapshot: GraphSnapshot) -> None:
    """Say how many items have no category where the model cannot tell it."""
    missing = sum(not category for category in snapshot.categories)
    if missing and missing < len(snapshot.items):
        context.note(
            f"{missing:,} items have no category, and the model has no classifier to tell it: "
            "`catalograph finetune classify` adds one"
        )


@contextmanager
def _connected(home: Home, request: CompletionRequest) -> Iterator[RayCluster | None]:
    """Connect to the cluster that scores the cells; None if this process does."""
    if request.engine != Engine.RAY:
        yield None
        return
    from kg.ray_cluster import ray_cluster

    with ray_cluster(home.path) as cluster:
        yield cluster


def _scoring(context: Context, job: _Job, cluster: RayCluster | None) -> CompletesCells | None:
    """Return what scores the cells: the workers of a cluster, or None for this process."""
    if cluster is None:
        return None
    from serving.ray_completion import RayCompletion

    dtype = Dtype(job.request.dtype)
    completion = RayCompletion(cluster, job.completion, job.request.workers, dtype)
    for note in completion.notes():
        context.note(note)
    return completion.complete_cells


def _completions(
    job: _Job, elsewhere: CompletesCells | None, progress: ProgressCallback
) -> Iterator[Completion]:
    """Complete the cells, none against another of its item; named ones that are refused last."""
    request = job.request
    yield from job.completion.complete(
        job.plan,
        top_k=request.top_k,
        target_precision=request.target_precision,
        progress=progress,
        elsewhere=elsewhere,
    )
    if job.request.cells_file is not None:
        yield from _refused(job.plan)


def _counts(job: _Job) -> Counts:
    """Return counts of nothing so far."""
    target = general_target(job.catalogue.ontology.decisions, job.request.target_precision)
    return Counts(ProvableTargets(target, Calibration(job.scorer.calibration).cells))


def _look_at_images(context: Context, job: _Job) -> UnreadableImages:
    """Return which images of the items cannot be read, if the model reads any; say what is not.

    That is before the work, which may take hours. Such an item is completed like any other that
    has no image: its probabilities are those calibrated for that.
    """
    if not job.scorer.reads_pixels:
        return UnreadableImages(0, {})
    items = job.catalogue.items
    asked = dict.fromkeys(cell.item for cell in job.plan.cells)
    missing = items.unreadable_images(asked)
    warn_of_unreadable_images(missing)
    # Of an item a network reads the first image, which is said where it is trained.
    beyond = 0 if reads_one_image(job.scorer) else items.with_more_images(asked, MAX_IMAGES)
    if beyond:
        context.note(
            f"{beyond:,} items have more than {MAX_IMAGES} images: the first ones are read"
        )
    return missing


def _warn_of_damaged_images(job: _Job, before: UnreadableImages) -> None:
    """Warn of images that turned out to be damaged when they were decoded."""
    failures = job.catalogue.items.files.failures
    damaged = {each: reason for each, reason in failures.items() if each not in before.failures}
    warn_of_unreadable_images(UnreadableImages(before.total, damaged))


def _refused(plan: CellPlan) -> list[Completion]:
    """Return the completions of named cells that are refused."""
    return [
        Completion.refused(each.item, each.property, each.reason)
        for each in plan.refused
        if each.item is not None and each.property is not None
    ]


def _write_all(
    completions: Iterable[Completion],
    counts: Counts,
    output: Output | None,
    this_run: CompletionRun,
    recorder: ProposalRecorder | None,
) -> None:
    """Count completions, keep them as proposals, and write them to the file, if there is one."""
    for completion in completions:
        if recorder is not None:
            recorder.add(completion)
        this_run.see(completion, counts)
        counts.add(completion)
        if output is not None:
            line = completion.as_line()
            output.add(line)
            this_run.keep(line)


def _keep(context: Context, recorder: ProposalRecorder | None) -> None:
    """Keep what is scored of a run that is cut off, as far as that can be."""
    if recorder is not None:
        with suppress(CatalographError):
            recorder.keep()
            context.note("what is scored is kept: `catalograph complete --resume` goes on")


def _warn_of_decisions(catalogue: Catalogue) -> None:
    """Warn of decisions about nothing: a name that the catalogue does not have may be mistyped."""
    for name in catalogue.decisions_without_effect():
        warnings.warn(
            f"{name} in {catalogue.home.ontology_path.name} is about nothing in this catalogue: "
            "correct the name, or remove the table",
            CatalographWarning,
            stacklevel=2,
        )


def _write_map(context: Context, home: Ontology, scorer: ModelScorer, path: Path) -> None:
    """Write a proposal of which of the model's properties those of the home are."""
    if not path.parent.is_dir():
        raise UsageError(f"the folder {path.parent} for {path.name} does not exist: create it")
    unknown = unknown_properties(home, scorer.ontology)
    proposals = propose_map(home, scorer.ontology)
    proposed = {each.property for each in proposals}
    write_map(path, proposals, [name for name in unknown if name not in proposed])
    document = {
        "model": scorer.name,
        "map": str(path),
        "unknown": len(unknown),
        "proposed": {each.property: each.model_property for each in proposals},
    }
    rows = [(each.property, each.model_property, each.reason) for each in proposals]
    line = f"{len(proposals):,} of {len(unknown):,} properties that {scorer.name} does not know"
    context.emit(
        document,
        f"proposed for {line}: {path}; correct it, and give it to --map-properties",
        *([table(("property", "of the model", "because"), rows)] if rows else []),
    )


def _recorder(context: Context, job: _Job) -> ProposalRecorder | None:
    """Return what keeps the proposals; None, with a remark, if none can be kept."""
    catalogue = job.catalogue
    home = catalogue.home
    write = job.request.write
    this_run = job.run
    try:
        with home.store(read_only=True) as store, home.ledger() as ledger:
            check_store(home, store, ProposalRecords(ledger))
        if write:
            _wait_for_writer(context, home)
        begun = begin_run(home, this_run.id, this_run.report(), this_run.started)
    except (StoreError, UsageError) as error:
        # If the graph cannot be written, the user learns so now and not an hour later.
        if write:
            raise
        context.note(f"no proposals are kept: {error}")
        return None
    return ProposalRecorder(
        home,
        begun,
        model=job.scorer.name,
        ontology=catalogue.ontology,
        write=write,
        delay_of=catalogue.delay_of_cells(),
        on_recorded=this_run.recorded,
    )


def _wait_for_writer(context: Context, home: Home) -> None:
    """Say if another process writes to the graph, for which predictions wait at the end."""
    try:
        home.store().close()
    except StoreLockedError as error:
        context.note(f"{error}; the predictions wait for it")


def _drifting(context: Context, home: Home, model: str) -> Drifting:
    """Return which properties are right less often than promised, and say so."""
    found = find_drifts(home, model)
    for drift in found:
        context.note(drift.told())
    return Drifting.of(found)
