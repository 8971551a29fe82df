"""A plain implementation of MBSD's stage II to compare with: a baseline for speed and results.

It is transformers' BERT with torch's convolutions and three padded passes per step. It is built
from our own modules and copies their weights, so that both can be shown to compute the same.

Shapes: N pairs of a query and an item, P patches, S pixels per side, L tokens, D the model's width.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder

from encoders.image import Standardise
from encoders.layers import TransformerLayer
from encoders.patches import ConvPatches
from fusion.architectures.bert_stream import BertStream
from fusion.fused import QueryViews
from fusion.heads import MatchHead


@dataclass(frozen=True)
class TextLimits:
    """The longest query and the longest title, in word pieces."""

    query: int
    title: int


class PlainMBSD(nn.Module):
    """The same function as MBSD's stage II, with patches and a match head.

    It computes what :meth:`fusion.architectures.bert_stream.BertStream.encode_query_views` does.

    Args:
        stream: the stream whose weights are copied
        patches: the image encoder whose weights are copied
        head: the match head, which is copied
        dropout: dropout rate, applied as in BERT
    """

    def __init__(
        self, stream: BertStream, patches: ConvPatches, head: MatchHead, dropout: float
    ) -> None:
        super().__init__()
        self.special = stream.special
        self.dropout = nn.Dropout(dropout)
        self.embeddings = copy.deepcopy(stream.embeddings)
        self.head = copy.deepcopy(head)
        self.form = stream.form
        self.image_end = copy.deepcopy(stream.image_end)
        self.image_cls = copy.deepcopy(stream.image_cls)
        self.modality = copy.deepcopy(stream.modality)
        self.positions = copy.deepcopy(patches.positions)
        self.norms = copy.deepcopy(patches.norms)
        self.convolutions = nn.ModuleList(
            convolution(cast(nn.Linear, layer), kernel)
            for layer, kernel in zip(patches.convolutions, patches.kernels, strict=True)
        )
        layers = [cast(TransformerLayer, layer) for layer in stream.transformer.layers]
        gelu = cast(nn.GELU, layers[0].feed_forward[1])
        dim = self.embeddings.words.embedding_dim
        config = BertConfig(
            hidden_size=dim,
            num_hidden_layers=len(layers),
            num_attention_heads=layers[0].attention.heads,
            intermediate_size=4 * dim,
            hidden_act="gelu" if gelu.approximate == "none" else "gelu_pytorch_tanh",
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            layer_norm_eps=layers[0].norm_attention.eps,
        )
        config._attn_implementation = "sdpa"
        self.encoder = cast(nn.Module, BertEncoder(config))  # type: ignore[no-untyped-call]
        for source, target in zip(layers, cast(nn.ModuleList, self.encoder.layer), strict=True):
            copy_layer(source, target)

    def image(self, pixels: Tensor) -> Tensor:
        """Encode ``pixels`` [N, 3, S, S] uint8 as patches [N, P, D] by convolutions."""
        x = Standardise()(pixels)
        for number, layer in enumerate(self.convolutions):
            x = layer(x)
            if number < len(self.norms):
                x = F.relu(self.norms[number](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return x.flatten(2).transpose(1, 2) + self.positions

    def read(
        self,
        texts: list[list[int]],
        length: int,
        patches: Tensor | None,
        first: list[int] | None = None,
    ) -> Tensor:
        """Return h([CLS]) [N, D] of N texts, followed by ``patches`` [N, P, D].

        The texts contain [CLS] and [SEP], and are padded to ``length``. Of the token types, the
        ``first`` [N] pieces of each text have 0 and the others 1; all have 0 if it is None.
        """
        padded = [text + [0] * (length - len(text)) for text in texts]
        device = self.positions.device
        ids = torch.tensor(padded, device=device)
        mask = ids != 0
        types = torch.zeros_like(ids)
        if first is not None and self.form.text_types:
            types = (
                torch.arange(length, device=device) >= torch.tensor(first, device=device)[:, None]
            )
        segments = self.embeddings.segments.weight
        hidden = (
            self.embeddings.words(ids)
            + self.embeddings.positions.weight[:length]
            + self.embeddings.segments(types.long())
        )
        norm = self.embeddings.norm
        if patches is None:
            hidden = norm(hidden)
        else:
            image = self.with_ends(patches)
            mask = torch.cat([mask, mask.new_ones(image.shape[:2])], 1)
            if self.modality is None:
                image = image + segments[1]
            hidden = torch.cat([norm(hidden), norm(image) if self.form.image_norm else image], 1)
        if self.modality is not None:
            in_image = torch.arange(hidden.shape[1], device=device) >= length
            hidden = hidden + self.modality[in_image.long()]
        hidden = self.dropout(hidden)
        states: Tensor = self.encoder(
            hidden, attention_mask=mask[:, None, None, :]
        ).last_hidden_state
        return states[:, 0]

    def with_ends(self, patches: Tensor) -> Tensor:
        """Add the image's [CLS] before ``patches`` [N, P, D], or a [SEP] after them."""
        tokens = [patches]
        if self.image_cls is not None:
            tokens.insert(0, self.image_cls.expand(len(patches), 1, -1))
        if self.image_end is not None:
            end = self.embeddings.words.weight[self.special.sep] + self.image_end
            tokens.append(end.expand(len(patches), 1, -1))
        return torch.cat(tokens, 1)

    def forward(
        self,
        query: list[list[int]],
        title: list[list[int]],
        pixels: Tensor,
        limits: TextLimits | None = None,
    ) -> QueryViews:
        """Encode the three inputs of MBSD's Figure 4, each in a pass of its own.

        Texts are padded to the longest of their batch. With ``limits`` they are padded to these, as
        they nearly are in the paper's batches of 1,024.
        """
        cls, sep = self.special.cls, self.special.sep
        both = [[cls, *q, sep, *t, sep] for q, t in zip(query, title, strict=True)]
        alone = [[cls, *q, sep] for q in query]
        if limits is None:
            length = max(len(text) for text in both)
            query_length = max(len(text) for text in alone)
        else:
            length = 3 + limits.query + limits.title
            query_length = 2 + limits.query
        first = [len(text) for text in alone]
        return QueryViews(
            item=self.read(both, length, self.image(pixels), first),
            title=self.read(both, length, None, first),
            image=self.read(alone, query_length, self.image(pixels)),
        )


