import pytest

from schema.errors import TrainingError
from training.config import Recipe
from training.presets import preset
from training.schedule import make_schedule

WEIGHTS = {"mlm": 1.0, "mpm": 0.5, "qi": 1.0, "lpm": 0.0}


def test_without_stages_everything_weighed_is_one():
    schedule = make_schedule(WEIGHTS, "", queries=True)
    assert [dict(stage.weights) for stage in schedule.stages] == [
        {"mlm": 1.0, "mpm": 0.5, "qi": 1.0}
    ]


def test_stages_have_their_shares_of_the_budget():
    schedule = make_schedule(WEIGHTS, "mlm+mpm:3,qi:1", queries=True)
    assert [(set(stage.weights), stage.begins, stage.ends) for stage in schedule.stages] == [
        ({"mlm", "mpm"}, 0, 0.75),
        ({"qi"}, 0.75, 1),
    ]
    assert [schedule.at(used) for used in (0.0, 0.74, 0.75, 1.0)] == [0, 0, 1, 1]
    assert schedule.stages[1].used(0.875) == 0.5
    assert schedule.stages[1].only_queries


def test_a_stage_trains_by_what_it_names_and_what_is_weighed():
    schedule = make_schedule({**WEIGHTS, "lpm": 2.0}, "mlm+vtm:1,qi+lpm:1", queries=True)
    assert [dict(stage.weights) for stage in schedule.stages] == [
        {"mlm": 1.0},
        {"qi": 1.0, "lpm": 2.0},
    ]


def test_a_weight_given_to_mbsd_counts_in_its_stages():
    settings = preset("mbsd", "small").recipe.as_settings()
    recipe = Recipe.from_settings({**settings, "loss_lpm": 1.0})
    schedule = make_schedule(recipe.weights, recipe.stages, queries=True)
    assert [set(stage.weights) for stage in schedule.stages] == [
        {"mlm", "mpm", "lpm"},
        {"qi", "qt", "qv", "kl", "rs", "lpm"},
    ]


def test_without_a_log_the_stage_of_queries_goes():
    schedule = make_schedule(WEIGHTS, "mlm:1,qi:1", queries=False)
    assert [(set(stage.weights), stage.ends) for stage in schedule.stages] == [({"mlm"}, 1.0)]


def test_nothing_left_is_said_with_the_mend():
    with pytest.raises(TrainingError, match="load a query log"):
        make_schedule({"qi": 1.0}, "", queries=False)
    with pytest.raises(TrainingError, match="loss_TERM above 0"):
        make_schedule({"qi": 0.0}, "", queries=True)


def test_the_presets_train_as_their_papers():
    recipes = {name: preset(name, "base").recipe for name in ("k3m", "mbsd", "vtbert")}
    terms = {
        name: {term for term, weight in recipe.weights.items() if weight}
        for name, recipe in recipes.items()
    }
    assert terms["k3m"] == {"lpm", "mlm", "mrfr", "mrc"}
    assert terms["mbsd"] == {"mlm", "mpm", "qi", "qt", "qv", "kl", "rs"}
    assert terms["vtbert"] == {"vtm", "mlm", "gmlm", "mrfr", "gmrfr"}
    mbsd = recipes["mbsd"]
    assert (mbsd.optimizer, mbsd.learning_rate, mbsd.beta2) == ("lamb", 2e-4, 0.98)
    assert (mbsd.weight_decay, mbsd.warmup) == (0.01, 0.1)
