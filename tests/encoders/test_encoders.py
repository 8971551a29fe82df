import pytest
import torch

from encoders.descriptors import ImageDescriptors, colour_histograms, oriented_gradients
from encoders.image import ResidualStem
from encoders.knowledge import KnowledgeEncoder
from encoders.layers import Attention, RowDropout, attend
from encoders.text import NgramBag, TextEncoder
from encoders.tokens import ModalTokens


@pytest.fixture
def text():
    torch.manual_seed(0)
    return TextEncoder(vocab_size=30, dim=16, heads=2, layers=1, max_length=8)


def test_padding_changes_no_token(text):
    short = torch.tensor([[5, 6]])
    long = torch.tensor([[5, 6, 0, 0]])
    torch.testing.assert_close(text(short).hidden, text(long).hidden[:, :2])


def test_an_empty_title_is_masked_and_finite(text):
    tokens = text(torch.zeros(1, 3, dtype=torch.int64))
    assert not tokens.mask.any()
    assert tokens.hidden.isfinite().all()


def test_attention_by_plain_products_equals_the_fused_kernel():
    # The plain products are computed in bf16 with gradients, the kernel without gradients.
    q, k, v = torch.randn(3, 2, 2, 5, 4).bfloat16().unbind(0)
    mask = torch.tensor([True, True, False, True, True]).expand(2, 1, 1, 5)
    with torch.no_grad():
        fused = attend(q, k, v, mask)
    torch.testing.assert_close(attend(q, k, v, mask), fused, rtol=0.02, atol=0.02)


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="dim 10 is not a multiple of heads 4"):
        Attention(10, 4)


def test_the_ngram_bag_is_the_weighted_sum_divided_by_the_norm_of_the_weights():
    bag = NgramBag(torch.tensor([0.0, 3.0, 4.0, 2.0]), 4)
    out = bag(torch.tensor([1, 2, 3]), torch.tensor([0, 2, 3]))
    torch.testing.assert_close(out[0], (3 * bag.bag.weight[1] + 4 * bag.bag.weight[2]) / 5)
    torch.testing.assert_close(out[1], bag.bag.weight[3])
    assert (out[2] == 0).all()


def test_a_strings_vector_is_the_mean_over_its_own_span(text):
    strings = torch.tensor([[5, 6, 0], [7, 0, 0]])
    encoder = KnowledgeEncoder(text, strings, property_count=1, dim=16)
    assert encoder.embedding is not None
    expected = encoder.embedding.weight[0] + text(torch.tensor([[5, 6]])).hidden.mean(1)[0]
    torch.testing.assert_close(encoder(torch.tensor([0]))[0], expected)


def test_a_string_without_a_vector_of_its_own_is_its_text_alone(text):
    strings = torch.tensor([[5, 6, 0], [7, 0, 0], [5, 6, 0]])
    encoder = KnowledgeEncoder(text, strings, property_count=1, dim=16, own_vectors=False)
    vectors = encoder(torch.tensor([0, 1, 2]))
    torch.testing.assert_close(vectors[0], text(torch.tensor([[5, 6]])).hidden.mean(1)[0])
    # Strings with the same text have the same vector.
    torch.testing.assert_close(vectors[0], vectors[2])
    names = {name for name, _ in encoder.named_parameters()}
    assert names == {f"text.{name}" for name, _ in text.named_parameters()}


def test_row_dropout_drops_a_feature_of_all_tokens_of_a_row_and_preserves_the_mean():
    out = RowDropout(0.25)(torch.ones(200, 3, 50))
    assert (out == out[:, :1]).all()
    assert out.unique().tolist() == pytest.approx([0, 1 / 0.75])
    assert abs(out.mean() - 1) < 0.03


def test_row_dropout_is_the_identity_outside_training():
    hidden = torch.randn(2, 3, 4)
    assert RowDropout(0.5).eval()(hidden) is hidden


def test_the_mean_is_over_the_tokens_present_and_zero_without_any():
    hidden = torch.tensor([[[1.0], [3.0], [8.0]], [[1.0], [1.0], [1.0]]])
    mask = torch.tensor([[True, True, False], [False] * 3])
    assert ModalTokens(hidden, mask).mean().tolist() == [[2.0], [0.0]]


def test_a_vertical_edge_votes_for_horizontal_gradients():
    image = torch.zeros(1, 3, 32, 32)
    image[..., 16:] = 1
    blocks = oriented_gradients(image).view(1, 36, -1)
    votes = blocks.view(9, 4, -1).sum((1, 2))
    assert votes[0] == votes.sum() > 0


def test_gradient_blocks_have_unit_length():
    blocks = oriented_gradients(torch.rand(2, 3, 32, 32)).view(2, 36, -1)
    torch.testing.assert_close(blocks.norm(dim=1), torch.ones(2, 9))


def test_squared_colour_histograms_sum_to_one_per_image_and_per_cell():
    squares = colour_histograms(torch.rand(2, 3, 32, 32)).square()
    torch.testing.assert_close(squares[:, :512].sum(1), torch.ones(2))
    torch.testing.assert_close(squares[:, 512:].view(2, 16, 64).sum(2), torch.ones(2, 16))


def test_image_encoders_have_the_documented_shapes():
    pixels = torch.randint(0, 255, (2, 3, 64, 64), dtype=torch.uint8)
    assert ResidualStem(16, 64, (4, 8, 8, 8))(pixels).hidden.shape == (2, 17, 16)
    assert ImageDescriptors(64, 6)(pixels).shape == (2, 6)
