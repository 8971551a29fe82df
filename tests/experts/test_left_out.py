"""Left-out scores from what a folder keeps, against those of the fit, and of fits without items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import experts.compared_items
import experts.fitting
from experts.ensemble import Part
from experts.folder import load_experts, load_left_out, save_experts
from experts.gathering import Gathering
from experts.labels import Labels
from experts.left_out import Knowledge, LeftOutEnsemble
from experts.ridge import RIDGE, NystromRidge
from experts.variants import LEARNED
from fusion.inference.scorer import CellQuery
from schema.errors import ModelError
from tests.experts.made import ONTOLOGY, labelled, made_items
from tests.experts.test_ridge import gaussian, made

COUNT = 50


@pytest.mark.parametrize("exact", [True, False])
def test_scores_are_those_of_the_fit(
    exact: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    if not exact:
        monkeypatch.setattr(experts.compared_items, "MAX_EXACT", 0)
        monkeypatch.setattr(experts.compared_items, "LANDMARKS", 30)
    # Copies stay, as in the scores of the fit.
    monkeypatch.setattr("experts.left_out.MAX_COPIES", 0)
    of_fit = {}
    add = Gathering.add

    def keep(gathering: Gathering, own: Labels) -> None:
        of_fit[own.property] = own
        add(gathering, own)

    monkeypatch.setattr(Gathering, "add", keep)
    items = made_items(COUNT)
    fitted = experts.fitting.fit_experts("made", ONTOLOGY, labelled(items))
    save_experts(tmp_path / "m", fitted.ensemble, {}, left_out=fitted.left_out)
    scorer = load_left_out(load_experts(tmp_path / "m"))
    assert scorer is not None
    assert scorer.items.is_exact == exact
    (encoded,) = scorer.encode(items)
    for (expert, property), gaps in scorer.items.gaps.items():
        own = of_fit[property]
        cells = [CellQuery(number, property, items[number].known) for number in own.asked]
        scores = scorer.expert_scores(encoded, cells, property, [expert])[0]
        learned = ~np.isnan(gaps[own.asked])
        expected = own.scores[expert, LEARNED.seen_by(expert)]
        np.testing.assert_allclose(scores[learned], expected[learned], atol=5e-3 if exact else 0.03)


def test_copies_are_left_out_together() -> None:
    items = made_items(COUNT)
    # Two further offers of an item, with its wrong colour, image and all.
    copies = [replace(items[1], id=f"copy {number}") for number in range(2)]
    items = [*items, *copies]
    fitted = experts.fitting.fit_experts("made", ONTOLOGY, labelled(items))
    scorer = LeftOutEnsemble(fitted.ensemble, fitted.left_out)
    (encoded,) = scorer.encode(items)
    group = [1, COUNT, COUNT + 1]
    assert {1, *scorer.items.groups[1]} >= set(group)
    expert = next(each for each, _ in fitted.ensemble.learned if each.parts == (Part.TITLE,))
    cell = [CellQuery(1, "colour", items[1].known)]
    scores = scorer.expert_scores(encoded, cell, "colour", [expert])[0, 0]
    # The same regression without any item of the group with the same colour.
    titles = encoded.rows[Part.TITLE]
    kernel = torch.from_numpy(titles.rows[titles.place])
    labels = scorer.targets(range(len(items)), "colour")
    has_title = np.array([bool(item.title) for item in items])
    alike = [1, *(each for each in scorer.items.groups[1] if (labels[each] == labels[1]).all())]
    kept = has_title.copy()
    kept[alike] = False
    # The mean of the labels is not corrected.
    mean = torch.from_numpy(labels[has_title].mean(0))
    regular = kernel[kept][:, kept] + RIDGE * torch.eye(int(kept.sum()))
    solved = torch.linalg.solve(regular, torch.from_numpy(labels)[kept] - mean)
    expected = kernel[1][kept] @ solved + mean
    np.testing.assert_allclose(scores, expected.numpy(), atol=2e-3)


def test_gaps_of_landmarks_hold_for_items_that_are_not_asked() -> None:
    points, targets = made()
    labelled_items = np.ones(len(points), bool)
    asked = np.arange(len(points)) < 10
    kernel = gaussian(points, points[:20])
    few = NystromRidge(kernel, kernel[:20]).fit(targets, labelled_items, asked)
    every = NystromRidge(kernel, kernel[:20]).fit(targets, labelled_items)
    np.testing.assert_allclose(few.gaps.numpy(), every.gaps.numpy(), atol=1e-3)
    left_out = every.left_out(kernel)
    residual = targets - every.predict(kernel)
    expected = targets - residual / every.gaps[:, None]
    np.testing.assert_allclose(left_out.numpy(), expected.numpy(), atol=1e-3)


def test_what_is_known_of_an_item() -> None:
    items = made_items(COUNT)
    fitted = experts.fitting.fit_experts("made", ONTOLOGY, labelled(items[:-1]))
    scorer = LeftOutEnsemble(fitted.ensemble, fitted.left_out)
    item = items[1]
    assert scorer.knowledge(item, "colour") is Knowledge.LEARNED
    assert scorer.knowledge(items[-1], "colour") is Knowledge.NOTHING
    assert scorer.knowledge(replace(item, title="other"), "colour") is Knowledge.CHANGED
    others = replace(item, known=(*item.known[:1], ("colour", "none of these"), item.known[2]))
    # The cell's own value does not matter, but that of another one does.
    assert scorer.knowledge(others, "colour") is Knowledge.LEARNED
    assert scorer.knowledge(others, "kind") is Knowledge.CHANGED


def test_folders_without_it_and_damaged_ones(tmp_path: Path) -> None:
    fitted = experts.fitting.fit_experts("made", ONTOLOGY, labelled(made_items(20)))
    save_experts(tmp_path / "old", fitted.ensemble, {})
    assert load_left_out(load_experts(tmp_path / "old")) is None
    broken = replace(fitted.left_out, pairs=np.array([[0, 99]]))
    save_experts(tmp_path / "broken", fitted.ensemble, {}, left_out=broken)
    with pytest.raises(ModelError, match="copies"):
        load_left_out(load_experts(tmp_path / "broken"))
