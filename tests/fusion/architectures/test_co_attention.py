import torch

from encoders.packing import Packed
from encoders.tokens import ModalTokens
from fusion.architectures.co_attention import CoAttention, CrossAttention


def tokens(length, mask=None, seed=0):
    hidden = torch.randn(2, length, 8, generator=torch.Generator().manual_seed(seed))
    return ModalTokens(
        hidden, torch.ones(2, length, dtype=torch.bool) if mask is None else torch.tensor(mask)
    )


def test_cross_attention_is_the_equation():
    layer = CrossAttention(8, 1).double()
    title = tokens(3)
    image = tokens(4, seed=1)
    x = title.hidden.double()
    y = image.hidden.double()
    key, value = layer.attention.key_value(y).split(8, -1)
    weight = (layer.attention.query(x) @ key.transpose(1, 2) / 8**0.5).softmax(-1)
    x = layer.norm_attention(x + layer.attention.output(weight @ value))
    expected = layer.norm_feed_forward(x + layer.feed_forward(x))
    own = Packed.of(ModalTokens(title.hidden.double(), title.mask))
    other = Packed.of(ModalTokens(y, image.mask))
    torch.testing.assert_close(layer(own, other).padded(), expected)


def test_padding_is_not_worked_on():
    stack = CoAttention(8, 2, 2)
    title = tokens(3, [[True, True, False], [True, False, False]])
    image = tokens(4, [[True] * 4, [True, False, False, False]], seed=1)
    alone = stack(
        ModalTokens(title.hidden[1:, :1], title.mask[1:, :1]),
        ModalTokens(image.hidden[1:, :1], image.mask[1:, :1]),
    )
    together = stack(title, image)
    torch.testing.assert_close(together[0].hidden[1:, :1], alone[0].hidden)
    assert (together[0].hidden[0, 2] == 0).all()


def test_masked_tokens_change_nothing_bit_for_bit():
    stack = CoAttention(8, 2, 2)
    image = tokens(3, [[True, True, False]] * 2, seed=1)
    other = ModalTokens(torch.where(image.mask[..., None], image.hidden, 99.0), image.mask)
    assert torch.equal(stack(tokens(3), image)[0].hidden, stack(tokens(3), other)[0].hidden)


def test_a_stream_reads_another_that_is_missing_everywhere():
    title = tokens(3, [[False] * 3] * 2)
    image = tokens(5, seed=1)
    read, seen = CoAttention(8, 2, 2)(title, image)
    assert (read.hidden == 0).all()
    assert seen.hidden.isfinite().all()


def test_a_missing_modality_is_finite_and_says_nothing():
    stack = CoAttention(8, 2, 2)
    one, two = (tokens(3, [[False] * 3, [True] * 3], seed=seed) for seed in (1, 2))
    title = tokens(3)
    first, second = (
        stack(title, ModalTokens(image.hidden, image.mask))[0].hidden[0] for image in (one, two)
    )
    assert torch.equal(first, second)
    stack(title, one)[0].hidden.sum().backward()
    assert all(
        parameter.grad is None or parameter.grad.isfinite().all()
        for parameter in stack.parameters()
    )
