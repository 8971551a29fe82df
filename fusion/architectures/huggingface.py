"""Models of transformers read whole, as baselines: CLIP, ViLT, VisualBERT, LXMERT."""

from __future__ import annotations

import json
from typing import Any

import torch
from torch import Tensor, nn

from encoders.batch import ItemBatch
from encoders.image import HALF, normalise
from encoders.tokenizer import CatalogTokenizer, SpecialPieces
from encoders.tokens import ModalTokens
from fusion.architectures.base import ItemFusion, ModelParts, fused_items
from fusion.config import ModelConfig
from fusion.fused import FusedItems, ImageParts
from fusion.images import ImageReader, JoinedRegions, PixelImages, RegionImages

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class Reader(nn.Module):
    """Reads through one model of transformers, its ``whole``."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.whole = whole

    def embedding(self) -> nn.Embedding:
        """The table of its word pieces."""
        table: nn.Embedding = self.whole.get_input_embeddings()
        return table

    def forward(
        self, ids: Tensor, mask: Tensor, image: ModalTokens | None
    ) -> tuple[Tensor, ModalTokens, ModalTokens | None]:
        """``ids`` and ``mask`` [B, L], image tokens to the item [B, D], text states [B, L, D] and image states [B, P, D]."""
        raise NotImplementedError


class WrappedFusion(ItemFusion):
    """[CLS] query [SEP] title [SEP] with image tokens through a wrapped model."""

    def __init__(self, reader: Reader, special: SpecialPieces) -> None:
        super().__init__()
        self.reader = reader
        self.special = special

    @property
    def whole(self) -> nn.Module:
        """The model of transformers, which pretrained weights fill."""
        whole: nn.Module = self.reader.whole
        return whole

    @property
    def pieces(self) -> nn.Embedding:
        """The word pieces' embeddings."""
        return self.reader.embedding()

    def title_positions(self, place: Tensor) -> Tensor:
        """Raises TypeError: a wrapped model keeps its positions to itself."""
        raise TypeError(f"{type(self.reader).__name__} has no position embeddings of titles")

    def forward(
        self, batch: ItemBatch, image: ImageParts | None, query: Tensor | None = None
    ) -> FusedItems:
        """Titles [B, L], image tokens [B, P, D], ``query`` pieces [B, Q] to fused items [B, D]."""
        ids, mask, first = self.framed(batch.pieces, query)
        node, text, seen = self.read(ids, mask, None if image is None else image.tokens)
        own = slice(first, first + batch.pieces.shape[1])
        title = ModalTokens(text.hidden[:, own], batch.pieces != 0)
        parts = [text] if seen is None else [text, seen]
        return fused_items(
            node, parts, title, seen, (title, title.none() if seen is None else seen)
        )

    def read(
        self, ids: Tensor, mask: Tensor, image: ModalTokens | None
    ) -> tuple[Tensor, ModalTokens, ModalTokens | None]:
        """What the reader makes of ``ids`` [B, L], those of ``mask`` first, since their positions count places, not tokens."""
        order = (~mask).to(torch.int8).argsort(dim=1, stable=True)
        node, text, seen = self.reader(ids.gather(1, order), mask.gather(1, order), image)
        back = order.argsort(1)[..., None].expand_as(text.hidden)
        return node, ModalTokens(text.hidden.gather(1, back), mask), seen

    def framed(self, title: Tensor, query: Tensor | None) -> tuple[Tensor, Tensor, int]:
        """Pieces [B, S] and which are there, and where the title begins; an empty part has no [SEP]."""
        one = title.new_ones(len(title), 1)
        ids = [one * self.special.cls]
        mask = [one.bool()]
        for part in (query, title):
            if part is not None:
                ids += [part, one * self.special.sep]
                mask += [part != 0, (part != 0).any(1, keepdim=True)]
        return torch.cat(ids, 1), torch.cat(mask, 1), 1 if query is None else 2 + query.shape[1]


class WrappedText(nn.Module):
    """Strings of properties and values through the wrapped model's text side alone."""

    def __init__(self, fusion: WrappedFusion) -> None:
        super().__init__()
        self.fusion = fusion

    def forward(self, pieces: Tensor) -> ModalTokens:
        """``pieces`` [B, L] (0 pads) to tokens [B, 1 + L + 1, D]."""
        ids, mask, _ = self.fusion.framed(pieces, None)
        return self.fusion.read(ids, mask, None)[1]


