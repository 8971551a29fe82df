"""Text encoders of transformers in a network: what they read, and which are refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.text_model import (
    PretrainedTextModel,
    TextModelSettings,
    is_text_type,
    text_part,
    without_pooler,
)
from encoders.tokenizer import CatalogTokenizer
from schema.errors import ModelError
from tests.encoders.made_text_models import CORPUS, KINDS, SIZES

DIM = 8
MANY = 100


def theirs_of(config: Any) -> Any:
    torch.manual_seed(0)
    return without_pooler(text_part(transformers.AutoModel.from_config(config).eval()))


def ours_of(model: Any, special: Any, frozen: bool = False) -> PretrainedTextModel:
    described = TextModelSettings.from_json(TextModelSettings.of(model).to_json())
    encoder = PretrainedTextModel(described, special, DIM, MANY, frozen=frozen).eval()
    encoder.text_model.load_state_dict(model.state_dict())
    return encoder


@pytest.fixture(scope="module")
def made() -> dict[str, tuple[Any, CatalogTokenizer, PretrainedTextModel]]:
    found = {}
    for kind, (make_config, make_tokenizer) in KINDS.items():
        tokenizer = CatalogTokenizer.pretrained(make_tokenizer(), CORPUS, 64)
        theirs = theirs_of(make_config(vocab_size=tokenizer.vocab_size))
        found[kind] = (theirs, tokenizer, ours_of(theirs, tokenizer.special))
    return found


def states_of(theirs: Any, tokenizer: CatalogTokenizer, pieces: list[int]) -> torch.Tensor:
    """The states of a text's own pieces, as transformers reads it alone and unpadded."""
    ids = [tokenizer.special.cls, *pieces, tokenizer.special.sep]
    return theirs(input_ids=torch.tensor([ids])).last_hidden_state[0, 1:-1]


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_are_projected_normed_states_and_positions(made, kind):
    theirs, tokenizer, ours = made[kind]
    titles = [tokenizer.pieces(tokenizer.words(text), 30) for text in CORPUS[:3]]
    # A shorter title, the same one twice, none, and padding within a text.
    rows = [*titles, titles[1], [], [*titles[1][:2], 0, 0, *titles[1][2:]]]
    longest = max(map(len, rows))
    pieces = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
    with torch.no_grad():
        tokens = ours(pieces)
        for row, hidden in zip(rows, tokens.hidden, strict=True):
            places = torch.tensor([place for place, piece in enumerate(row) if piece]).long()
            states = states_of(theirs, tokenizer, [piece for piece in row if piece])
            expected = ours.project(ours.norm(states)) + ours.position_vectors(places)
            torch.testing.assert_close(hidden[places], expected, rtol=1e-4, atol=1e-4)
    assert not tokens.hidden[pieces == 0].any()
    assert torch.equal(tokens.mask, pieces != 0)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(sorted(KINDS)), st.lists(st.integers(1, 30), min_size=1, max_size=5))
def test_a_text_does_not_depend_on_those_beside_it(made, kind, lengths):
    _, tokenizer, ours = made[kind]
    words = list(tokenizer.special.word_ids(tokenizer.vocab_size))
    rows = [torch.tensor([words[(7 * n) % len(words)] for n in range(size)]) for size in lengths]
    together = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    with torch.no_grad():
        hidden = ours(together).hidden
        alone = ours(rows[-1][None]).hidden[0]
    torch.testing.assert_close(hidden[-1, : lengths[-1]], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_model_has_no_gradients_and_a_tuned_one_has_all(made, kind, frozen):
    theirs, tokenizer, _ = made[kind]
    ours = ours_of(theirs, tokenizer.special, frozen).train()
    ids = list(tokenizer.special.word_ids(tokenizer.vocab_size))[:5]
    ours(torch.tensor([ids])).hidden.square().sum().backward()
    learned = {name for name, each in ours.text_model.named_parameters() if each.grad is not None}
    every = {name for name, _ in ours.text_model.named_parameters()}
    assert learned == (set() if frozen else every)
    assert ours.project.weight.grad is not None
    assert not ours.text_model.training


@pytest.mark.parametrize(
    ("kind", "room"), [("bert", 62), ("roberta", 60), ("mpnet", 60), ("xlm-roberta", 60)]
)
def test_a_text_of_all_positions_is_read(made, kind, room):
    make_config, _ = KINDS[kind]
    _, tokenizer, _ = made[kind]
    config = make_config(vocab_size=tokenizer.vocab_size, max_position_embeddings=64)
    theirs = theirs_of(config)
    assert TextModelSettings.of(theirs).room == room
    ours = ours_of(theirs, tokenizer.special)
    with torch.no_grad():
        assert ours(torch.full((1, room), 20)).hidden.isfinite().all()
        with pytest.raises((IndexError, RuntimeError)):
            ours(torch.full((1, room + 1), 20))


@pytest.mark.parametrize(
    ("config", "lack"),
    [
        (
            transformers.FNetConfig(hidden_size=16, num_hidden_layers=1, intermediate_size=16),
            "takes no attention_mask",
        ),
        (transformers.BertConfig(**SIZES, max_position_embeddings=2), "no positions for texts"),
        (
            transformers.PerceiverConfig(d_model=16, d_latents=16, num_latents=4, num_blocks=1),
            "has no embeddings of pieces",
        ),
    ],
    ids=["fnet", "short", "perceiver"],
)
def test_what_a_model_lacks_is_named(config, lack):
    with pytest.raises(ModelError, match=lack):
        TextModelSettings.of(theirs_of(config))


def test_a_model_that_reads_padding_is_refused(made):
    theirs, _, _ = made["bert"]
    forward = theirs.forward

    class Careless(type(theirs)):  # type: ignore[misc]
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            return forward(input_ids=input_ids)

    careless = Careless(theirs.config).eval()
    with pytest.raises(ModelError, match="change with the padding after it"):
        TextModelSettings.of(careless)


def test_only_types_of_text_encoders_are_opened():
    assert all(is_text_type(kind) for kind in KINDS)
    assert not any(is_text_type(kind) for kind in ("gpt2", "vit", "lightglue", None, ["bert"]))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"config": {"model_type": "gpt2"}}, "no text encoder but a 'gpt2'"),
        ({"config": {"model_type": "bert", "trust_remote_code": True}}, "is not supported"),
        ({"config": {"model_type": "bert", "_name_or_path": "/home/a/model"}}, "_name_or_path"),
        ({"config": {"model_type": "bert", "auto_map": {"AutoModel": "evil.E"}}}, "auto_map"),
        ({"config": 3}, "no text model is described"),
        ({"padding": 100}, "its sizes do not fit"),
        ({"room": 0}, "its sizes do not fit"),
        ({"width": None}, "no text model is described"),
    ],
)
def test_a_description_cannot_name_code_or_other_folders(made, change, told):
    theirs, _, _ = made["bert"]
    whole = json.loads(TextModelSettings.of(theirs).to_json())
    with pytest.raises(ModelError, match=told) as caught:
        TextModelSettings.from_json(json.dumps({**whole, **change}))
    assert "\n" not in str(caught.value)


def test_a_description_names_no_place(made, tmp_path):
    theirs, _, _ = made["bert"]
    theirs.save_pretrained(tmp_path / "somewhere")
    again = transformers.AutoModel.from_pretrained(tmp_path / "somewhere", use_safetensors=True)
    assert "somewhere" not in TextModelSettings.of(without_pooler(again.eval())).to_json()
