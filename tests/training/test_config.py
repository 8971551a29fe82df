from pathlib import Path

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


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('batch_size = "x4"', "batch_size='x4' is not a whole number"),
        ("batch_size = [64]", r"batch_size=\[64\] does not fit: set batch_size to a whole number"),
        ("batch_size = 64.5", "batch_size=64.5 does not fit"),
        ("batch_size = true", "batch_size=True does not fit"),
        ("batch_size = {}", "does not fit"),
        ("batch_size = 1979-05-27", "does not fit"),
        ("batch_size = 1000000000000", "is above its maximum 65,536: set batch_size to 65,536"),
        (f"batch_size = {'9' * 1000}", "batch_size=1e1000 is above its maximum 65,536"),
        (f"batch_size = {'9' * 10_000}", "is not TOML"),
        ("learning_rate = nan", "learning_rate=nan does not fit: set learning_rate to a number"),
        ("learning_rate = 1e999", "learning_rate=inf does not fit"),
        ("learning_rate = -1", "learning_rate=-1 is below its minimum 0"),
        ("beta2 = 1", "beta2=1 is above its maximum"),
        ("title_full = 'x'", "title_full='x' is not a number"),
        ("precision = 16", "precision=16 does not fit: set precision to a text"),
        ("stages = ['mlm:1']", "does not fit"),
        ('regions = "a\\u0000b"', "does not fit"),
        ("loss_mlm = 'x'", "loss_mlm='x' is not a number"),
        ("loss_mlm = inf", "loss_mlm=inf does not fit"),
        ("loss_mlm = 1e9", "loss_mlm=1000000000.0 is above its maximum 1,000,000"),
        ("workers = 2.5", "workers=2.5 does not fit"),
        ("workers = [2]", "workers=.2. does not fit"),
        ("workers = 100000", "workers=100000 is above its maximum 1,024"),
        ("batch_size = 8\nbatch_size = 9", "is not TOML"),
        ("a = " + "[" * 100_000, "is not TOML .it is nested too deeply"),
        ("[batch_size]\nx = 1", "does not fit"),
        ("batch_size.x = 1", "does not fit"),
        ("\udcff", "is not TOML"),
    ],
    ids=range(28),
)
def test_a_file_of_anything_is_one_line(tmp_path, line, words):
    (tmp_path / "c.toml").write_bytes(line.encode(errors="surrogateescape"))
    with pytest.raises(UsageError, match=words) as caught:
        read_settings(tmp_path / "c.toml", [], MODEL)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["batch_size", "workers", "learning_rate", "weights", "precision"])
def test_an_override_of_anything_is_one_line(name):
    for text in ("", "x", "nan", "inf", "-1e400", "9" * 10_000, "\0", "[]", "1,2"):
        with pytest.raises(UsageError) as caught:
            read_settings(None, [f"{name}={text}"], MODEL)
        assert len(str(caught.value)) < 4000


def test_a_file_without_end_is_not_read_whole():
    with pytest.raises(SourceNotFoundError):
        read_settings(Path("/dev/zero"), [], MODEL)


def test_a_file_of_any_size_is_not_read_whole(tmp_path):
    with (tmp_path / "c.toml").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UsageError, match="larger than 1,048,576 bytes"):
        read_settings(tmp_path / "c.toml", [], MODEL)
