"""Open a model, its image regions and the items of a split, for completion and evaluation."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TypeAlias

from encoders.regions import RegionFiles, open_regions
from experts.classification import Classifier
from experts.classification_folder import load_classifier as read_classifier
from experts.ensemble import ExpertEnsemble
from experts.folder import has_experts, load_experts
from experts.joint_scorer import JointScorer
from experts.language_model.scorer import AskedScorer
from fusion.checkpoint import add_file, default_device, find_model
from fusion.inference.featurizer import ItemInput
from fusion.inference.scorer import CellScorer
from kg.home import Home
from kg.home_models import champion_or
from kg.image_cache import read_pixels
from kg.image_files import ImageFiles
from kg.snapshot import GraphSnapshot
from kg.splits import assign_splits
from schema.dtypes import Dtype
from schema.errors import CatalographWarning, UsageError
from schema.ontology import Ontology
from schema.progress import ProgressCallback, no_progress
from schema.shares import ShareOut, compute_all
from schema.terms import CATEGORY
from serving.calibration import calibrate
from serving.items import CatalogItems
from serving.joining import open_network, with_network

ModelScorer: TypeAlias = CellScorer | ExpertEnsemble | JointScorer | AskedScorer
"""What a model folder holds: a network, experts, or both; with a language model or without."""


def load_scorer(home: Home, model: str | None = None, dtype: Dtype = Dtype.BF16) -> ModelScorer:
    """Load a model for inference, a network onto the GPU if there is one.

    ``model`` is the name of a model of this home or a model folder; by default the champion of the
    home, or else its newest model. A network computes in ``dtype``. Raises UsageError if there is
    no such model, ModelError if it is damaged.
    """
    folder = find_model(home.models, champion_or(home, model))
    if has_experts(folder):
        return with_network(load_experts(folder, read_pixels), dtype)
    return CellScorer.load(folder, str(default_device()), read_pixels, dtype)


def load_classifier(scorer: ModelScorer, home: Ontology) -> Classifier | None:
    """Load the classifier of a model; None if there is none, or the ``home`` cannot use one.

    That is so if it has a property of the name that categories are completed by. Raises ModelError
    if it is damaged.
    """
    if CATEGORY in home.properties or CATEGORY in scorer.ontology.properties:
        return None
    return read_classifier(scorer.path, read_pixels)


def load_network(home: Home, model: str | None = None) -> CellScorer:
    """Load a network, also one beside experts; raises UsageError if there are experts alone."""
    folder = find_model(home.models, champion_or(home, model))
    if not has_experts(folder):
        return CellScorer.load(folder, str(default_device()), read_pixels)
    network = open_network(folder)
    if network is None:
        raise UsageError(
            f"model {folder.resolve().name} has experts alone, which complete cells and do nothing "
            "else: name another with --model, or train one with --preset joint"
        )
    return network


def reads_one_image(scorer: ModelScorer) -> bool:
    """Return whether a model reads the first image of an item alone, as networks do."""
    return isinstance(scorer, CellScorer)


def is_computed_on_gpu(scorer: ModelScorer, classifier: Classifier | None = None) -> bool:
    """Return whether a GPU has something to compute of a model, where there is one.

    That is a network, or a pretrained encoder of experts. ``classifier`` is the model's, if it is
    asked as well.
    """
    base = scorer.base if isinstance(scorer, AskedScorer) else scorer
    if isinstance(base, CellScorer | JointScorer):
        return True
    experts = [base] if classifier is None else [base, classifier.ensemble]
    return any(
        kernel.encoder is not None
        for each in experts
        for kernel in (each.kernels.title, each.kernels.image)
    )


def load_regions(home: Home, scorer: ModelScorer) -> RegionFiles | None:
    """Open the image regions that a detector found, or return None if the model reads pixels."""
    if not scorer.reads_regions:
        return None
    place = regions_folder(home, scorer)
    if not place.exists():
        warnings.warn(
            f"the model reads regions of images, and there are none at {place}: items are read "
            "without them until the files of the detector are put there",
            CatalographWarning,
            stacklevel=2,
        )
    return open_regions(place)


def regions_folder(home: Home, scorer: ModelScorer) -> Path:
    """Return the home's own folder of regions, or else the one that the model was trained on.

    The latter counts only for a model of this home: what a model from elsewhere names is not read
    on this machine.
    """
    trained_on = scorer.about.get("recipe", {}).get("regions")
    is_own = scorer.path.resolve().is_relative_to(home.models.resolve())
    if isinstance(trained_on, str) and trained_on and is_own and not home.regions.exists():
        return Path(trained_on)
    return home.regions


def items_of_split(
    snapshot: GraphSnapshot,
    split: str,
    files: ImageFiles,
    split_file: Path | None = None,
    regions: RegionFiles | None = None,
) -> list[ItemInput]:
    """Return the items of one split (train, validation or test) with their trusted statements.

    Their images are read from ``files``, unless there are ``regions``.

    Without ``split_file`` an item's split follows from the hash of its id.
    """
    split_of_item = assign_splits(snapshot.items, split_file)
    items = CatalogItems(snapshot, files, regions)
    return [
        items[index] for index, id in enumerate(snapshot.items) if split_of_item.get(id) == split
    ]


def calibrate_model(
    home: Home,
    folder: Path,
    progress: ProgressCallback = no_progress,
    share_out: ShareOut = compute_all,
    store: bool = True,
) -> None:
    """Calibrate a model folder on its validation split of the home, and store the result in it.

    With ``share_out`` several processes score a share of the items each, of which one is to
    ``store`` the result.
    """
    scorer = load_scorer(home, str(folder))
    # The split that the model was trained on, which a resumed run has from its first command.
    split_file = scorer.about.get("split")
    items = items_of_split(
        home.snapshot(),
        "validation",
        home.image_files(),
        Path(split_file) if split_file else None,
        load_regions(home, scorer),
    )
    calibration = calibrate(scorer, items, progress=progress, share_out=share_out)
    if store:
        add_file(folder, "calibration.json", json.dumps(calibration, ensure_ascii=False).encode())
