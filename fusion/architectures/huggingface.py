"""Whole models of transformers as baselines: CLIP, ViLT, VisualBERT and LXMERT.

Shapes: B items, L word pieces of a sequence, P patches, R regions, F features of a region, S pixels
per side, D the model's width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from encoders.base import ImageEncoder, PieceEncoder
from encoders.batch import ItemBatch
from encoders.image import HALF, Standardise
from encoders.tokenizer import CatalogTokenizer, SpecialPieces
from encoders.tokens import ModalTokens
from encoders.transformers_settings import call_transformers, parse_settings
from fusion.architectures.base import ItemFusion, ModelParts, fused_items
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageFeatures
from fusion.images import ImageReader, JoinedRegions, PixelImages, RegionImages

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
BOX = 4
"""Numbers of a region's box, which follow its features in a token."""


@dataclass(frozen=True)
class WrappedStates:
    """The states of a wrapped model.

    Attributes:
        node: the item [B, D]
        text: the states of the word pieces [B, L, D]
        image: the states of the image's tokens [B, P, D], or None if no item has an image
    """

    node: Tensor
    text: ModalTokens
    image: ModalTokens | None


class WrappedReader(nn.Module):
    """Base class: a model of transformers, ``whole``, with an interface common to all of them."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole = whole

    def embedding(self) -> nn.Embedding:
        """Return the embeddings of word pieces."""
        table: nn.Embedding = self.whole.get_input_embeddings()
        return table

    def forward(self, ids: Tensor, mask: Tensor, image: ModalTokens | None) -> WrappedStates:
        """Read word pieces ``ids`` [B, L] with their ``mask`` [B, L], and ``image`` tokens."""
        raise NotImplementedError


@dataclass(frozen=True)
class _PieceSequence:
    """Word pieces with [CLS] and [SEP].

    Attributes:
        ids: [B, L]
        mask: which of them are present [B, L]
        title_start: the index of the title's first piece
    """

    ids: Tensor
    mask: Tensor
    title_start: int


class WrappedFusion(ItemFusion):
    """[CLS] query [SEP] title [SEP], with image tokens, through a wrapped model.

    Args:
        reader: the wrapped model
        special: the ids of the special pieces
    """

    def __init__(self, reader: WrappedReader, special: SpecialPieces) -> None:
        super().__init__()
        self.reader = reader
        self.special = special

    @property
    def whole(self) -> nn.Module:
        """The model of transformers, into which pretrained weights are loaded."""
        whole: nn.Module = self.reader.whole
        return whole

    @property
    def piece_embedding(self) -> nn.Embedding:
        """The embeddings of word pieces."""
        return self.reader.embedding()

    def title_positions(self, index: Tensor) -> Tensor:
        """Raise TypeError: a wrapped model does not expose its position embeddings."""
        raise TypeError(f"{type(self.reader).__name__} has no position embeddings of titles")

    def forward(
        self, batch: ItemBatch, image: ImageFeatures | None, query: Tensor | None = None
    ) -> FusedItems:
        """Fuse titles [B, L] with image tokens [B, P, D] and ``query`` pieces [B, Q]."""
        sequence = self._sequence(batch.pieces, query)
        states = self._read(sequence, None if image is None else image.tokens)
        title_part = slice(sequence.title_start, sequence.title_start + batch.pieces.shape[1])
        title = ModalTokens(states.text.hidden[:, title_part], batch.pieces != 0)
        memory = [states.text] if states.image is None else [states.text, states.image]
        return fused_items(
            states.node,
            memory=memory,
            title=title,
            image=states.image,
            title_span=title,
            image_span=title.empty() if states.image is None else states.image,
        )

    def read_strings(self, pieces: Tensor) -> ModalTokens:
        """Encode ``pieces`` [B, L] alone, with [CLS] and [SEP]: [B, 1 + L + 1, D]."""
        return self._read(self._sequence(pieces, None), None).text

    def _sequence(self, title: Tensor, query: Tensor | None) -> _PieceSequence:
        """Join query and title; one that is empty has no [SEP] either."""
        ones = title.new_ones(len(title), 1)
        ids = [ones * self.special.cls]
        mask = [ones.bool()]
        for part in (query, title):
            if part is not None:
                ids += [part, ones * self.special.sep]
                mask += [part != 0, (part != 0).any(1, keepdim=True)]
        title_start = 1 if query is None else 2 + query.shape[1]
        return _PieceSequence(torch.cat(ids, 1), torch.cat(mask, 1), title_start)

    def _read(self, sequence: _PieceSequence, image: ModalTokens | None) -> WrappedStates:
        """Read a sequence with its padding moved to the end.

        The models of transformers number the places of a sequence, padding included. Padding
        between query and title would therefore shift the title's positions.
        """
        order = (~sequence.mask).to(torch.int8).argsort(dim=1, stable=True)
        ids = sequence.ids.gather(1, order)
        mask = sequence.mask.gather(1, order)
        states: WrappedStates = self.reader(ids, mask, image)
        back = order.argsort(1)[..., None].expand_as(states.text.hidden)
        text = ModalTokens(states.text.hidden.gather(1, back), sequence.mask)
        return WrappedStates(states.node, text, states.image)


class WrappedText(PieceEncoder):
    """The encoder of properties and values: the wrapped model without images."""

    def __init__(self, fusion: WrappedFusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, pieces: Tensor, limit: int | None = None) -> ModalTokens:
        """Encode ``pieces`` [B, L] (0 is padding) as tokens [B, 1 + L + 1, D]."""
        return self.fusion.read_strings(pieces)


class ClipReader(WrappedReader):
    """CLIP: two towers that meet in a common space; the item is the mean of their outputs."""

    def embedding(self) -> nn.Embedding:
        """Return the embeddings of word pieces of the text tower."""
        table: nn.Embedding = self.whole.text_model.embeddings.token_embedding
        return table

    def forward(self, ids: Tensor, mask: Tensor, image: ModalTokens | None) -> WrappedStates:
        """Read ``ids`` [B, L] with ``mask`` [B, L], and ``image`` tokens [B, 1 + P, D].

        The output of the text tower is the state of its last token, that of the image tower the
        state of its first one. An output of a missing modality does not count.
        """
        states = self.whole.text_model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        text = ModalTokens(self.whole.text_projection(states), mask)
        last = mask.sum(1) - 1
        text_output = text.hidden[torch.arange(len(ids), device=ids.device), last]
        # A sequence of [CLS] alone is a missing title.
        outputs = ModalTokens(text_output[:, None], (last > 0)[:, None])
        if image is not None:
            image_output = ModalTokens(image.hidden[:, :1], image.mask[:, :1])
            outputs = ModalTokens.concatenate([outputs, image_output])
        return WrappedStates(outputs.mean(), text, image)


class ClipImages(ImageEncoder):
    """The vision tower of CLIP, whose tokens are mapped to the common space.

    Args:
        whole: the CLIPModel, whose text tower is used elsewhere
    """

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.tower = whole.vision_model
        self.projection = whole.visual_projection
        self.standardise = Standardise(CLIP_MEAN, CLIP_STD)
        vision = whole.config.vision_config
        self.patch_size = vision.patch_size
        self.grid = vision.image_size // vision.patch_size
        self.global_tokens = 1

    def forward(self, pixels: Tensor) -> ModalTokens:
        """Encode ``pixels`` [B, 3, S, S] uint8 as tokens [B, 1 + P, D], the global one first."""
        states = self.tower(pixel_values=self.standardise(pixels)).last_hidden_state
        # CLIP itself normalises and projects the first token alone.
        return ModalTokens.all_present(self.projection(self.tower.post_layernorm(states)))

    def masked_tokens(self, vector: Tensor) -> Tensor:
        """Return the tokens [P, D] of patches whose content is replaced by ``vector`` [D].

        The tower's own position embeddings, mapped like its states, say where a patch was.
        """
        positions = self.tower.embeddings.position_embedding.weight[self.global_tokens :]
        return vector + self.projection(positions)


class ViltPatches(ImageEncoder):
    """ViLT's patch embedding with its own [CLS] and positions.

    ViLT itself shuffles its patches; here they stay in order, so that they can be predicted.

    Args:
        embeddings: the embeddings of the ViltModel
        size: pixels per side of the images
        patch: pixels per side of a patch
    """

    def __init__(self, embeddings: Any, size: int, patch: int) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.standardise = Standardise(HALF, HALF)
        self.patch_size = patch
        self.grid = size // patch
        self.global_tokens = 1

    def forward(self, pixels: Tensor) -> ModalTokens:
        """Encode ``pixels`` [B, 3, S, S] uint8 as tokens [B, 1 + P, D], the global one first."""
        embeddings = self.embeddings
        patches = embeddings.patch_embeddings(self.standardise(pixels))
        patches = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([embeddings.cls_token.expand(len(patches), -1, -1), patches], 1)
        return ModalTokens.all_present(embeddings.dropout(tokens + embeddings.position_embeddings))

    def masked_tokens(self, vector: Tensor) -> Tensor:
        """Return the tokens [P, D] of patches whose content is replaced by ``vector`` [D]."""
        return vector + self.embeddings.position_embeddings[0, self.global_tokens :]


class ViltReader(WrappedReader):
    """ViLT over text and patches; the item is the state of the first token."""

    def forward(self, ids: Tensor, mask: Tensor, image: ModalTokens | None) -> WrappedStates:
        """Read ``ids`` [B, L] with ``mask`` [B, L], and ``image`` tokens [B, 1 + P, D].

        ViLT cannot do without an image; a masked token takes its place.
        """
        tokens = _masked_token(ids, self.whole.config.hidden_size) if image is None else image
        states = self.whole(
            input_ids=ids,
            attention_mask=mask.long(),
            image_embeds=tokens.hidden,
            pixel_mask=tokens.mask.long(),
        ).last_hidden_state
        return _split_states(states, mask, image)


class VisualBertReader(WrappedReader):
    """VisualBERT over text and regions; the item is the state of [CLS]."""

    def forward(self, ids: Tensor, mask: Tensor, image: ModalTokens | None) -> WrappedStates:
        """Read ``ids`` [B, L] with ``mask`` [B, L], and regions [B, R, F + 4] without their box."""
        visual = {}
        if image is not None:
            visual = {
                "visual_embeds": image.hidden[..., :-BOX],
                "visual_attention_mask": image.mask.long(),
                "visual_token_type_ids": torch.ones_like(image.mask, dtype=torch.long),
            }
        states = self.whole(input_ids=ids, attention_mask=mask.long(), **visual).last_hidden_state
        return _split_states(states, mask, image)


class LxmertReader(WrappedReader):
    """LXMERT over text and regions with their boxes; the item is the language side's [CLS]."""

    def forward(self, ids: Tensor, mask: Tensor, image: ModalTokens | None) -> WrappedStates:
        """Read ``ids`` [B, L] with ``mask`` [B, L], and regions [B, R, F + 4].

        LXMERT cannot do without regions; a masked one takes their place.
        """
        width = self.whole.config.visual_feat_dim + BOX
        regions = _masked_token(ids, width) if image is None else image
        output = self.whole(
            input_ids=ids,
            attention_mask=mask.float(),
            visual_feats=regions.hidden[..., :-BOX],
            visual_pos=regions.hidden[..., -BOX:],
            visual_attention_mask=regions.mask.float(),
        )
        text = ModalTokens(output.language_output, mask)
        image_states = None if image is None else ModalTokens(output.vision_output, image.mask)
        return WrappedStates(text.hidden[:, 0], text, image_states)


