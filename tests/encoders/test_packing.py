import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from encoders import packing
from encoders.layers import TransformerLayer
from encoders.packing import AttentionLayout, PackedTokens, PackedTransformer
from encoders.tokens import ModalTokens

HIDDEN = torch.randn(2, 4, 8, generator=torch.Generator().manual_seed(0))
MASK = torch.tensor([[True, True, True, False], [True, False, False, False]])
TWO_GROUPS = torch.tensor([[1, 1, 2, 2], [1, 2, 2, 0]])


def stack_of(layers, norm_first=True):
    return PackedTransformer(
        nn.ModuleList(TransformerLayer(8, 2, norm_first=norm_first) for _ in range(layers))
    )


@pytest.fixture(params=["counts are read", "counts are not read"])
def counting(request, monkeypatch):
    """Once as on a CPU, and once as on a GPU, which is not asked how many tokens there are."""
    if request.param == "counts are not read":
        monkeypatch.setattr(packing, "reads_counts", lambda tensor: False)
    return request.param


def test_without_reading_counts_as_many_tokens_are_packed_as_there_may_be(monkeypatch):
    monkeypatch.setattr(packing, "reads_counts", lambda tensor: False)
    mask = torch.arange(40)[None] < torch.tensor([[3], [40], [0], [17], [1]])
    exact = 61
    for limit in (exact, 70, 150, None):
        layout = AttentionLayout(mask.long(), limit=limit)
        assert len(layout.row) == (200 if limit is None else limit)
        hidden = torch.randn(5, 40, 3)
        packed = layout.pack(hidden)
        assert torch.equal(packed[:exact], hidden[mask])
        assert (packed[exact:] == 0).all()
        assert (layout.row[exact:] == 5).all()
        assert torch.equal(layout.pad(packed), hidden * mask[..., None])


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=5),
    st.floats(0, 1),
)
def test_the_boundaries_cover_all_packed_tokens_group_by_group(sizes, slack):
    group = torch.zeros(len(sizes), 8, dtype=torch.int64)
    for row, (first, second) in enumerate(sizes):
        group[row, :first] = 1
        group[row, 8 - second :] = 2
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(packing, "reads_counts", lambda tensor: False)
        count = sum(map(sum, sizes))
        limit = count + int(slack * (group.numel() - count))
        layout = AttentionLayout(group, groups=2, limit=limit)
    bounds = layout.boundaries.tolist()
    assert bounds[: 2 * len(sizes) + 1] == [
        0,
        *np.cumsum([size for pair in sizes for size in pair]).tolist(),
    ]
    assert bounds[-1] == len(layout.row)
    assert max(np.diff(bounds)) <= layout.length
    assert min(np.diff(bounds)) >= 0


def test_packing_and_padding_are_inverse(counting):
    layout = AttentionLayout(MASK.long())
    assert layout.pack(HIDDEN).shape == ((8, 8) if "not" in counting else (64, 8))
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
def test_packed_layers_equal_the_layers_one_after_another(norm_first, counting):
    stack = stack_of(2, norm_first)
    expected = HIDDEN
    for layer in stack.layers:
        expected = layer(expected, MASK)
    actual = stack(ModalTokens(HIDDEN, MASK)).hidden
    torch.testing.assert_close(actual, expected * MASK[..., None])


def states_of(stack, tokens, group):
    return PackedTokens.of(tokens, group, int(group.max())).through(stack.layers).padded()


def test_two_groups_of_a_row_do_not_see_each_other(counting):
    stack = stack_of(1)
    together = states_of(stack, ModalTokens(HIDDEN, TWO_GROUPS != 0), TWO_GROUPS)
    alone = stack(ModalTokens.all_present(HIDDEN[:1, 2:])).hidden
    torch.testing.assert_close(together[:1, 2:], alone)


@pytest.mark.parametrize("norm_first", [True, False])
@pytest.mark.parametrize("group", [TWO_GROUPS, MASK.long()])
def test_states_at_positions_equal_those_of_all_tokens(norm_first, group, counting):
    stack = stack_of(2, norm_first)
    tokens = ModalTokens(HIDDEN, group != 0)
    positions = torch.tensor([[0, 2], [0, 0]])
    all_states = states_of(stack, tokens, group)
    expected = all_states.gather(1, positions[..., None].expand(2, 2, 8))
    actual = stack.states_at(tokens, positions, group, int(group.max()))
    torch.testing.assert_close(actual, expected)


def test_a_batch_without_tokens_is_finite(counting):
    hidden = HIDDEN.clone().requires_grad_()
    out = stack_of(1)(ModalTokens(hidden, torch.zeros_like(MASK))).hidden
    assert (out == 0).all()
    out.sum().backward()


def test_a_row_without_tokens_is_finite(counting):
    stack = stack_of(1)
    mask = torch.tensor([[True] * 4, [False] * 4])
    out = stack(ModalTokens(HIDDEN.clone().requires_grad_(), mask)).hidden
    assert (out[1] == 0).all()
    out.sum().backward()
    assert all(p.grad.isfinite().all() for p in stack.parameters() if p.grad is not None)