class ClipReader(Reader):
    """Two towers that meet in CLIP's common space; the item is the mean of the towers' outputs that are there."""

    def embedding(self) -> nn.Embedding:
        """The text tower's."""
        table: nn.Embedding = self.whole.text_model.embeddings.token_embedding
        return table

    def forward(
        self, ids: Tensor, mask: Tensor, image: ModalTokens | None
    ) -> tuple[Tensor, ModalTokens, ModalTokens | None]:
        """``ids`` and ``mask`` [B, L], image tokens [B, P, D]: a text's output is its last token's, an image's its first's."""
        states = self.whole.text_model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        text = ModalTokens(self.whole.text_projection(states), mask)
        last = mask.sum(1) - 1
        outputs = text.hidden[torch.arange(len(ids), device=ids.device), last][:, None]
        there = (last > 0)[:, None]
        both = ModalTokens(outputs, there)
        if image is not None:
            both = ModalTokens.concatenate(
                [both, ModalTokens(image.hidden[:, :1], image.mask[:, :1])]
            )
        return both.mean(), text, image


class ClipImages(nn.Module):
    """CLIP's vision tower: images to tokens in the common space, the global one first."""

    def __init__(self, whole: Any) -> None:
        super().__init__()
        self.tower = whole.vision_model
        self.projection = whole.visual_projection
        own = whole.config.vision_config
        self.size_of_patch = own.patch_size
        self.grid = own.image_size // own.patch_size
        self.global_tokens = 1

    def forward(self, pixels: Tensor) -> ModalTokens:
        """``pixels`` [B, 3, S, S] uint8 to tokens [B, 1 + P, D]."""
        states = self.tower(pixel_values=normalise(pixels, CLIP_MEAN, CLIP_STD)).last_hidden_state
        return ModalTokens.whole(self.projection(self.tower.post_layernorm(states)))


class ViltPatches(nn.Module):
    """ViLT's patch embedding with its own [CLS] and positions, in order."""

    def __init__(self, embeddings: Any, size: int, patch: int) -> None:
        super().__init__()
        self.embeddings = embeddings
        self.size_of_patch = patch
        self.grid = size // patch
        self.global_tokens = 1

    def forward(self, pixels: Tensor) -> ModalTokens:
        """``pixels`` [B, 3, S, S] uint8 to tokens [B, 1 + P, D]."""
        own = self.embeddings
        patches = own.patch_embeddings(normalise(pixels, HALF, HALF)).flatten(2).transpose(1, 2)
        tokens = torch.cat([own.cls_token.expand(len(patches), -1, -1), patches], 1)
        return ModalTokens.whole(own.dropout(tokens + own.position_embeddings))


class ViltReader(Reader):
    """ViLT over text and patches; the item is the state of its first token."""

    def forward(
        self, ids: Tensor, mask: Tensor, image: ModalTokens | None
    ) -> tuple[Tensor, ModalTokens, ModalTokens | None]:
        """``ids`` and ``mask`` [B, L], image tokens [B, P, D]; without an image there is one token, masked."""
        shown = _nothing(ids, self.whole.config.hidden_size) if image is None else image
        states = self.whole(
            input_ids=ids,
            attention_mask=mask.long(),
            image_embeds=shown.hidden,
            pixel_mask=shown.mask.long(),
        ).last_hidden_state
        return _parted(states, mask, image)


class VisualBertReader(Reader):
    """VisualBERT over text and regions; the item is the state of [CLS]."""

    def forward(
        self, ids: Tensor, mask: Tensor, image: ModalTokens | None
    ) -> tuple[Tensor, ModalTokens, ModalTokens | None]:
        """``ids`` and ``mask`` [B, L], regions [B, R, F + 4], of which the box goes unread."""
        told = {}
        if image is not None:
            told = {
                "visual_embeds": image.hidden[..., :-4],
                "visual_attention_mask": image.mask.long(),
                "visual_token_type_ids": torch.ones_like(image.mask, dtype=torch.long),
            }
        states = self.whole(input_ids=ids, attention_mask=mask.long(), **told).last_hidden_state
        return _parted(states, mask, image)