def _masked_token(ids: Tensor, width: int) -> ModalTokens:
    """Return one masked image token [B, 1, width] per row of ``ids`` [B, L]."""
    hidden = torch.zeros(len(ids), 1, width, device=ids.device)
    return ModalTokens(hidden, torch.zeros(len(ids), 1, dtype=torch.bool, device=ids.device))


def _split_states(states: Tensor, mask: Tensor, image: ModalTokens | None) -> WrappedStates:
    """Split the states [B, L + P, D] of one stream into those of the text and of the image."""
    length = mask.shape[1]
    image_states = None if image is None else ModalTokens(states[:, length:], image.mask)
    return WrappedStates(states[:, 0], ModalTokens(states[:, :length], mask), image_states)


def wrapped_settings(wrapped: Any) -> dict[str, Any]:
    """Return the fields of a :class:`ModelConfig` that follow from a configuration of transformers.

    The positions of the wrapped model are shared out between title and query; [CLS] and two [SEP]
    need three.
    """
    kind = wrapped.model_type
    if kind == "clip":
        vision = wrapped.vision_config
        room = wrapped.text_config.max_position_embeddings - 3
        return {
            "dim": wrapped.projection_dim,
            "heads": wrapped.text_config.num_attention_heads,
            "max_query": room // 4,
            "max_title": room - room // 4,
            "max_string": room,
            "image_encoder": "wrapped",
            **_patch_settings(vision.image_size, vision.patch_size),
        }

    room = wrapped.max_position_embeddings - 3
    settings = {
        "dim": wrapped.hidden_size,
        "heads": wrapped.num_attention_heads,
        "max_title": min(48, room - 16),
        "max_query": min(16, room // 4),
    }
    if kind == "vilt":
        patches = _patch_settings(wrapped.image_size, wrapped.patch_size)
        return {**settings, "image_encoder": "wrapped", **patches}
    width = wrapped.visual_embedding_dim if kind == "visual_bert" else wrapped.visual_feat_dim
    return {**settings, "image_encoder": "regions", "region_width": width}


def _patch_settings(size: int, patch: int) -> dict[str, Any]:
    return {"image_size": size, "image_grid": size // patch, "patch_kernels": (patch,)}


def wrapped_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> ModelParts:
    """Build a wrapped model with random weights, into which pretrained ones can be loaded.

    Raises ValueError if its configuration cannot be used.
    """
    # The configuration is part of ours, so that a model folder needs no hub to be opened.
    settings = parse_settings(config.wrapped)
    return call_transformers(lambda: _wrapped_parts(config, tokenizer, settings))


def _wrapped_parts(
    config: ModelConfig, tokenizer: CatalogTokenizer, settings: dict[str, Any]
) -> ModelParts:
    import transformers

    reader: WrappedReader
    images: ImageReader
    match config.architecture:
        case "clip":
            clip = transformers.CLIPModel(transformers.CLIPConfig.from_dict(settings))
            reader = ClipReader(clip)
            images = PixelImages(ClipImages(clip))
        case "vilt":
            vilt = transformers.ViltModel(transformers.ViltConfig.from_dict(settings))
            reader = ViltReader(vilt)
            images = PixelImages(
                ViltPatches(vilt.embeddings, config.image_size, config.patch_kernels[0])
            )
        case "visual_bert":
            visual_bert = transformers.VisualBertConfig.from_dict(settings)
            reader = VisualBertReader(transformers.VisualBertModel(visual_bert))
            images = RegionImages(JoinedRegions())
        case _:
            lxmert = transformers.LxmertConfig.from_dict(settings)
            reader = LxmertReader(transformers.LxmertModel(lxmert))
            images = RegionImages(JoinedRegions())
    fusion = WrappedFusion(reader, tokenizer.special)
    return ModelParts(fusion=fusion, text=WrappedText(fusion), images=images)
