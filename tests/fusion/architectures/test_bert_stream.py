import pytest
import torch
from torch import nn

from encoders.bert import BertEmbeddings
from encoders.layers import TransformerLayer
from encoders.packing import PackedTransformer
from encoders.tokenizer import SpecialPieces
from encoders.tokens import ModalTokens
from fusion.architectures.bert_stream import TEXT, VISION, BertStream, InputForm

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


MBSD = InputForm(image_cls=True, image_norm=False, text_types=True)


def mbsd_stream(form=MBSD):
    torch.manual_seed(0)
    layers = nn.ModuleList(TransformerLayer(8, 2, norm_first=False) for _ in range(2))
    special = SpecialPieces(cls=CLS, sep=SEP)
    embeddings = BertEmbeddings(20, 8, 16)
    return BertStream(embeddings, PackedTransformer(layers), special, form=form).double().eval()


def norm(total, layer):
    """Layer norm in plain arithmetic, with the given layer's weights."""
    centred = total - total.mean(-1, keepdim=True)
    deviation = (centred.square().mean(-1, keepdim=True) + layer.eps).sqrt()
    return centred / deviation * layer.weight + layer.bias


def mbsd_by_hand(stream, pieces, types, image=None):
    """Encode one item as MBSD's release does: types 0 and 1, and an image that is not normed."""
    embeddings = stream.embeddings
    ids = torch.tensor(pieces)
    words = embeddings.words.weight[ids] + embeddings.positions.weight[: len(ids)]
    types = embeddings.segments.weight[torch.tensor(types)]
    rows = [norm(words + types, embeddings.norm) + stream.modality[TEXT]]
    if image is not None:
        rows.append(torch.cat([stream.image_cls[None], image]) + stream.modality[VISION])
    hidden = torch.cat(rows)[None]
    for layer in stream.transformer.layers:
        hidden = layer(hidden, torch.ones(hidden.shape[:2], dtype=torch.bool))
    return hidden[0]


def test_mbsds_sequence_equals_the_one_written_out(image):
    stream = mbsd_stream()
    image = ModalTokens(image.hidden.double(), image.mask)
    states = stream(TITLE, image, QUERY)
    pieces = [CLS, 5, SEP, 7, 8, 9, SEP]
    expected = mbsd_by_hand(stream, pieces, [0, 0, 0, 1, 1, 1, 1], image.hidden[0])
    torch.testing.assert_close(states.node[0], expected[0])
    torch.testing.assert_close(states.title.hidden[0], expected[3:6])
    torch.testing.assert_close(states.image.hidden[0], expected[8:12])
    assert torch.equal(states.image_span.hidden, states.image.hidden)


def test_mbsds_title_alone_has_the_first_type(image):
    stream = mbsd_stream()
    image = ModalTokens(image.hidden.double(), image.mask)
    states = stream(TITLE, image)
    expected = mbsd_by_hand(stream, [CLS, 7, 8, 9, SEP], [0] * 5, image.hidden[0])
    torch.testing.assert_close(states.node[0], expected[0])
    # Without an image there is no [CLS] of the image either.
    torch.testing.assert_close(states.node[1], mbsd_by_hand(stream, [CLS, 7, SEP], [0] * 3)[0])


@pytest.mark.parametrize("image_cls", [False, True])
@pytest.mark.parametrize("image_norm", [False, True])
@pytest.mark.parametrize("text_types", [False, True])
def test_in_every_form_query_views_in_one_pass_equal_three_passes(
    image, image_cls, image_norm, text_types
):
    stream = mbsd_stream(InputForm(image_cls, image_norm, text_types))
    image = ModalTokens(image.hidden.double(), torch.ones_like(image.mask))
    views = stream.encode_query_views(QUERY, TITLE, image)
    no_title = torch.zeros(2, 0, dtype=torch.int64)
    torch.testing.assert_close(views.item, stream(TITLE, image, QUERY).node)
    torch.testing.assert_close(views.title, stream(TITLE, None, QUERY).node)
    torch.testing.assert_close(views.image, stream(no_title, image, QUERY).node)


@pytest.mark.parametrize("image_norm", [False, True])
def test_only_the_layer_norm_takes_the_scale_of_an_image_away(image, image_norm):
    stream = mbsd_stream(InputForm(image_norm=image_norm, text_types=True))
    image = ModalTokens(image.hidden.double() * 100, torch.ones_like(image.mask))
    states = stream(TITLE, image)
    larger = stream(TITLE, ModalTokens(image.hidden * 2, image.mask))
    # The embeddings of the image's [SEP] do not change.
    same = torch.allclose(states.image.hidden, larger.image.hidden, atol=1e-3)
    assert same == image_norm


def test_a_text_past_the_last_position_is_refused(stream):
    with pytest.raises(ValueError, match="position 20 is past the last of 16"):
        stream(torch.full((1, 19), 7))
