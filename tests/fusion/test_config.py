import pytest

from fusion.config import ModelConfig
from schema.errors import ModelError, UsageError


def test_a_config_is_restored_from_its_json():
    config = ModelConfig(dim=32, stem_channels=(4, 8))
    assert ModelConfig.from_dict({**config.as_dict(), "stem_channels": [4, 8]}) == config


def test_a_setting_of_a_newer_version_is_refused():
    with pytest.raises(ModelError, match="upgrade catalograph"):
        ModelConfig.from_dict({"later": 1})


def test_a_config_of_a_former_version_has_former_names():
    former = {**ModelConfig(image_encoder="patches").as_dict(), "picture": "patches"}
    del former["image_encoder"]
    assert ModelConfig.from_dict(former) == ModelConfig(image_encoder="patches")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"dropout": 1.0}, "dropout=1.0 is not a rate"),
        ({"heads": 0}, "heads=0 is below its least value 1"),
        ({"dim": 10, "heads": 4}, "dim=10 is not a multiple of heads=4"),
        ({"image_size": 30}, "image_size=30 is not a multiple of image_grid=4 of at least 32"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        ModelConfig(**changes)
