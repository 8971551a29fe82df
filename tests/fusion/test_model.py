import dataclasses

import pytest
import torch

from encoders.tokens import ModalTokens
from kg.message_flow import MessageFlow

NONE = torch.zeros(0, dtype=torch.int64)


def flow(cells, edges=()):
    columns = [torch.tensor(column) for column in zip(*edges, strict=True)] or [NONE] * 3
    return MessageFlow.of(
        torch.tensor([c[0] for c in cells]), torch.tensor([c[1] for c in cells]), *columns
    )


@pytest.fixture
def ask(model, batch):
    def ask(asked):
        fused = model.fuse(batch, model.encode_image(batch))
        return model.score(fused, asked, model.know(torch.arange(5)))

    return ask


def test_candidates_of_another_property_score_minus_infinity(ask):
    scores = ask(flow([(0, 0), (0, 1)]))
    assert scores[0, 3:].isneginf().all()
    assert scores[1, :3].isneginf().all()
    assert scores[0, :3].isfinite().all()


def test_every_subset_of_modalities_gives_finite_scores(ask):
    assert ask(flow([(0, 0), (1, 0), (2, 0), (3, 0)]))[:, :3].isfinite().all()


def test_cells_do_not_see_each_other(ask):
    alone = ask(flow([(1, 0)]))
    together = ask(flow([(0, 1), (1, 0), (1, 1)]))
    torch.testing.assert_close(alone[0], together[1])


def test_a_known_triple_moves_only_its_own_cell(ask):
    plain = ask(flow([(0, 0), (0, 1)]))
    told = ask(flow([(0, 0), (0, 1)], [(0, 1, 3)]))
    assert not torch.equal(plain[0], told[0])
    torch.testing.assert_close(plain[1], told[1])


def test_order_of_known_triples_does_not_matter(ask):
    edges = [(0, 1, 3), (0, 1, 4)]
    torch.testing.assert_close(ask(flow([(0, 0)], edges)), ask(flow([(0, 0)], edges[::-1])))


def test_a_subset_of_candidates_scores_as_the_whole(model, batch):
    fused = model.fuse(batch, model.encode_image(batch))
    whole = model.score(fused, flow([(0, 0)]), model.know(torch.arange(5)))
    part = model.score(fused, flow([(0, 0)]), model.know(torch.tensor([0, 2])))
    torch.testing.assert_close(part[0], whole[0, [0, 2]])


def test_an_absent_image_is_not_read(model, batch):
    image = model.encode_image(batch)
    absent = ModalTokens(image.tokens.hidden, torch.zeros_like(image.tokens.mask))
    nowhere = torch.zeros(4, dtype=torch.bool)
    image = dataclasses.replace(image, tokens=absent, described=nowhere)
    title_only = model.fuse(batch, image)
    torch.testing.assert_close(title_only.node, model.fuse(batch, None).node)


def test_gradients_are_finite_with_missing_modalities(model, batch):
    model.train()
    fused = model.fuse(batch, model.encode_image(batch))
    model.score(fused, flow([(3, 0), (2, 1)]), model.know(torch.arange(5)))[0, :3].sum().backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_masked_patches_take_global_token_and_descriptor_with_them(model, batch):
    image = model.encode_image(batch)
    patches = torch.zeros(4, 4, dtype=torch.bool)
    patches[0, 1] = True
    hidden = model.hide_patches(batch, image, patches)
    assert not hidden.tokens.mask[0, 0]
    assert not hidden.described[0]
    assert hidden.described[1]
    position = model.patch_positions(torch.tensor([1]))[0]
    torch.testing.assert_close(hidden.tokens.hidden[0, 2], model.patch_mask + position)
