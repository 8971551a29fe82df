from typing import Any

import pytest
import torch
import transformers

from encoders.tokenizer import CatalogTokenizer, SpecialPieces
from fusion.build import build_model
from fusion.pretrained import Pretrained, read_pieces
from schema.errors import ModelError, UsageError
from training.presets import preset

WORDS = ["[PAD]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "mug"]
SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
PIECES = torch.tensor([[6, 7, 0], [7, 0, 0]])


@pytest.fixture
def bert(tmp_path):
    torch.manual_seed(0)
    config = transformers.BertConfig(**SIZES, vocab_size=len(WORDS), max_position_embeddings=300)
    model = transformers.BertModel(config, add_pooling_layer=False).eval()
    model.save_pretrained(tmp_path)
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS))
    return tmp_path, model


def build(folder, name, ontology):
    pretrained = Pretrained.open(str(folder))
    config = pretrained.fit(preset(name, "tiny").model)
    tokenizer = CatalogTokenizer.pretrained(read_pieces(str(folder)), ["red mug"], 16)
    model = build_model(config, tokenizer, ontology).eval()
    pretrained.load(model)
    return config, model


@pytest.mark.parametrize("name", ["mbsd", "bert", "k3m"])
def test_the_text_encoder_takes_the_first_layers_of_a_bert(bert, name, ontology):
    folder, theirs = bert
    config, model = build(folder, name, ontology)
    theirs.encoder.layer = theirs.encoder.layer[: config.text_layers or config.fusion_layers]
    expected = theirs(PIECES, attention_mask=PIECES != 0).last_hidden_state
    with torch.no_grad():
        torch.testing.assert_close(
            model.knowledge.text(PIECES).hidden[PIECES != 0],
            expected[PIECES != 0],
            rtol=1e-4,
            atol=1e-5,
        )
    assert (config.dim, config.heads, config.hidden_act) == (16, 2, "gelu")
    assert model.special == SpecialPieces(unk=2, cls=3, sep=4, mask=5)


def test_a_vision_transformer_reads_the_images(tmp_path, bert, ontology, tokenizer):
    theirs = transformers.ViTModel(
        transformers.ViTConfig(**SIZES, image_size=32, patch_size=16), add_pooling_layer=False
    )
    theirs.save_pretrained(tmp_path / "vit")
    pretrained = Pretrained.open(str(tmp_path / "vit"))
    model = build_model(pretrained.fit(preset("mbsd", "tiny").model), tokenizer, ontology)
    pretrained.load(model)
    ours = model.get_submodule("images.encoder.vit")
    assert all(
        torch.equal(tensor, ours.state_dict()[name]) for name, tensor in theirs.state_dict().items()
    )
    assert not any(parameter.requires_grad for parameter in ours.parameters())


def test_weights_that_a_preset_has_no_use_for_are_refused(bert):
    with pytest.raises(UsageError, match="is a bert, for which preset joint has no use"):
        Pretrained.open(str(bert[0])).fit(preset("joint", "tiny").model)


def test_weights_of_another_vocabulary_are_refused(bert, ontology, tokenizer):
    pretrained = Pretrained.open(str(bert[0]))
    model = build_model(pretrained.fit(preset("mbsd", "tiny").model), tokenizer, ontology)
    with pytest.raises(ModelError, match=r"do not fit .*: give its vocabulary"):
        pretrained.load(model)


def test_word_pieces_are_read_from_a_file_or_its_folder(bert, tmp_path):
    for path in (tmp_path, tmp_path / "vocab.txt"):
        assert read_pieces(str(path)).token_to_id("[MASK]") == 5
    read_pieces(str(tmp_path)).save(str(tmp_path / "tokenizer.json"))
    assert read_pieces(str(tmp_path / "tokenizer.json")).token_to_id("mug") == 7
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ModelError, match="has no word pieces"):
        read_pieces(str(tmp_path))
