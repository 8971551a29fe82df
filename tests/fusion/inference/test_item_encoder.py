"""A network's item nodes as input of a task's head."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from fusion.checkpoint import ModelFolder, save_pretrained
from fusion.inference.featurizer import ItemInput
from fusion.inference.item_encoder import NO_ITEM, NetworkEncoder, TaskInput, TextReading
from fusion.inference.scorer import CellScorer
from tests.fusion.conftest import TINY


@pytest.fixture
def scorer(tmp_path, model, tokenizer, ontology):
    save_pretrained(tmp_path / "m", TINY, tokenizer, ontology, model.state_dict(), {})
    return CellScorer(ModelFolder(tmp_path / "m"))


def close(one, other):
    torch.testing.assert_close(one, other, atol=0.03, rtol=0.03)


def test_an_items_vector_is_its_node_whatever_else_is_in_the_batch(scorer, items):
    encoder = NetworkEncoder(scorer)
    whole = encoder.encode([TaskInput(item) for item in items])
    assert whole.shape == (len(items), scorer.config.dim)
    for row, item in enumerate(items):
        close(encoder.encode([TaskInput(item)])[0], whole[row])
    close(encoder.states(items).node.float(), whole)


def test_known_statements_change_the_node_unless_they_are_not_read(scorer, items):
    bare = replace(items[0], known=())
    with_statement = TaskInput(replace(bare, known=(("colour", "red"),)))
    reading = NetworkEncoder(scorer)
    ignoring = NetworkEncoder(scorer, statements=False)
    assert not torch.allclose(
        reading.encode([with_statement]), reading.encode([TaskInput(bare)]), atol=0.03
    )
    close(ignoring.encode([with_statement]), ignoring.encode([TaskInput(bare)]))


def test_texts_are_read_with_their_item_and_items_without_a_text_alone(scorer, items):
    encoder = NetworkEncoder(scorer, reading=TextReading.WITH_ITEM)
    red_mug, blue_mug = TaskInput(NO_ITEM, "red mug"), TaskInput(NO_ITEM, "blue mug")
    inputs = [TaskInput(items[0]), red_mug, blue_mug, red_mug]
    alone, red, blue, red_again = encoder.encode(inputs)
    close(alone, NetworkEncoder(scorer).encode(inputs[:1])[0])
    assert torch.equal(red, red_again)
    assert not torch.equal(red, blue)


def test_a_text_read_apart_stands_beside_the_item_with_their_product(scorer, items):
    encoder = NetworkEncoder(scorer, reading=TextReading.APART)
    vector = encoder.encode([TaskInput(items[1], "red mug")])[0]
    item, text, product = vector.split(2 * scorer.config.dim)
    close(item[: scorer.config.dim], NetworkEncoder(scorer).encode([TaskInput(items[1])])[0])
    states = NetworkEncoder(scorer, statements=False).states([ItemInput("", title="red mug")])
    close(text[scorer.config.dim :], states.text_embedding[0].float())
    close(product, item * text)
    assert vector.shape == (encoder.width,)


def test_gradients_reach_the_network(scorer, items):
    encoder = NetworkEncoder(scorer, reading=TextReading.APART)
    encoder([TaskInput(items[0], "red"), TaskInput(items[1], "red")]).square().sum().backward()
    touched = [each for each in encoder.parameters() if each.grad is not None]
    assert len(touched) > 10
