import pytest
import torch
from torch import nn

from encoders.bert import BertEmbeddings
from encoders.layers import TransformerLayer
from encoders.packing import PackedTransformer
from encoders.tokenizer import SpecialPieces
from encoders.tokens import ModalTokens
from fusion.architectures.bert_stream import VISION, BertStream

TITLE = torch.tensor([[7, 8, 9], [7, 0, 0]])
QUERY = torch.tensor([[5, 0], [5, 6]])
CLS = 2
SEP = 3


@pytest.fixture
def image():
    return ModalTokens(torch.randn(2, 4, 8), torch.tensor([[True] * 4, [False] * 4]))


@pytest.fixture
def stream():
    torch.manual_seed(0)
    layers = nn.ModuleList(TransformerLayer(8, 2, norm_first=False) for _ in range(2))
    special = SpecialPieces(cls=CLS, sep=SEP)
    return BertStream(BertEmbeddings(20, 8, 16), PackedTransformer(layers), special).eval()


def by_hand(stream, pieces, image=None):
    """Encode one item step by step.

    Its word pieces, with [CLS] and [SEP], have positions 0, 1, ...; patches and their [SEP] follow.
    """
    embeddings = stream.embeddings
    ids = torch.tensor(pieces)
    positions = embeddings.positions.weight[: len(ids)]
    rows = [embeddings.words.weight[ids] + positions + embeddings.segments.weight[0]]
    if image is not None:
        vision = embeddings.segments.weight[VISION]
        end = embeddings.words.weight[SEP] + stream.image_end + vision
        rows += [image + vision, end[None]]
    hidden = embeddings.norm(torch.cat(rows))[None]
    for layer in stream.transformer.layers:
        hidden = layer(hidden, torch.ones(hidden.shape[:2], dtype=torch.bool))
    return hidden[0]


def test_the_sequence_equals_the_one_written_out(stream, image):
    states = stream(TITLE, image, QUERY)
    expected = by_hand(stream, [CLS, 5, SEP, 7, 8, 9, SEP], image.hidden[0])
    torch.testing.assert_close(states.node[0], expected[0])
    torch.testing.assert_close(states.title.hidden[0], expected[3:6])
    torch.testing.assert_close(states.image.hidden[0], expected[7:11])
    torch.testing.assert_close(states.image_span.hidden[0, -1], expected[11])


def test_an_item_without_an_image_is_its_title_alone(stream, image):
    expected = by_hand(stream, [CLS, 7, SEP])[0]
    torch.testing.assert_close(stream(TITLE, image).node[1], expected)


def test_query_views_in_one_pass_equal_three_passes(stream, image):
    image = ModalTokens(image.hidden, torch.ones_like(image.mask))
    views = stream.encode_query_views(QUERY, TITLE, image)
    no_title = torch.zeros(2, 0, dtype=torch.int64)
    torch.testing.assert_close(views.item, stream(TITLE, image, QUERY).node)
    torch.testing.assert_close(views.title, stream(TITLE, None, QUERY).node)
    torch.testing.assert_close(views.image, stream(no_title, image, QUERY).node)


def test_vtberts_means_include_the_separator(stream, image):
    states = stream(TITLE, image)
    expected = by_hand(stream, [CLS, 7, 8, 9, SEP], image.hidden[0])
    torch.testing.assert_close(states.title_span.mean()[0], expected[1:5].mean(0))
    torch.testing.assert_close(states.image_span.mean()[0], expected[5:].mean(0))
    assert (states.image_span.mean()[1] == 0).all()


def test_a_text_past_the_last_position_is_refused(stream):
    with pytest.raises(ValueError, match="position 20 is past the last of 16"):
        stream(torch.full((1, 19), 7))
