import pytest

from schema.errors import SourceNotFoundError, UsageError
from training.config import Recipe, read_settings

MODEL = {"dim": 256, "stem_channels": (1, 2)}


def test_overrides_win_over_the_file_and_keep_their_types(tmp_path):
    (tmp_path / "c.toml").write_text("batch_size = 8\ndim = 64\n")
    settings = read_settings(
        tmp_path / "c.toml", ["batch_size=16", "learning_rate=1e-2", "stem_channels=4,8"], MODEL
    )
    assert (settings.recipe.batch_size, settings.recipe.learning_rate) == (16, 0.01)
    assert settings.model == {"dim": 64, "stem_channels": (4, 8)}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(SourceNotFoundError, match=r"none\.toml"):
        read_settings(tmp_path / "none.toml", [], MODEL)


def test_a_file_that_is_not_toml_is_one_line(tmp_path):
    (tmp_path / "c.toml").write_text("batch_size = = 8")
    with pytest.raises(UsageError, match="is not TOML"):
        read_settings(tmp_path / "c.toml", [], MODEL)


def test_shares_and_precision_are_checked():
    with pytest.raises(UsageError, match="not a share"):
        Recipe(title_full=1.5)
    with pytest.raises(UsageError, match="bf16, fp32"):
        Recipe(precision="fp8")


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"link": "hinge"}, "set link to softmax, margin, nssa"),
        ({"optimizer": "sgd"}, "adamw, lamb"),
        ({"loss_mlm": -1.0}, "loss_mlm=-1.0 is not a valid weight"),
        ({"stages": "mlm:x"}, "has a share 'x'"),
        ({"stages": "nlm:1"}, "unknown term 'nlm'"),
        ({"stages": "mlm:0.5,:0.5"}, "unknown term ''"),
    ],
)
def test_what_a_recipe_cannot_be_is_said(given, words):
    with pytest.raises(UsageError, match=words):
        Recipe.from_settings(given)


def test_a_recipe_of_another_version_is_said():
    with pytest.raises(UsageError, match="setting 'loss_link' is gone"):
        read_settings(None, [], MODEL, {"loss_link": 1.0})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("batch=9", "did you mean batch_size"),
        ("learning_rte=1", "did you mean learning_rate"),
        ("picture=vit", "did you mean image_encoder"),
        ("loss_nlm=1", "the terms are lpm, lpm_unseen, mlm"),
        ("nothing=1", "choose one of accumulate, "),
    ],
)
def test_an_unknown_setting_is_answered_with_the_nearest(given, words):
    with pytest.raises(UsageError, match=words):
        read_settings(None, [given], MODEL)


def test_a_recipe_comes_back_from_its_settings():
    recipe = Recipe(batch_size=7, weights={**Recipe().weights, "mlm": 3.0})
    assert recipe.as_settings()["loss_mlm"] == 3.0
    assert Recipe.from_settings(recipe.as_settings()) == recipe


def test_a_recipe_without_later_settings_does_what_it_did():
    settings = Recipe().as_settings()
    for later in ("random_pieces", "cover_rate", "pretrained_rate"):
        del settings[later]
    recipe = Recipe.from_settings(settings)
    assert (recipe.random_pieces, recipe.cover_rate, recipe.pretrained_rate) == ("even", 0.8, 1.0)


def test_workers_are_a_number_or_chosen_from_the_machine(tmp_path):
    assert read_settings(None, [], MODEL).recipe.workers is None
    assert read_settings(None, ["workers=3"], MODEL).recipe.workers == 3
    (tmp_path / "c.toml").write_text('workers = "auto"')
    start = Recipe(workers=4).as_settings()
    assert read_settings(None, [], MODEL, start).recipe.workers == 4
    assert read_settings(tmp_path / "c.toml", [], MODEL, start).recipe.workers is None
    assert read_settings(None, ["workers=auto"], MODEL, start).recipe.workers is None
    for given, words in (("many", "is not a whole number or auto"), ("-1", "below its minimum 0")):
        with pytest.raises(UsageError, match=words):
            read_settings(None, [f"workers={given}"], MODEL)
