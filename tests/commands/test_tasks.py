"""finetune and evaluate of the papers' tasks, and paper, from end to end on tiny networks."""

from __future__ import annotations

import csv
import json

import pytest

from kg.sample.catalogue import write_sample


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tasks")
    write_sample(folder / "shop", 120, 0)
    (folder / "split.csv").write_text(
        "item,split\n"
        + "".join(
            f"P{number:06d},{('train', 'train', 'train', 'validation', 'test')[number // 2 % 5]}\n"
            for number in range(120)
        )
    )
    return folder


@pytest.fixture(scope="module")
def home(shop):
    from cli import main

    home = shop / "home"
    for words in (
        ("ingest", shop / "shop" / "items.csv", "--images", shop / "shop"),
        ("queries", shop / "shop" / "queries.csv"),
        *(
            (
                *("train", "--preset", preset, "--size", "tiny", "--steps", 3),
                *("--name", preset, "--split", shop / "split.csv"),
            )
            for preset in ("k3m", "bert")
        ),
    ):
        assert main(["--home", str(home), *map(str, words)]) == 0
    return home


@pytest.fixture
def pairs(shop):
    path = shop / "pairs.csv"
    rows = [(f"P{n:06d}", f"P{n + 1:06d}", n % 4 == 0) for n in range(0, 118, 2)]
    lines = [f"{left},{right},{int(same)}\n" for left, right, same in rows]
    path.write_text("left,right,label\n" + "".join(lines))
    return path


TASKS = [
    (("attributes",), ("attributes",), "ROC-AUC"),
    (("match",), ("matching", "--network"), "ROC-AUC"),
    (("qa",), ("qa",), "Rank@10"),
    (("classify", "--network"), ("classification", "--network"), "top-1"),
    (("align", "--network", "--pairs"), ("alignment", "--network", "--pairs"), "F1"),
]


@pytest.mark.parametrize(("verb", "noun", "metric"), TASKS, ids=lambda each: each[0])
def test_a_head_is_kept_in_the_models_folder_and_measured(call, home, pairs, verb, noun, metric):
    more = (pairs,) if "--pairs" in verb else ()
    refused = call("--home", home, "evaluate", *noun, *more, "--model", "bert")
    assert refused.code == 1
    assert f"finetune {verb[0]} --model bert" in refused.err
    trained = call(
        "--home", home, "finetune", *verb, *more, "--model", "k3m", "--epochs", 2, "--json"
    )
    assert trained.code == 0, trained.err
    document = json.loads(trained.out)
    assert document["questions"] > 10
    files = {path.name for path in (home / "models" / "k3m").iterdir()}
    assert {f"head_{document['task']}.safetensors", f"head_{document['task']}.json"} <= files
    measured = call("--home", home, "evaluate", *noun, *more, "--model", "k3m", "--json")
    assert measured.code == 0, measured.err
    assert 0 <= json.loads(measured.out)["metrics"][metric]["value"] <= 1
    assert call("--home", home, "model", "show", "k3m").code == 0


def test_curves_and_comparisons(call, home, tmp_path):
    assert call("--home", home, "finetune", "attributes", "--model", "k3m", "--epochs", 1).code == 0
    done = call(
        *("--home", home, "evaluate", "attributes", "--model", "k3m", "--json"),
        *("--against", "completion", "--against", "tf-idf"),
        *("--protocol", "k3m", "--curves", tmp_path / "curves.csv"),
    )
    assert done.code == 0, done.err
    document = json.loads(done.out)
    names = [each["model"] for each in document["against"]]
    assert names == ["k3m, by completion", "TF-IDF"]
    assert len(document["curves"]) == 3 * 7 * 5
    with (tmp_path / "curves.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 7 * 5
    # Some of the sample's items have no title to lose.
    whole = [
        point for point in document["curves"] if (point["fault"], point["ratio"]) == ("TMR", 1)
    ]
    assert len({point["titles"] for point in whole}) == 1
    assert 0 < whole[0]["titles"] <= 24


def test_tuning_all_leaves_the_model_as_it_is(call, home):
    weights = home / "models" / "bert" / "model.safetensors"
    before = weights.read_bytes()
    done = call(
        *("--home", home, "finetune", "classify", "--network", "--model", "bert"),
        *("--tune", "all", "--epochs", 1),
    )
    assert done.code == 0, done.err
    assert weights.read_bytes() == before
    measured = call("--home", home, "evaluate", "classification", "--network", "--model", "bert")
    assert measured.code == 0


def test_same_products_are_ranked_by_each_embedding(call, home, pairs):
    done = call(
        "--home", home, "evaluate", "same-products", "--pairs", pairs, "--model", "k3m", "--json"
    )
    document = json.loads(done.out)
    assert set(document["metrics"]) == {"global", "text", "image", "largest"}
    assert document["index"] == 120
    assert document["queries"] == 12


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("evaluate", "classification", "--protocol", "k3m"), "--network"),
        (("evaluate", "qa", "--curves", "x.png"), "--protocol k3m"),
        (("evaluate", "classification", "--network", "--title", "blind"), "--title does not count"),
        (("evaluate", "matching", "--network", "--rewrites", "any"), "--rewrites does not count"),
        (
            ("evaluate", "alignment", "--pairs", "p.csv", "--part", "train"),
            "--part is for --network",
        ),
        (("finetune", "classify", "--epochs", "3"), "--epochs is for --network"),
        (("finetune", "align", "--pairs", "p.csv", "--tune", "all"), "--tune is for --network"),
        (("finetune", "align", "--pairs", "p.csv", "--network", "--name", "x"), "--name"),
    ],
)
def test_options_that_do_not_fit_are_refused(call, home, words, message):
    refused = call("--home", home, *words)
    assert refused.code == 2
    assert message in refused.err


def test_a_network_ranks_rated_items_beside_search(call, home, tmp_path):
    rows = (home.parent / "shop" / "queries.csv").read_text().splitlines()[1:40]
    rated = [
        f"{row.split(',')[0]},{row.split(',')[1]},{number % 4}" for number, row in enumerate(rows)
    ]
    (tmp_path / "ratings.csv").write_text("query,item,rating\n" + "\n".join(rated) + "\n")
    assert call("--home", home, "index").code == 0
    done = call(
        *("--home", home, "evaluate", "retrieval", "--ratings", tmp_path / "ratings.csv"),
        *("--network", "bert", "--json"),
    )
    assert done.code == 0, done.err
    assert {"BM25", "network bert"} <= set(json.loads(done.out)["rankings"])


def test_completion_is_measured_with_missing_and_noisy_modalities(call, home, tmp_path):
    done = call(
        *("--home", home, "evaluate", "completion", "--model", "k3m", "--split"),
        *(home.parent / "split.csv", "--protocol", "k3m", "--curves", tmp_path / "c.svg", "--json"),
    )
    assert done.code == 0, done.err
    curves = json.loads(done.out)["curves"]
    assert [each["fault"] for each in curves] == "TMR IMR MMR TNR INR TINR MNR".split()
    assert (tmp_path / "c.svg").read_text().count("<svg") == 1
