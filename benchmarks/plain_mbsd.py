"""A plain reading of MBSD's stage II, for comparison: transformers' BERT, torch's convolutions, three padded passes a step.

It is made from our own modules and holds their weights, so that both can be seen to say the same.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertEncoder

from encoders.image import normalise
from encoders.layers import TransformerLayer
from encoders.patches import ConvPatches
from fusion.architectures.bert_stream import BertStream
from fusion.heads import MatchHead


class PlainMBSD(nn.Module):
    """The same function as ``stream.three`` with ``patches`` and ``head``; ``dropout`` as BERT has it."""

    def __init__(
        self, stream: BertStream, patches: ConvPatches, head: MatchHead, dropout: float
    ) -> None:
        super().__init__()
        self.special = stream.special
        self.dropout = nn.Dropout(dropout)
        self.embeddings = copy.deepcopy(stream.embeddings)
        self.head = copy.deepcopy(head)
        self.image_end = copy.deepcopy(stream.image_end)
        self.positions = copy.deepcopy(patches.positions)
        self.norms = copy.deepcopy(patches.norms)
        self.convolutions = nn.ModuleList(
            convolution(cast(nn.Linear, layer), kernel)
            for layer, kernel in zip(patches.convolutions, patches.kernels, strict=True)
        )
        layers = [cast(TransformerLayer, layer) for layer in stream.transformer.layers]
        dim = self.embeddings.words.embedding_dim
        config = BertConfig(
            hidden_size=dim,
            num_hidden_layers=len(layers),
            num_attention_heads=layers[0].attention.heads,
            intermediate_size=4 * dim,
            hidden_act="gelu_pytorch_tanh",
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
            layer_norm_eps=1e-5,
        )
        config._attn_implementation = "sdpa"
        self.encoder = cast(nn.Module, BertEncoder(config))  # type: ignore[no-untyped-call]
        for mine, theirs in zip(layers, cast(nn.ModuleList, self.encoder.layer), strict=True):
            copy_layer(mine, theirs)

    def image(self, pixels: Tensor) -> Tensor:
        """Pixels [B, 3, S, S] to patches [B, P, D] by convolutions."""
        x = normalise(pixels)
        for number, layer in enumerate(self.convolutions):
            x = layer(x)
            if number < len(self.norms):
                x = F.relu(self.norms[number](x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2))
        return x.flatten(2).transpose(1, 2) + self.positions

    def read(self, texts: list[list[int]], longest: int, patches: Tensor | None) -> Tensor:
        """h([CLS]) [B, D] of texts (each with its [CLS] and [SEP]), padded to ``longest``, before patches [B, P, D]."""
        ids = torch.tensor(
            [text + [0] * (longest - len(text)) for text in texts], device=self.image_end.device
        )
        mask = ids != 0
        hidden = (
            self.embeddings.words(ids)
            + self.embeddings.positions.weight[:longest]
            + self.embeddings.segments.weight[0]
        )
        if patches is not None:
            end = (self.embeddings.words.weight[self.special[1]] + self.image_end).expand(
                len(ids), 1, -1
            )
            hidden = torch.cat(
                [hidden, torch.cat([patches, end], 1) + self.embeddings.segments.weight[1]], 1
            )
            mask = torch.cat([mask, mask.new_ones(len(ids), patches.shape[1] + 1)], 1)
        hidden = self.dropout(self.embeddings.norm(hidden))
        return cast(
            Tensor,
            self.encoder(hidden, attention_mask=mask[:, None, None, :]).last_hidden_state[:, 0],
        )

    def forward(
        self,
        query: list[list[int]],
        title: list[list[int]],
        pixels: Tensor,
        limit: tuple[int, int] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """h, h^t and h^v [B, D] of Figure 4's three inputs, each in a pass of its own.

        Texts are padded to the batch's longest, or to a ``limit`` of query and title, as the paper's batches of 1,024 come to.
        """
        cls, sep = self.special
        both = [[cls, *q, sep, *t, sep] for q, t in zip(query, title, strict=True)]
        alone = [[cls, *q, sep] for q in query]
        wide = max(map(len, both)) if limit is None else 3 + sum(limit)
        narrow = max(map(len, alone)) if limit is None else 2 + limit[0]
        whole = self.read(both, wide, self.image(pixels))
        text = self.read(both, wide, None)
        return whole, text, self.read(alone, narrow, self.image(pixels))


def convolution(layer: nn.Linear, kernel: int) -> nn.Conv2d:
    """The convolution that a linear map of cut-up pixels is."""
    made = nn.Conv2d(layer.in_features // kernel**2, layer.out_features, kernel, stride=kernel)
    weight = layer.weight.detach().view(layer.out_features, kernel, kernel, -1).permute(0, 3, 1, 2)
    made.load_state_dict({"weight": weight.contiguous(), "bias": layer.bias.detach()})
    return made


@torch.no_grad()
def copy_layer(mine: TransformerLayer, theirs: nn.Module) -> None:
    """Our layer's weights into transformers'."""
    state = mine.state_dict()
    key, value = (state[f"attention.key_value.{name}"].chunk(2) for name in ("weight", "bias"))
    own = {
        "attention.self.key.weight": key[0],
        "attention.self.key.bias": value[0],
        "attention.self.value.weight": key[1],
        "attention.self.value.bias": value[1],
    }
    for theirs_name, mine_name in {
        "attention.self.query": "attention.query",
        "attention.output.dense": "attention.output",
        "attention.output.LayerNorm": "norm_attention",
        "intermediate.dense": "feed_forward.0",
        "output.dense": "feed_forward.2",
        "output.LayerNorm": "norm_feed_forward",
    }.items():
        own |= {
            f"{theirs_name}.{kind}": state[f"{mine_name}.{kind}"] for kind in ("weight", "bias")
        }
    theirs.load_state_dict(own)