class LxmertReader(Reader):
    """LXMERT over text and regions with their boxes; the item is the language side's [CLS]."""

    def forward(
        self, ids: Tensor, mask: Tensor, image: ModalTokens | None
    ) -> tuple[Tensor, ModalTokens, ModalTokens | None]:
        """``ids`` and ``mask`` [B, L], regions [B, R, F + 4]; without any there is one, masked."""
        shown = _nothing(ids, self.whole.config.visual_feat_dim + 4) if image is None else image
        found = self.whole(
            input_ids=ids,
            attention_mask=mask.float(),
            visual_feats=shown.hidden[..., :-4],
            visual_pos=shown.hidden[..., -4:],
            visual_attention_mask=shown.mask.float(),
        )
        seen = None if image is None else ModalTokens(found.vision_output, image.mask)
        return found.language_output[:, 0], ModalTokens(found.language_output, mask), seen


def _nothing(ids: Tensor, width: int) -> ModalTokens:
    hidden = torch.zeros(len(ids), 1, width, device=ids.device)
    return ModalTokens(hidden, torch.zeros(len(ids), 1, dtype=torch.bool, device=ids.device))


def _parted(
    states: Tensor, mask: Tensor, image: ModalTokens | None
) -> tuple[Tensor, ModalTokens, ModalTokens | None]:
    length = mask.shape[1]
    seen = None if image is None else ModalTokens(states[:, length:], image.mask)
    return states[:, 0], ModalTokens(states[:, :length], mask), seen


def shape_of(own: Any) -> dict[str, Any]:
    """The numbers of a :class:`ModelConfig` that a configuration of transformers decides."""
    if own.model_type == "clip":
        size = own.vision_config.image_size
        patch = own.vision_config.patch_size
        heads = own.text_config.num_attention_heads
        room = own.text_config.max_position_embeddings - 3
        shape = {
            "dim": own.projection_dim,
            "max_query": room // 4,
            "max_title": room - room // 4,
            "max_string": room,
        }
        return {**shape, "heads": heads, "image_encoder": "wrapped", **_patches(size, patch)}
    room = own.max_position_embeddings - 3
    shape = {
        "dim": own.hidden_size,
        "heads": own.num_attention_heads,
        "max_title": min(48, room - 16),
        "max_query": min(16, room // 4),
    }
    if own.model_type == "vilt":
        return {**shape, "image_encoder": "wrapped", **_patches(own.image_size, own.patch_size)}
    width = own.visual_embedding_dim if own.model_type == "visual_bert" else own.visual_feat_dim
    return {**shape, "image_encoder": "regions", "region_width": width}


def _patches(size: int, patch: int) -> dict[str, Any]:
    return {"image_size": size, "image_grid": size // patch, "patch_kernels": (patch,)}


def wrapped_parts(config: ModelConfig, tokenizer: CatalogTokenizer) -> ModelParts:
    """A wrapped model's parts, with random weights until pretrained ones are loaded."""
    import transformers

    numbers = json.loads(config.wrapped)
    reader: Reader
    images: ImageReader = RegionImages(JoinedRegions())
    match config.architecture:
        case "clip":
            whole: Any = transformers.CLIPModel(transformers.CLIPConfig.from_dict(numbers))
            reader = ClipReader(whole)
            images = PixelImages(ClipImages(whole))
        case "vilt":
            whole = transformers.ViltModel(transformers.ViltConfig.from_dict(numbers))
            reader = ViltReader(whole)
            images = PixelImages(
                ViltPatches(whole.embeddings, config.image_size, config.patch_kernels[0])
            )
        case "visual_bert":
            reader = VisualBertReader(
                transformers.VisualBertModel(transformers.VisualBertConfig.from_dict(numbers))
            )
        case _:
            reader = LxmertReader(
                transformers.LxmertModel(transformers.LxmertConfig.from_dict(numbers))
            )
    fusion = WrappedFusion(reader, tokenizer.special)
    return ModelParts(fusion, WrappedText(fusion), images)
