"""Any text encoder of transformers as the encoder of titles, queries and names in a network.

Shapes: B texts, L word pieces, S pieces of a sequence with its special ones, C the width of the
text model, D the model's width, M masked pieces.
"""

from __future__ import annotations

import inspect
import json
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoders.base import TitleEncoder
from encoders.layers import RowDropout
from encoders.packing import reads_counts
from encoders.tokenizer import SpecialPieces
from encoders.tokens import ModalTokens
from encoders.transformers_settings import call_transformers, check_settings
from schema.documents import parse_json_object
from schema.errors import ModelError

CLIP_TYPES = ("clip", "clip_text_model")
"""Model types with a text tower, which no masked pieces were learned by."""
AROUND = 2
"""[CLS] and [SEP] around a text."""
NEVER_KEPT = ("_name_or_path", "_commit_hash", "auto_map", "dtype", "torch_dtype")
"""Settings that say where a model came from and how it was stored, and do not describe it."""
MOST_OF_PADDING = 1e-8
"""Share of the states' squares that may come of padding: rounding is far below."""
_TRIED = 4
UNREAD = "sdpa_unread"
"""transformers' name for its own ``sdpa`` attention with the masks of :func:`_unread_mask`."""


@dataclass(frozen=True)
class TextModelSettings:
    """A text model; a network's configuration keeps it as JSON.

    Attributes:
        config: the configuration of transformers
        width: width C of its states
        room: how many pieces a text may have beside [CLS] and [SEP]
        vocab_size: pieces that it has embeddings of
        padding: the id of its padding, which may be another than 0
    """

    config: dict[str, Any]
    width: int
    room: int
    vocab_size: int
    padding: int

    @classmethod
    def of(cls, model: Any) -> TextModelSettings:
        """Measure a text model of transformers.

        Raises ModelError, which names what it lacks, if it is no text encoder.
        """
        described = model.config.to_dict()
        config = {name: value for name, value in described.items() if name not in NEVER_KEPT}
        table = model.get_input_embeddings()
        if not isinstance(table, nn.Embedding):
            raise ModelError("it has no embeddings of pieces")
        padding = model.config.pad_token_id
        padding = padding if isinstance(padding, int) else 0
        room = _positions(model) - AROUND
        if room < 1:
            raise ModelError(f"it has no positions for texts, but {room + AROUND}")
        width = _tried(model, table.num_embeddings, padding)
        return cls(config, width, room, table.num_embeddings, padding)

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self), default=str, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> TextModelSettings:
        """Read what :meth:`to_json` wrote; raises ModelError on anything else."""
        try:
            document = parse_json_object(text)
            config = document.pop("config")
            check_settings(config)
            if not is_text_type(config["model_type"]):
                raise ValueError(f"it is no text encoder but a {str(config['model_type'])[:40]!r}")
            if named := [name for name in NEVER_KEPT if config.get(name)]:
                raise ValueError(f"it names {named[0]}")
            numbers = {name: int(value) for name, value in document.items()}
            if not 0 <= numbers["padding"] < numbers["vocab_size"] or numbers["room"] < 1:
                raise ValueError("its sizes do not fit")
            return cls(config, **numbers)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ModelError(f"no text model is described ({str(error)[:100]})") from None

    def build(self) -> Any:
        """Build the text model with random weights; raises ModelError if that is impossible."""
        try:
            return call_transformers(self._build)
        except ValueError as error:
            raise ModelError(f"the text model cannot be built ({error})") from None

    def _build(self) -> Any:
        from transformers import AutoModel
        from transformers.models.auto.configuration_auto import CONFIG_MAPPING

        config = CONFIG_MAPPING[self.config["model_type"]].from_dict(dict(self.config))
        from_config: Any = AutoModel.from_config
        model = from_config(config, trust_remote_code=False, dtype=torch.float32)
        return with_unread_masks(without_pooler(text_part(model)))


