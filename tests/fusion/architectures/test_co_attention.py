import torch

from encoders.packing import PackedTokens
from encoders.tokens import ModalTokens
from fusion.architectures.co_attention import CoAttention, CrossAttention


def tokens(length, mask=None, seed=0):
    hidden = torch.randn(2, length, 8, generator=torch.Generator().manual_seed(seed))
    if mask is None:
        return ModalTokens.all_present(hidden)
    return ModalTokens(hidden, torch.tensor(mask))


def test_cross_attention_equals_the_equation():
    layer = CrossAttention(8, 1).double()
    x = tokens(3).hidden.double()
    y = tokens(4, seed=1).hidden.double()
    title = PackedTokens.of(ModalTokens.all_present(x))
    image = PackedTokens.of(ModalTokens.all_present(y))

    key, value = layer.attention.key_value(y).split(8, -1)
    weight = (layer.attention.query(x) @ key.transpose(1, 2) / 8**0.5).softmax(-1)
    x = layer.norm_attention(x + layer.attention.output(weight @ value))
    expected = layer.norm_feed_forward(x + layer.feed_forward(x))
    torch.testing.assert_close(layer(title, image).padded(), expected)


def test_padding_changes_no_token():
    stack = CoAttention(8, 2, 2)
    title = tokens(3, [[True, True, False], [True, False, False]])
    image = tokens(4, [[True] * 4, [True, False, False, False]], seed=1)
    alone, _ = stack(
        ModalTokens(title.hidden[1:, :1], title.mask[1:, :1]),
        ModalTokens(image.hidden[1:, :1], image.mask[1:, :1]),
    )
    together, _ = stack(title, image)
    torch.testing.assert_close(together.hidden[1:, :1], alone.hidden)
    assert (together.hidden[0, 2] == 0).all()


def test_masked_tokens_change_nothing_bit_for_bit():
    stack = CoAttention(8, 2, 2)
    image = tokens(3, [[True, True, False]] * 2, seed=1)
    other = ModalTokens(torch.where(image.mask[..., None], image.hidden, 99.0), image.mask)
    assert torch.equal(stack(tokens(3), image)[0].hidden, stack(tokens(3), other)[0].hidden)


def test_a_stream_can_attend_to_one_that_no_item_has():
    title = tokens(3, [[False] * 3] * 2)
    image = tokens(5, seed=1)
    new_title, new_image = CoAttention(8, 2, 2)(title, image)
    assert (new_title.hidden == 0).all()
    assert new_image.hidden.isfinite().all()


def test_a_missing_modality_is_finite_and_adds_nothing():
    stack = CoAttention(8, 2, 2)
    title = tokens(3)
    image, other_image = (tokens(3, [[False] * 3, [True] * 3], seed=seed) for seed in (1, 2))
    first = stack(title, image)[0].hidden[0]
    second = stack(title, other_image)[0].hidden[0]
    assert torch.equal(first, second)

    stack(title, image)[0].hidden.sum().backward()
    gradients = [p.grad for p in stack.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients)
