"""A paper's experiments: what is kept, what is resumed, and what the page says."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from evaluation.modality_faults import ModalityFault
from evaluation.papers.experiment import (
    PaperExperiment,
    PaperOptions,
    PaperResult,
    RowResult,
    split_by_product,
)
from evaluation.papers.page import as_document, check_claims, falls, paired, write_page
from evaluation.papers.plans import PLANS, Claim, Curves, PaperPlan, RowKind, Table, Variant
from evaluation.tasks.alignment import ItemPair
from evaluation.tasks.base import PARTS
from evaluation.tasks.curves import Curve
from evaluation.tasks.measures import Measured
from evaluation.twins import Twins
from kg.home import Home
from kg.ingest.pipeline import ingest
from kg.sample.catalogue import write_sample
from schema.errors import UsageError
from tests.encoders.test_pretrained_text import bert
from tests.fusion.architectures.test_huggingface import WORDS, whole

__all__ = ["bert"]  # a fixture

TMR = ModalityFault.TMR
TWINS = Twins(("a", "b"), frozenset({"a"}), None)
CURVES = Curves("Classes", "classification", ("network", "TF-IDF"), (Claim("network", "TF-IDF"),))
PLAN = PaperPlan(
    "tiny",
    "A tiny paper",
    (
        Variant("network", "k3m", pretrained=False),
        Variant("TF-IDF", kind=RowKind.TFIDF),
        Variant("network + graph", "k3m", pretrained=False, with_statements=True),
    ),
    (
        Table(
            "Table 1",
            "classification",
            ("top-1",),
            ("network", "TF-IDF", "network + graph"),
            paper={"network": (60.0,), "TF-IDF": (50.0,)},
            claims=(Claim("network", "TF-IDF"),),
        ),
        Table("Table 2", "alignment", ("F1",), ("network", "TF-IDF")),
        Table("Table 3", "same-products", ("MAR@10",), ("network", "TF-IDF")),
    ),
    (CURVES,),
)

ONLY_TFIDF = Table("Table 1", "classification", ("top-1",), ("TF-IDF",))


def measured(values: list[float]) -> Measured:
    return Measured({"top-1": float(np.mean(values))}, {"top-1": np.array(values)}, 9)


def result_of(**rows: list[list[float]]) -> PaperResult:
    options = PaperOptions()
    found = {
        (name.replace("_", "-"), "classification"): RowResult(
            name.replace("_", "-"), "classification", tuple(map(measured, seeds)), 1.0
        )
        for name, seeds in rows.items()
    }
    curves = (
        Curve("network", "classification", TMR, (0.0, 1.0), (0.9, 0.8), (0.8, 0.7), (1.0, 0.9)),
        Curve("TF-IDF", "classification", TMR, (0.0, 1.0), (0.9, 0.1), (0.8, 0.0), (1.0, 0.2)),
    )
    return PaperResult(PLAN, options, found, curves, dict.fromkeys(PARTS, 3), {}, (), 1.0, TWINS)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    folder = tmp_path_factory.mktemp("paper")
    write_sample(folder / "shop", 120, 0)
    home = Home.open(folder / "home", create=True)
    ingest(home, [folder / "shop" / "items.csv"], images=folder / "shop")
    pairs = tuple(ItemPair(f"P{n:06d}", f"P{n + 1:06d}", n % 4 == 0) for n in range(0, 118, 2))
    told: list[str] = []
    experiment = PaperExperiment(home, PLAN, folder / "out", PaperOptions(pairs=pairs), told.append)
    return experiment, experiment.run(), told


def test_a_plan_is_trained_measured_and_written(experiment, tmp_path):
    done, result, told = experiment
    assert {name for name, _ in result.rows} == {"network", "TF-IDF", "network + graph"}
    assert len(result.curves) == 2 * 7
    # Variants of the same weights are trained once.
    assert sum(line.startswith("training") for line in told) == 1
    assert not list((done.home.path / "models").iterdir())
    write_page(result, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "network above TF-IDF" in page
    assert "60.00" in page
    assert "<svg" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    document = json.loads(json.dumps(as_document(result)))
    assert document["twins"]["items"] == len(done.items.parts["test"])
    assert document["rows"][0]["without_twins"]["top-1"]["value"] >= 0


def test_a_second_run_takes_everything_from_the_first(experiment):
    done, result, _ = experiment
    told: list[str] = []
    again = PaperExperiment(Home(done.home.path), PLAN, done.folder, done.options, told.append)
    for key, row in again.run().rows.items():
        assert row.measured[0].values == result.rows[key].measured[0].values
    assert told == []


def test_without_pairs_alignment_and_retrieval_are_left_out_and_said_to_be(experiment, tmp_path):
    done, _, _ = experiment
    options = replace(done.options, pairs=())
    bare = PaperExperiment(Home(done.home.path), PLAN, tmp_path, options, lambda _: None)
    result = bare.run()
    assert {task for _, task in result.rows} == {"classification"}
    assert len(result.skipped) == 2
    assert all("--pairs" in reason for reason in result.skipped)


@pytest.mark.parametrize(("name", "value"), [("minutes", 1.0), ("pairs", ()), ("seeds", 2)])
def test_results_of_other_options_are_not_mixed_with_these(experiment, name, value):
    done, _, _ = experiment
    options = replace(done.options, **{name: value})
    other = PaperExperiment(Home(done.home.path), PLAN, done.folder, options, lambda _: None)
    with pytest.raises(UsageError, match=f"results of other {name}"):
        other.run()


def test_the_same_products_share_a_part():
    ids = [f"i{number}" for number in range(300)]
    pairs = [ItemPair(ids[n], ids[n + 1], True) for n in range(0, 300, 3)]
    parts = split_by_product(ids, pairs)
    assert all(parts[pair.left] == parts[pair.right] for pair in pairs)
    shares = [list(parts.values()).count(part) / 300 for part in PARTS]
    assert np.abs(np.subtract(shares, (0.7, 0.1, 0.2))).max() < 0.07
    with pytest.raises(UsageError, match="too few"):
        split_by_product(["one"], [])


@pytest.mark.parametrize(
    ("other", "verdict"),
    [
        ([0.1, 0.2, 0.3], "holds"),
        ([0.8, 0.9, 1.0], "does not hold"),
        ([0.4, 0.6, 0.5], "within the interval"),
    ],
)
def test_an_ordering_holds_beyond_the_paired_interval(other, verdict):
    result = result_of(network=[[0.5, 0.5, 0.5]], TF_IDF=[other])
    (claim,) = check_claims(result, PLAN.tables[0])
    assert claim.verdict == verdict
    assert claim.paper == pytest.approx(10)
    assert claim.difference.value == pytest.approx(100 * (0.5 - np.mean(other)))


def test_several_seeds_widen_the_interval():
    one = RowResult("a", "t", (measured([0.5] * 200),), 0)
    several = RowResult("b", "t", (measured([0.3] * 200), measured([0.7] * 200)), 0)
    difference = paired(one, several, "top-1")
    assert difference.value == pytest.approx(0)
    assert [difference.low, difference.high] == pytest.approx([-0.2, 0.2])


def test_what_is_lost_with_the_titles():
    result = result_of(network=[[0.5]], TF_IDF=[[0.5]])
    names, points = zip(*falls(result, CURVES), strict=True)
    assert names == ("network", "TF-IDF")
    assert points == pytest.approx((10, 80))


@pytest.mark.parametrize("plan", PLANS.values(), ids=PLANS)
def test_every_row_and_claim_of_a_plan_has_a_variant(plan):
    names = [each.name for each in plan.variants]
    assert len(names) == len(set(names))
    for table in plan.tables:
        assert set(table.rows) <= set(names)
        assert {name for claim in table.claims for name in (claim.better, claim.worse)} <= set(
            table.rows
        )
        assert set(table.paper) <= set(table.rows)
        assert all(len(figures) == len(table.metrics) for figures in table.paper.values())
    for curves in plan.curves:
        assert set(curves.rows) <= set(names)


def test_pretrained_encoders_make_one_more_row_beside_baselines(experiment, bert, tmp_path):
    done, _, _ = experiment
    options = replace(done.options, pairs=(), text_encoder=bert[0])
    folder = tmp_path / "paper"
    again = PaperExperiment(Home(done.home.path), PLAN, folder, options, lambda _: None)
    result = again.run()
    row = result.rows["pretrained encoders", "classification"]
    assert 0 <= row.mean("top-1") <= 1
    assert again.plan.tables[0].rows[-1] == "pretrained encoders"
    ablations = PLANS["mbsd"].with_row(Variant("more", kind=RowKind.PRETRAINED)).tables[3]
    assert "more" not in ablations.rows


def test_a_wrapped_model_is_trained_further_as_one_more_row(experiment, tmp_path):
    theirs = whole("vilt")
    theirs.save_pretrained(tmp_path / "vilt")
    (tmp_path / "vilt" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    done, _, _ = experiment
    options = replace(done.options, minutes=0.1, pairs=(), wrapped=str(tmp_path / "vilt"))
    plan = replace(PLAN, variants=PLAN.variants[1:2], tables=(ONLY_TFIDF,), curves=())
    told: list[str] = []
    again = PaperExperiment(Home(done.home.path), plan, tmp_path / "out", options, told.append)
    row = again.run().rows["wrapped", "classification"]
    assert told[-1] == "wrapped: classification"
    assert 0 <= row.mean("top-1") <= 1
