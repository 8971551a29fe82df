import pytest
import torch
from torch import nn

from encoders.bert import BertEmbeddings
from encoders.layers import TransformerLayer
from encoders.packing import PackedTransformer
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
    return BertStream(BertEmbeddings(20, 8, 16), PackedTransformer(layers), (CLS, SEP)).eval()


def by_hand(stream, pieces, image=None):
    """One item's sequence written out: pieces with [CLS] and [SEP] at positions 0, 1, ..., then the patches and their [SEP]."""
    own = stream.embeddings
    ids = torch.tensor(pieces)
    rows = [own.words.weight[ids] + own.positions.weight[: len(ids)] + own.segments.weight[0]]
    if image is not None:
        rows += [
            image + own.segments.weight[VISION],
            (own.words.weight[SEP] + stream.image_end + own.segments.weight[VISION])[None],
        ]
    hidden = own.norm(torch.cat(rows))[None]
    for layer in stream.transformer.layers:
        hidden = layer(hidden, torch.ones(hidden.shape[:2], dtype=torch.bool))
    return hidden[0]


def test_mbsds_sequence_is_the_one_written_out(stream, image):
    states = stream(TITLE, image, QUERY)
    expected = by_hand(stream, [CLS, 5, SEP, 7, 8, 9, SEP], image.hidden[0])
    torch.testing.assert_close(states.node[0], expected[0])
    torch.testing.assert_close(states.title.hidden[0], expected[3:6])
    torch.testing.assert_close(states.image.hidden[0], expected[7:11])
    torch.testing.assert_close(states.image_end[0], expected[11])


def test_an_item_without_a_image_is_its_title_alone(stream, image):
    torch.testing.assert_close(stream(TITLE, image).node[1], by_hand(stream, [CLS, 7, SEP])[0])


def test_the_three_inputs_in_one_pass_are_three_passes(stream, image):
    image = ModalTokens(image.hidden, torch.ones_like(image.mask))
    found = stream.encode_query_views(QUERY, TITLE, image)
    none = torch.zeros(2, 0, dtype=torch.int64)
    expected = (stream(TITLE, image, QUERY), stream(TITLE, None, QUERY), stream(none, image, QUERY))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.node)


def test_vtberts_means_take_the_separator_in(stream, image):
    states = stream(TITLE, image)
    expected = by_hand(stream, [CLS, 7, 8, 9, SEP], image.hidden[0])
    torch.testing.assert_close(states.mean_title()[0], expected[1:5].mean(0))
    torch.testing.assert_close(states.mean_image()[0], expected[5:].mean(0))
    assert (states.mean_image()[1] == 0).all()


def test_a_text_past_the_last_position_is_named(stream):
    with pytest.raises(ValueError, match="position 20 is past the last of 16"):
        stream(torch.full((1, 19), 7))
