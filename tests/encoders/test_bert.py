from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

from encoders.bert import bert_text, from_transformers, pretrained_text
from schema.errors import ModelError

PIECES = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0]])


@pytest.fixture(scope="module", params=["gelu", "gelu_new"])
def bert(request):
    torch.manual_seed(0)
    sizes: dict[str, Any] = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "vocab_size": 30,
    }
    return BertModel(BertConfig(**sizes, hidden_act=request.param), add_pooling_layer=False).eval()


def test_it_is_the_function_of_transformers(bert):
    mask = PIECES != 0
    with torch.no_grad():
        theirs = bert(PIECES, attention_mask=mask).last_hidden_state
        ours = from_transformers(bert).eval()(PIECES)
    torch.testing.assert_close(ours.hidden[mask], theirs[mask], rtol=1e-4, atol=1e-5)


def test_a_folder_gives_the_same(bert, tmp_path):
    bert.save_pretrained(tmp_path)
    torch.testing.assert_close(
        pretrained_text(tmp_path).eval()(PIECES).hidden,
        from_transformers(bert).eval()(PIECES).hidden,
    )


def test_a_frozen_one_has_no_gradient_and_does_not_train(bert):
    text = from_transformers(bert, frozen=True).train()
    assert not text.training
    assert not any(parameter.requires_grad for parameter in text.parameters())


def test_a_folder_without_weights_is_named(tmp_path):
    with pytest.raises(ModelError, match="no BERT at"):
        pretrained_text(tmp_path)


def test_padding_changes_no_token():
    text = bert_text(30, 16, 2, 2).eval()
    torch.testing.assert_close(text(PIECES[1:, :2]).hidden, text(PIECES[1:]).hidden[:, :2])
