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
        ({"heads": 0}, "heads=0 is below its minimum 1"),
        ({"fusion_layers": 10_000_000}, "=10000000 is above its maximum 256"),
        ({"dim": 10**400}, "dim=1e400 is above its maximum 16,384"),
        ({"stem_channels": (32, 0)}, "stem_channels=0 is below its minimum 1"),
        ({"patch_kernels": (10**9,)}, "patch_kernels=1000000000 is above its maximum 4,096"),
        ({"dim": "256"}, "dim='256' does not fit: set dim to a whole number such as 256"),
        ({"dim": True}, "dim=True does not fit"),
        ({"dim": None}, "dim=None does not fit"),
        ({"dropout": float("nan")}, "dropout=nan does not fit: set dropout to a number"),
        ({"stem_channels": "32,64"}, "stem_channels='32,64' does not fit"),
        ({"string_embeddings": 1}, "string_embeddings=1 does not fit: .* true or false"),
        ({"architecture": ["joint"]}, "does not fit"),
        ({"wrapped": "x" * 2_000_000}, "wrapped='xxx.*' does not fit"),
        ({"dim": 10, "heads": 4}, "dim=10 is not a multiple of heads=4"),
        ({"image_size": 30}, "image_size=30 is not a multiple of image_grid=4 of at least 32"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        ModelConfig(**changes)


@pytest.mark.parametrize("data", [[], "x", None, {"dim": {}}, {"fusion_layers": 10**9}])
def test_a_config_that_is_none_is_an_error_of_the_model(data):
    with pytest.raises(ModelError, match=r"config\.json describes no model"):
        ModelConfig.from_dict(data)
