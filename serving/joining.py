"""Join a network to the experts of a model folder, and open a folder of both.

``joint.json`` says where the network joins, with which weights, and how the joined scores are
calibrated. It is added to the experts' folder when all is done, in one step: until then, and if
anything ends the run, the folder is that of the experts alone.
"""

from __future__ import annotations

import json
import warnings
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experts.ensemble import ExpertEnsemble
from experts.fitting import FittedExperts
from experts.folder import JOINT, network_folder
from experts.joint_scorer import (
    JointScorer,
    NetworkSource,
    ScoreSource,
    held_out_of,
    score_by_sources,
)
from experts.second_stage import (
    LEAST_ITEMS,
    FittedSecondStage,
    SecondStage,
    fit_second_stage,
)
from fusion.checkpoint import (
    RESTORE,
    WEIGHTS,
    add_file,
    default_device,
    read_manifest,
)
from fusion.inference.scorer import CellScorer
from kg.home import Home
from kg.image_cache import read_pixels
from schema.dtypes import Dtype
from schema.errors import CatalographWarning, ModelError
from schema.progress import ProgressCallback, no_progress
from serving.calibration import MAX_CALIBRATION_ITEMS, Calibration
from serving.expert_calibration import calibrate_joint
from serving.items import CatalogItems


@dataclass(frozen=True)
class Joined:
    """A second stage, the calibration of what it joins, and why there is none, if so."""

    stage: SecondStage
    calibration: dict[str, Any]
    reason: str | None = None

    def scorer(self, experts: ExpertEnsemble, network: CellScorer) -> JointScorer:
        """Return experts and a network as one scorer."""
        return JointScorer(experts, self.stage, [NetworkSource(network, experts)], self.calibration)

    def lines(self) -> list[str]:
        """Return what it says of each source, in words."""
        if self.reason is not None:
            return [f"the network stays out: {self.reason}"]
        return stage_lines(self.stage)


def stage_lines(stage: SecondStage) -> list[str]:
    """Return a line for each source: where it joins, and what it adds there or would add."""
    lines = []
    for source in stage.sources:
        gains = [each for each in stage.gains if each.source == source]
        for joins, verb in ((True, "joins for"), (False, "stays out for")):
            found = [each for each in gains if each.joins == joins]
            if found:
                told = ", ".join(
                    f"{each.group} ({each.gain:+.4f} ± {each.error:.4f})" for each in found
                )
                lines.append(f"the {source} {verb} {told}")
        if not gains:
            lines.append(f"the {source} stays out: no item is there to tell whether it helps")
    if stage.gains:
        items = max(each.items for each in stage.gains)
        lines.append(
            f"in brackets: change of a cell's log-likelihood, measured on up to {items:,} items "
            f"that neither has learned from; it takes at least {LEAST_ITEMS}"
        )
    return lines


def open_network(folder: Path, dtype: Dtype = Dtype.BF16) -> CellScorer | None:
    """Open the network beside the experts of a folder, by their name; None if there is none."""
    network = network_folder(folder)
    if network is None:
        return None
    scorer = CellScorer.load(network, str(default_device()), read_pixels, dtype)
    scorer.name = folder.resolve().name
    return scorer


def join_network(
    home: Home,
    fitted: FittedExperts,
    alone: dict[str, Any],
    network: CellScorer,
    unseen: Collection[str],
    progress: ProgressCallback = no_progress,
) -> Joined:
    """Find out where a network helps experts, on items that it has not learned from.

    ``alone`` is the experts' own calibration; ``fitted.held_out`` needs the cells of the
    ``unseen`` items alone.
    """
    nothing = SecondStage((NetworkSource.name,), {}, {})
    if not network.completes:
        return Joined(nothing, alone, "it was not trained to complete cells")
    if network.reads_regions:
        return Joined(nothing, alone, "it reads regions of images, and the experts pixels")
    return join_sources(
        home, fitted, alone, [NetworkSource(network, fitted.ensemble)], unseen, progress
    )


def join_sources(
    home: Home,
    fitted: FittedExperts,
    alone: dict[str, Any],
    sources: list[ScoreSource],
    unseen: Collection[str],
    progress: ProgressCallback = no_progress,
) -> Joined:
    """Join any sources of scores that have not learned from the ``unseen`` items."""
    # By a hash of the id, so that the choice does not depend on the order of the items.
    chosen = sorted(unseen, key=lambda each: zlib.crc32(each.encode()))[:MAX_CALIBRATION_ITEMS]
    held_out = held_out_of(fitted, frozenset(chosen))
    snapshot = home.snapshot()
    catalogue = CatalogItems(snapshot, home.image_files())
    among = frozenset(chosen)
    items = {id: catalogue[n] for n, id in enumerate(snapshot.items) if id in among}
    cells = score_by_sources(fitted, held_out, sources, items, progress)
    joined: FittedSecondStage = fit_second_stage([each.name for each in sources], cells)
    ontology = fitted.ensemble.ontology
    return Joined(joined.stage, calibrate_joint(alone, held_out, joined, ontology))


def save_joint(folder: Path, joined: Joined) -> None:
    """Add what joins the network to a model folder of experts."""
    document = {
        "network": _digest(folder),
        "stage": joined.stage.as_dict(),
        "calibration": joined.calibration,
        "reason": joined.reason,
    }
    add_file(folder, JOINT, json.dumps(document, ensure_ascii=False).encode())


def read_stage(experts: ExpertEnsemble) -> Joined | None:
    """Return what joins the network beside experts; None if nothing was fitted.

    Raises ModelError if it is damaged.
    """
    document = experts.joint
    if document is None:
        return None
    try:
        joined = Joined(
            SecondStage.from_dict(document["stage"]),
            dict(document["calibration"]),
            None if document["reason"] is None else str(document["reason"]),
        )
        str(document["network"])
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise ModelError(
            f"{experts.path / JOINT} is damaged ({str(error)[:100]}): {RESTORE}"
        ) from None
    Calibration(joined.calibration)
    return joined


def with_network(
    experts: ExpertEnsemble, dtype: Dtype = Dtype.BF16
) -> ExpertEnsemble | JointScorer:
    """Return experts with the network of their folder, where that joins anywhere."""
    joined = read_stage(experts)
    if joined is None or experts.joint is None or not joined.stage.joins_anywhere:
        return experts
    if joined.stage.sources != (NetworkSource.name,):
        raise ModelError(
            f"{experts.path} joins {', '.join(joined.stage.sources)}, and this catalograph only "
            f"a {NetworkSource.name}: use the version that trained it"
        )
    if experts.joint["network"] != _digest(experts.path):
        warnings.warn(
            f"the network in {experts.path} is not the one that was joined to the experts, so "
            f"they answer alone: finish its training with --resume --name {experts.name}",
            CatalographWarning,
            stacklevel=2,
        )
        return experts
    network = open_network(experts.path, dtype)
    if network is None:
        return experts
    return joined.scorer(experts, network)


def _digest(folder: Path) -> str | None:
    """Return the digest of the weights of the network beside experts; None without one."""
    network = network_folder(folder)
    return None if network is None else read_manifest(network).get(WEIGHTS)