class PretrainedTextModel(TitleEncoder):
    """The last states of a text model, mapped to the model's width, with positions of our own.

    A text is read as [CLS] text [SEP], and the states of its own pieces become tokens. A frozen
    model has no gradients. Whether frozen or tuned, it stays in evaluation mode: dropout within its
    attention is expensive on a CPU, and its tokens are dropped after it.

    Args:
        settings: the text model
        special: the ids of the special pieces
        dim: the width D of the tokens
        max_length: number of positions of our own
        frozen: do not train the text model
        dropout: rate of dropping features of the tokens
    """

    def __init__(
        self,
        settings: TextModelSettings,
        special: SpecialPieces,
        dim: int,
        max_length: int,
        frozen: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.text_model = settings.build()
        self.special = special
        self.padding = settings.padding
        self.frozen = frozen
        self.norm = nn.LayerNorm(settings.width)
        self.project = nn.Linear(settings.width, dim)
        self.positions = nn.Embedding(max_length, dim)
        self.dropout = RowDropout(dropout)
        if frozen:
            self.text_model.requires_grad_(False)

    @property
    def piece_embedding(self) -> nn.Embedding:
        """The text model's own embeddings of word pieces."""
        table: nn.Embedding = self.text_model.get_input_embeddings()
        return table

    def position_vectors(self, index: Tensor) -> Tensor:
        """Return the position embeddings [M, D] of the pieces with numbers ``index`` [M]."""
        return self.positions(index)

    def forward(self, pieces: Tensor, limit: int | None = None) -> ModalTokens:
        """Encode ``pieces`` [B, L] (0 is padding) as tokens [B, L, D], zero for padding."""
        present = pieces != 0
        if reads_counts(pieces):
            # The same title is read several times in a step, and a hidden one is like any other.
            distinct, row = pieces.unique(dim=0, return_inverse=True)
            states = self._read(distinct).index_select(0, row)
        else:
            states = self._read(pieces)
        # The states of different models have different scales.
        tokens = self.project(self.norm(states)) + self.positions.weight[: pieces.shape[1]]
        hidden = self.dropout(tokens).masked_fill(~present[..., None], 0)
        return ModalTokens(hidden, present, limit)

    def _read(self, pieces: Tensor) -> Tensor:
        """Return the text model's states [B, L, C] of ``pieces`` [B, L] alone.

        Models number the places of a sequence, padding included, so that padding within a text, as
        between a query and a title, is moved to its end.
        """
        ones = pieces.new_ones(len(pieces), 1)
        ids = torch.cat([ones * self.special.cls, pieces, ones * self.special.sep], 1)
        mask = torch.cat([ones.bool(), pieces != 0, ones.bool()], 1)
        order = (~mask).to(torch.int8).argsort(dim=1, stable=True)
        back = order.argsort(1)[:, 1:-1]
        mask = mask.gather(1, order)
        ids = ids.gather(1, order).where(mask, self.padding)
        if reads_counts(pieces):
            longest = int(mask.sum(1).max()) if len(mask) else AROUND
            ids, mask = ids[:, :longest], mask[:, :longest]
            # What is cut off is padding, whose states are not used.
            back = back.clamp(max=longest - 1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
            states = _states(self.text_model, ids, mask.long())
        return states.gather(1, back[..., None].expand(-1, -1, states.shape[2]))

    def train(self, mode: bool = True) -> PretrainedTextModel:
        """Set training mode, except that the text model itself stays in evaluation mode."""
        super().train(mode)
        self.text_model.eval()
        return self


def is_text_type(model_type: object) -> bool:
    """Return whether models of a type may be text encoders, by transformers' own list.

    These are the types that predict masked pieces, and CLIP, whose text tower reads texts.
    """
    from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES

    if not isinstance(model_type, str):
        return False
    return model_type in MODEL_FOR_MASKED_LM_MAPPING_NAMES or model_type in CLIP_TYPES


def text_part(model: Any) -> Any:
    """Return what reads the text: an encoder without its decoder, a CLIP without its images."""
    if model.config.is_encoder_decoder:
        return model.get_encoder()
    return getattr(model, "text_model", model)


def without_pooler(model: Any) -> Any:
    """Return a model whose pooler does nothing: no one reads it, so that it would not learn."""
    if isinstance(getattr(model, "pooler", None), nn.Module):
        model.pooler = nn.Identity()
    return model


def with_unread_masks(model: Any) -> Any:
    """Return a model that does not look whether its masks hide anything, except on a CPU.

    transformers leaves out a mask that hides nothing. On a GPU the program would wait in every pass
    for the answer, which is almost always that there is padding. What has attention of its own,
    such as DeBERTa, is left as it is.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(UNREAD, sdpa_attention_forward)
        AttentionMaskInterface.register(UNREAD, _unread_mask)
        model.config._attn_implementation = UNREAD
    return model


def _unread_mask(*args: Any, **kwargs: Any) -> Any:
    """Return the mask that transformers makes for ``sdpa``, which it may only leave out on a CPU.

    The arguments are those of transformers' ``sdpa_mask``.
    """
    from transformers.masking_utils import sdpa_mask

    mask = kwargs.get("attention_mask")
    if isinstance(mask, Tensor) and not reads_counts(mask):
        kwargs |= {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    return sdpa_mask(*args, **kwargs)


def _states(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Return the last states [B, S, C] of ``ids`` [B, S] with their ``mask`` [B, S]."""
    states: Tensor = model(input_ids=ids, attention_mask=mask).last_hidden_state
    return states


@torch.no_grad()
def _tried(model: Any, vocab_size: int, padding: int) -> int:
    """Return the width C of a model's states; raises ModelError if they are not those of pieces."""
    if "attention_mask" not in inspect.signature(model.forward).parameters:
        raise ModelError("it takes no attention_mask, so that it reads padding, too")
    ids = torch.arange(_TRIED, device=model.device)[None] % vocab_size
    mask = torch.ones_like(ids)
    padded = functional.pad(ids, (0, _TRIED), value=padding)
    try:
        states = call_transformers(lambda: _states(model, ids, mask))
        beside = call_transformers(
            lambda: _states(model, padded, functional.pad(mask, (0, _TRIED)))
        )
    except ValueError as error:
        raise ModelError(
            f"it gives no last_hidden_state of input_ids and an attention_mask ({error})"
        ) from None
    if states.ndim != 3 or states.shape[:2] != ids.shape:
        raise ModelError(
            f"it has states of the shape {list(states.shape)} for {_TRIED} pieces, not one each"
        )
    difference = (beside[:, :_TRIED] - states).square().mean()
    if not difference <= MOST_OF_PADDING * states.square().mean():
        raise ModelError("its states of a text change with the padding after it")
    return int(states.shape[2])


def _positions(model: Any) -> int:
    """Return how many positions a sequence may have."""
    counts = [getattr(model.config, "max_position_embeddings", None)]
    for name, part in model.named_modules():
        if isinstance(part, nn.Embedding) and name.split(".")[-1].startswith("position"):
            # A RoBERTa counts from the number after its padding's.
            before = 0 if part.padding_idx is None else part.padding_idx + 1
            counts.append(part.num_embeddings - before)
    return min((count for count in counts if isinstance(count, int)), default=0)
