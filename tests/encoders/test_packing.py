import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from encoders.layers import TransformerLayer
from encoders.packing import PackedTransformer, Packing
from encoders.tokens import ModalTokens

HIDDEN = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[True, True, True, False], [True, False, False, False]])


def test_packing_and_padding_are_inverse():
    packing = Packing(MASK.long())
    assert packing.pack(HIDDEN).shape == (64, 8)
    assert torch.equal(packing.pad(packing.pack(HIDDEN)), HIDDEN * MASK[..., None])


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=4))
def test_any_tokens_come_back_and_learn_as_by_indexing(rows):
    mask = torch.tensor(rows)
    hidden = torch.randn(*mask.shape, 3, requires_grad=True)
    packing = Packing(mask.long())
    packed = packing.pack(hidden)
    assert torch.equal(packed[: int(mask.sum())], hidden[mask])
    assert torch.equal(packing.pad(packed), hidden * mask[..., None])
    (packing.pad(packed.square()) * torch.arange(5.0)[:, None]).sum().backward()
    torch.testing.assert_close(
        hidden.grad, 2 * hidden.detach() * mask[..., None] * torch.arange(5.0)[:, None]
    )


@pytest.mark.parametrize("norm_first", [True, False])
def test_packed_layers_are_the_layers_one_after_another(norm_first):
    layers = nn.ModuleList(TransformerLayer(8, 2, norm_first=norm_first) for _ in range(2))
    expected = HIDDEN
    for layer in layers:
        expected = layer(expected, MASK)
    torch.testing.assert_close(
        PackedTransformer(layers)(ModalTokens(HIDDEN, MASK)).hidden, expected * MASK[..., None]
    )


def test_two_groups_of_a_row_do_not_know_of_each_other():
    stack = PackedTransformer(nn.ModuleList([TransformerLayer(8, 2)]))
    group = torch.tensor([[1, 1, 2, 2], [1, 2, 2, 0]])
    together = stack(ModalTokens(HIDDEN, group != 0), group).hidden
    alone = stack(ModalTokens(HIDDEN[:1, 2:], torch.ones(1, 2, dtype=torch.bool))).hidden
    torch.testing.assert_close(together[:1, 2:], alone)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("group", [torch.tensor([[1, 1, 2, 2], [1, 2, 2, 0]]), MASK.long()])
def test_states_read_alone_are_those_of_the_whole(norm_first, group):
    stack = PackedTransformer(
        nn.ModuleList(TransformerLayer(8, 2, norm_first=norm_first) for _ in range(2))
    )
    tokens = ModalTokens(HIDDEN, group != 0)
    at = torch.tensor([[0, 2], [0, 0]])
    whole = stack(tokens, group).hidden
    torch.testing.assert_close(
        stack.read(tokens, at, group), whole.gather(1, at[..., None].expand(2, 2, 8))
    )


def test_a_batch_without_any_token_is_finite():
    stack = PackedTransformer(nn.ModuleList([TransformerLayer(8, 2)]))
    out = stack(ModalTokens(HIDDEN.clone().requires_grad_(), torch.zeros_like(MASK))).hidden
    assert (out == 0).all()
    out.sum().backward()


def test_a_row_without_tokens_is_finite():
    stack = PackedTransformer(nn.ModuleList([TransformerLayer(8, 2)]))
    mask = torch.tensor([[True] * 4, [False] * 4])
    out = stack(ModalTokens(HIDDEN.clone().requires_grad_(), mask)).hidden
    assert (out[1] == 0).all()
    out.sum().backward()
    assert all(p.grad.isfinite().all() for p in stack.parameters() if p.grad is not None)
