from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from encoders.bert import bert_text, copy_bert, gelu_variant, read_bert
from schema.errors import ModelError

PIECES = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0]])


def small_bert(activation):
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 30,
    }
    config = BertConfig(**sizes, hidden_act=activation)
    return BertModel(config, add_pooling_layer=False).eval()


def copy_of(bert):
    """Return our own BERT with the weights of transformers' ``bert``."""
    config = bert.config
    text = bert_text(
        vocab_size=30,
        dim=16,
        heads=2,
        layers=2,
        norm_eps=config.layer_norm_eps,
        hidden_act=gelu_variant(config.hidden_act),
    )
    copy_bert(text, bert)
    return text.eval()


@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_equals_the_bert_of_transformers(activation):
    bert = small_bert(activation)
    mask = PIECES != 0
    with torch.no_grad():
        theirs = bert(PIECES, attention_mask=mask).last_hidden_state
        ours = copy_of(bert)(PIECES)
    torch.testing.assert_close(ours.hidden[mask], theirs[mask], rtol=1e-4, atol=1e-5)


def test_weights_are_read_from_a_folder(tmp_path):
    bert = small_bert("gelu")
    bert.save_pretrained(tmp_path)
    from_folder = copy_of(read_bert(tmp_path))
    torch.testing.assert_close(from_folder(PIECES).hidden, copy_of(bert)(PIECES).hidden)


def test_a_frozen_encoder_has_no_gradients_and_stays_in_evaluation_mode():
    text = bert_text(30, 16, 2, 2).freeze().train()
    assert not text.training
    assert not any(parameter.requires_grad for parameter in text.parameters())


def test_a_folder_without_weights_is_refused(tmp_path):
    with pytest.raises(ModelError, match="no BERT at"):
        read_bert(tmp_path)


def test_another_activation_is_refused():
    with pytest.raises(ModelError, match="activation 'relu' is not a GELU"):
        gelu_variant("relu")


def test_padding_changes_no_token():
    text = bert_text(30, 16, 2, 2).eval()
    torch.testing.assert_close(text(PIECES[1:, :2]).hidden, text(PIECES[1:]).hidden[:, :2])
