import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from encoders.layers import TransformerLayer
from encoders.packing import AttentionLayout, PackedTransformer
from encoders.tokens import ModalTokens

HIDDEN = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[True, True, True, False], [True, False, False, False]])
TWO_GROUPS = torch.tensor([[1, 1, 2, 2], [1, 2, 2, 0]])


def stack_of(layers, norm_first=True):
    return PackedTransformer(
        nn.ModuleList(TransformerLayer(8, 2, norm_first=norm_first) for _ in range(layers))
    )


def test_packing_and_padding_are_inverse():
    layout = AttentionLayout(MASK.long())
    assert layout.pack(HIDDEN).shape == (64, 8)
    assert torch.equal(layout.pad(layout.pack(HIDDEN)), HIDDEN * MASK[..., None])


@settings(deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=1, max_size=4))
def test_packing_and_its_gradient_equal_indexing(rows):
    mask = torch.tensor(rows)
    hidden = torch.randn(*mask.shape, 3, requires_grad=True)
    layout = AttentionLayout(mask.long())
    packed = layout.pack(hidden)
    assert torch.equal(packed[: int(mask.sum())], hidden[mask])
    assert torch.equal(layout.pad(packed), hidden * mask[..., None])

    scale = torch.arange(5.0)[:, None]
    (layout.pad(packed.square()) * scale).sum().backward()
    torch.testing.assert_close(hidden.grad, 2 * hidden.detach() * mask[..., None] * scale)


@pytest.mark.parametrize("norm_first", [True, False])
def test_packed_layers_equal_the_layers_one_after_another(norm_first):
    stack = stack_of(2, norm_first)
    expected = HIDDEN
    for layer in stack.layers:
        expected = layer(expected, MASK)
    actual = stack(ModalTokens(HIDDEN, MASK)).hidden
    torch.testing.assert_close(actual, expected * MASK[..., None])


def test_two_groups_of_a_row_do_not_see_each_other():
    stack = stack_of(1)
    together = stack(ModalTokens(HIDDEN, TWO_GROUPS != 0), TWO_GROUPS).hidden
    alone = stack(ModalTokens.all_present(HIDDEN[:1, 2:])).hidden
    torch.testing.assert_close(together[:1, 2:], alone)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("group", [TWO_GROUPS, MASK.long()])
def test_states_at_positions_equal_those_of_all_tokens(norm_first, group):
    stack = stack_of(2, norm_first)
    tokens = ModalTokens(HIDDEN, group != 0)
    positions = torch.tensor([[0, 2], [0, 0]])
    all_states = stack(tokens, group).hidden
    expected = all_states.gather(1, positions[..., None].expand(2, 2, 8))
    torch.testing.assert_close(stack.states_at(tokens, positions, group), expected)


def test_a_batch_without_tokens_is_finite():
    hidden = HIDDEN.clone().requires_grad_()
    out = stack_of(1)(ModalTokens(hidden, torch.zeros_like(MASK))).hidden
    assert (out == 0).all()
    out.sum().backward()


def test_a_row_without_tokens_is_finite():
    stack = stack_of(1)
    mask = torch.tensor([[True] * 4, [False] * 4])
    out = stack(ModalTokens(HIDDEN.clone().requires_grad_(), mask)).hidden
    assert (out[1] == 0).all()
    out.sum().backward()
    assert all(p.grad.isfinite().all() for p in stack.parameters() if p.grad is not None)
