"""Completion where titles and images are missing, or are those of other items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from evaluation.completion import EvaluationReport, evaluate_completion
from evaluation.modality_faults import RATIOS, ModalityFault, with_faults
from evaluation.settings import Setting
from evaluation.tasks.curves import Curve
from fusion.inference.featurizer import ItemInput
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from serving.cells import Scorer

METRIC = "hits@1"
RESAMPLES = 200


def completion_curves(
    scorer: Scorer,
    items: Sequence[ItemInput],
    ontology: Ontology,
    setting: Setting,
    *,
    blind_also: Iterable[str] = (),
    ratios: Sequence[float] = RATIOS,
    faults: Sequence[ModalityFault] = tuple(ModalityFault),
    progress: ProgressCallback = no_progress,
) -> list[Curve]:
    """Return Hits@1, the mean over properties, under each fault of K3M's protocol.

    The statements of the items stay their own: they are what is known and what is asked.
    """
    words = tuple(blind_also)

    def report_of(shown: Sequence[ItemInput]) -> EvaluationReport:
        return evaluate_completion(
            scorer, shown, ontology, setting, blind_also=words, resamples=RESAMPLES
        )

    whole = report_of(items)
    curves = []
    done = 0
    for fault in faults:
        estimates = []
        for ratio in ratios:
            report = whole if ratio == 0 else report_of(with_faults(items, fault, ratio).items)
            estimates.append(report.macro[METRIC])
            done += 1
            progress(done, len(faults) * len(ratios))
        curves.append(
            Curve(
                whole.model,
                "completion",
                fault,
                tuple(ratios),
                tuple(each.value for each in estimates),
                tuple(each.low for each in estimates),
                tuple(each.high for each in estimates),
            )
        )
    return curves
