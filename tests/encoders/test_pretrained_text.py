import json
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from encoders.pretrained_text import PretrainedText
from schema.errors import ModelError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "mug", "blue"]
SIZES: dict[str, Any] = {
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def write_tokenizer(folder):
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    transformers.BertTokenizer(vocabulary).save_pretrained(folder)


@pytest.fixture
def bert(tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, vocab_size=len(WORDS), max_position_embeddings=6)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    return tmp_path, model


def test_a_text_is_the_mean_of_its_tokens_of_length_one(bert):
    folder, model = bert
    pieces = [torch.tensor([[2, 5, 6, 3]]), torch.tensor([[2, 7, 3]])]
    with torch.no_grad():
        means = [model(each).last_hidden_state[0].mean(0) for each in pieces]
    expected = torch.stack([mean / mean.norm() for mean in means])
    found = PretrainedText(folder).encode(["red mug", "blue"])
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_a_vector_does_not_depend_on_the_other_texts_and_long_texts_are_cut(bert):
    encoder = PretrainedText(bert[0])
    texts = ["red " * 3, "", "mug", "blue " * 50]
    together = encoder.encode(texts)
    alone = np.concatenate([encoder.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert encoder.encode([]).shape == (0, 8)


@pytest.mark.parametrize(
    "config",
    [
        transformers.DistilBertConfig(dim=8, n_layers=1, n_heads=2, hidden_dim=16, vocab_size=8),
        transformers.RobertaConfig(**SIZES, vocab_size=8, pad_token_id=0),
        transformers.GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=8),
        transformers.T5Config(d_model=8, d_kv=4, num_layers=1, num_heads=2, d_ff=16, vocab_size=8),
        transformers.CLIPConfig(
            text_config={**SIZES, "vocab_size": 8, "eos_token_id": 3, "bos_token_id": 2},
            vision_config={**SIZES, "image_size": 8, "patch_size": 4},
            projection_dim=4,
        ),
    ],
    ids=lambda config: config.model_type,
)
def test_other_text_models_are_encoders(tmp_path, config):
    transformers.AutoModel.from_config(config).save_pretrained(tmp_path)
    write_tokenizer(tmp_path)
    vectors = PretrainedText(tmp_path).encode(["red mug", "blue", "red mug"])
    assert vectors.shape == (3, 8)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-4


def test_the_space_changes_with_the_weights_and_with_the_tokenizer(bert):
    folder, model = bert
    before = PretrainedText(folder).space
    assert PretrainedText(folder).space == before
    settings = json.loads((folder / "tokenizer.json").read_text())
    settings["normalizer"]["lowercase"] = False
    (folder / "tokenizer.json").write_text(json.dumps(settings))
    after = PretrainedText(folder).space
    with torch.no_grad():
        model.embeddings.word_embeddings.weight += 1
    model.save_pretrained(folder)
    assert len({before, after, PretrainedText(folder).space}) == 3


def test_a_folder_without_a_model_or_with_a_damaged_one_is_refused(bert, tmp_path):
    with pytest.raises(ModelError, match=r"no text encoder at .*missing: name a folder with"):
        PretrainedText(tmp_path / "missing")
    weights = tmp_path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-40])
    with pytest.raises(ModelError, match=r"cannot be used .*: name the folder of a transf"):
        PretrainedText(tmp_path)


def test_a_folder_without_a_vocabulary_is_refused(bert):
    (bert[0] / "tokenizer.json").unlink()
    with pytest.raises(ModelError, match="it has no vocabulary"):
        PretrainedText(bert[0])


def test_a_model_that_lacks_weights_is_refused_and_draws_no_random_number(bert):
    from safetensors.torch import load_file, save_file

    folder, _ = bert
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.1.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    state = torch.get_rng_state()
    with pytest.raises(ModelError, match=r"lacks 1 of its weights, such as encoder\.layer\.1"):
        PretrainedText(folder)
    assert torch.equal(torch.get_rng_state(), state)


def test_code_of_a_hub_is_refused(bert):
    folder, _ = bert
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "trust_remote_code": True}))
    with pytest.raises(ModelError, match="trust_remote_code is not supported"):
        PretrainedText(folder)