def convolution(layer: nn.Linear, kernel: int) -> nn.Conv2d:
    """Return the convolution that equals a linear map of cut-up pixels."""
    channels = layer.in_features // kernel**2
    convolution = nn.Conv2d(channels, layer.out_features, kernel, stride=kernel)
    # The numbers of a cut-up patch are in the order row, column, channel.
    weight = layer.weight.detach().view(layer.out_features, kernel, kernel, -1).permute(0, 3, 1, 2)
    convolution.load_state_dict({"weight": weight.contiguous(), "bias": layer.bias.detach()})
    return convolution


@torch.no_grad()
def copy_layer(source: TransformerLayer, target: nn.Module) -> None:
    """Copy the weights of our layer into a layer of transformers' BERT."""
    state = source.state_dict()
    key_weight, value_weight = state["attention.key_value.weight"].chunk(2)
    key_bias, value_bias = state["attention.key_value.bias"].chunk(2)
    copied = {
        "attention.self.key.weight": key_weight,
        "attention.self.key.bias": key_bias,
        "attention.self.value.weight": value_weight,
        "attention.self.value.bias": value_bias,
    }
    names = {
        "attention.self.query": "attention.query",
        "attention.output.dense": "attention.output",
        "attention.output.LayerNorm": "norm_attention",
        "intermediate.dense": "feed_forward.0",
        "output.dense": "feed_forward.2",
        "output.LayerNorm": "norm_feed_forward",
    }
    for target_name, source_name in names.items():
        for kind in ("weight", "bias"):
            copied[f"{target_name}.{kind}"] = state[f"{source_name}.{kind}"]
    target.load_state_dict(copied)
