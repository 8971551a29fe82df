import pytest
import torch

from encoders.tokens import ModalTokens
from fusion.architectures.co_attention import CoAttention
from fusion.architectures.iifm import InitialInteractiveFusion
from fusion.architectures.two_stream import TwoStream


@pytest.fixture
def item():
    """Title and image of two items, of which the second has neither."""
    title = ModalTokens(torch.randn(2, 3, 8), torch.tensor([[True, True, False], [False] * 3]))
    image = ModalTokens(torch.randn(2, 4, 8), torch.tensor([[True] * 4, [False] * 4]))
    return title, image


def two_stream(fuse):
    return TwoStream(CoAttention(8, 2, 1), 8, fuse_title=fuse(), fuse_image=fuse())


def test_the_node_is_the_mean_of_title_tokens_and_mapped_image_tokens(item):
    stream = two_stream(lambda: InitialInteractiveFusion(8, "mean"))
    title, image = stream.co_attention(*item)
    h_t = (item[0].hidden + title.hidden) / 2
    h_i = (item[1].hidden + image.hidden) / 2
    expected = torch.cat([h_t[0, :2], h_i[0] @ stream.image_to_node.weight.T]).mean(0)
    torch.testing.assert_close(stream(*item).node[0], expected)


def test_without_iifm_the_tokens_are_those_after_interaction(item):
    stream = two_stream(lambda: None)
    torch.testing.assert_close(stream(*item).title.hidden, stream.co_attention(*item)[0].hidden)


def test_an_item_without_any_modality_is_zero_and_has_finite_gradients(item):
    stream = two_stream(lambda: InitialInteractiveFusion(8))
    node = stream(*item).node
    assert (node[1] == 0).all()
    node.sum().backward()
    assert all(p.grad.isfinite().all() for p in stream.parameters() if p.grad is not None)
