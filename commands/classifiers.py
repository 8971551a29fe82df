"""Fit classifiers beside models, for `train` and `finetune classify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.base import Context

if TYPE_CHECKING:
    from training.classification import ClassifierRun
    from training.experts import ExpertsRun
    from training.records import ReportCallback


def classify_beside(
    context: Context, folder: Path, run: ExpertsRun, report: ReportCallback
) -> dict[str, Any] | None:
    """Fit a classifier beside experts and store it; None, with a remark, if there is none to fit.

    Return what is said of it.
    """
    from training.classification import classifier_beside, why_no_classifier

    reason = why_no_classifier(run)
    if reason is not None:
        context.note(f"categories are not learned: {reason}")
        return None
    fitted = classifier_beside(run, report)
    store(folder, fitted)
    return summary(fitted)


def store(folder: Path, run: ClassifierRun) -> None:
    """Calibrate a fitted classifier, and add it to a model folder."""
    from experts.classification_folder import save_classifier
    from serving.category_calibration import calibrate_classifier

    classifier = run.fitted.classifier
    classifier.calibration = calibrate_classifier(run.fitted)
    save_classifier(folder, classifier, run.about)


def summary(run: ClassifierRun) -> dict[str, Any]:
    """Return what is said of a fitted classifier."""
    return {
        "categories": run.paths,
        "items": run.about["items"],
        "seconds": round(run.seconds, 2),
        "hits@1": run.about["hits@1"],
    }


def told(fitted: dict[str, Any]) -> str:
    """Return a line about a fitted classifier."""
    return (
        f"classifier fitted on {fitted['items']:,} items in {fitted['categories']:,} categories, "
        f"in {fitted['seconds']:.0f} s"
    )
