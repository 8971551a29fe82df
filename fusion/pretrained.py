"""Pretrained weights: a model of transformers that a configuration is fitted to and a model takes.

The model is named by its hub name or by a folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tokenizers import Tokenizer
from torch import nn

from encoders.bert import BertText, copy_bert, gelu_variant, read_bert
from encoders.pretrained_folder import folder_of, open_model, unusable
from encoders.pretrained_image import channels_of, image_size_of, read_processor
from encoders.pretrained_text import WHAT as TEXT_ENCODER
from encoders.text_model import (
    PretrainedTextModel,
    TextModelSettings,
    is_text_type,
    text_part,
    without_pooler,
)
from encoders.tokenizer import SPECIAL_TOKENS, parse_pieces, vocabulary_lines, wordpiece_tokenizer
from encoders.transformers_settings import call_transformers, check_settings, check_shards
from encoders.vision import VISION_TYPES, PretrainedVision, VisionSettings
from encoders.vit import PretrainedViT, read_vit
from fusion.architectures.huggingface import WrappedFusion, wrapped_settings
from fusion.config import ModelConfig
from fusion.model import ProductModel
from schema.documents import read_limited
from schema.errors import ModelError, UsageError
from schema.settings import shown

WRAPPED_TYPES = ("clip", "vilt", "visual_bert", "lxmert")
"""Model types of transformers that :mod:`fusion.architectures.huggingface` can wrap."""

KINDS = tuple(dict.fromkeys(("bert", "vit", *WRAPPED_TYPES, *VISION_TYPES)))
"""All model types that have a use."""

TOKENIZER = "tokenizer.json"
MAX_PIECES_BYTES = 256 << 20
"""Bytes of a vocabulary's file."""

Part = TypeVar("Part", bound=nn.Module)
T = TypeVar("T")


@dataclass(frozen=True)
class Pretrained:
    """A pretrained model of transformers, of which only the configuration has been read.

    Attributes:
        name: its hub name or folder
        config: its configuration, an object of transformers
    """

    name: str
    config: Any

    @classmethod
    def open(cls, name: str) -> Pretrained:
        """Read the configuration of a model.

        Raises ModelError if there is no such model, or if it asks for code of its own or for absurd
        sizes.
        """
        return cls(name, _read(name, lambda: _checked_config(name)))

    def has_text(self, config: ModelConfig) -> bool:
        """Return whether a model that was fitted to it reads texts by its word pieces."""
        is_vision = self.kind == "vit" or self.kind in VISION_TYPES
        return config.preset == "wrapped" or not is_vision

    @property
    def fills_bert(self) -> bool:
        """Whether its weights are those of the preset's own BERT."""
        return self.kind == "bert"

    @property
    def kind(self) -> str:
        """Its model type, by transformers' name, such as ``bert``."""
        return str(self.config.model_type)

    def fit(self, config: ModelConfig) -> ModelConfig:
        """Return ``config`` with the sizes of these weights.

        A BERT fits the text encoder, and a vision model the image encoder. Raises UsageError if
        the preset has no part that these weights fit, and ModelError if their sizes cannot be used.
        """
        try:
            return self._fit(config)
        except (AttributeError, ArithmeticError, TypeError, ValueError) as error:
            raise ModelError(
                f"the configuration of {self.name} cannot be used ({str(error)[:100]}): "
                "name another model"
            ) from None

    def _fit(self, config: ModelConfig) -> ModelConfig:
        if config.preset == "wrapped":
            return self._wrap(config)
        if self.kind == "vit" and config.image_encoder not in ("none", "regions"):
            return self._fit_vit(config)
        if self.kind in VISION_TYPES and config.image_encoder not in ("none", "regions"):
            return self._fit_vision(config)
        if self.kind == "bert" and config.architecture != "joint":
            if config.text_model:
                raise UsageError(
                    f"pretrained={self.name} and text_pretrained both read the texts: "
                    "leave out one of them"
                )
            return self._fit_bert(config)
        raise UsageError(
            f"{self.name} is a {self.kind}, for which preset {config.preset} has no use: "
            "choose another preset or other weights, or name a text encoder by text_pretrained"
        )

    def _wrap(self, config: ModelConfig) -> ModelConfig:
        if self.kind not in WRAPPED_TYPES:
            raise UsageError(
                f"{self.name} is a {self.kind}, which cannot be wrapped: "
                f"name one of {', '.join(WRAPPED_TYPES)}"
            )
        return dataclasses.replace(
            config,
            architecture=self.kind,
            wrapped=json.dumps(self.config.to_dict(), default=str, sort_keys=True),
            **wrapped_settings(self.config),
        )

    def _fit_vit(self, config: ModelConfig) -> ModelConfig:
        vit = self.config
        return dataclasses.replace(
            config,
            image_encoder="vit",
            vit_dim=vit.hidden_size,
            vit_layers=vit.num_hidden_layers,
            vit_heads=vit.num_attention_heads,
            image_size=vit.image_size,
            image_grid=vit.image_size // vit.patch_size,
            patch_kernels=(vit.patch_size,),
        )

    def _fit_vision(self, config: ModelConfig) -> ModelConfig:
        folder = folder_of(self.name)
        processor = read_processor(folder)
        mean, std = channels_of(processor)
        own = vision_config(self.config)
        size = image_size_of(processor, own)
        vision = VisionSettings(own.to_dict(), mean, std, size).measured()
        return dataclasses.replace(
            config,
            image_encoder="vision",
            vision=vision.to_json(),
            image_size=size,
            image_grid=vision.grid,
        )

    def _fit_bert(self, config: ModelConfig) -> ModelConfig:
        bert = self.config
        fitted = dataclasses.replace(
            config,
            dim=bert.hidden_size,
            heads=bert.num_attention_heads,
            hidden_act=gelu_variant(bert.hidden_act),
            norm_eps=bert.layer_norm_eps,
        )
        # A preset with fewer layers takes the first ones; one cannot have more than there are.
        most = bert.num_hidden_layers
        if config.architecture == "two-stream":
            return dataclasses.replace(fitted, text_layers=min(config.text_layers, most))
        return dataclasses.replace(fitted, fusion_layers=min(config.fusion_layers, most))

    def read_pieces(self) -> Tokenizer:
        """Read its vocabulary; raises ModelError if it has none."""
        return read_pieces(self.name)

    def load(self, model: ProductModel) -> None:
        """Load the weights into the part of the model that they fit.

        Raises ModelError if they cannot be read or do not fit.
        """
        from transformers import AutoModel

        try:
            if self.kind == "bert":
                copy_bert(_find_part(model, BertText), read_bert(self.name))
            elif self.kind == "vit":
                weights = read_vit(self.name).state_dict()
                _find_part(model, PretrainedViT).vit.load_state_dict(weights)
            else:
                is_vision = any(isinstance(part, PretrainedVision) for part in model.modules())
                config = vision_config(self.config) if is_vision else self.config
                whole = _read(
                    self.name,
                    lambda: AutoModel.from_pretrained(
                        self.name,
                        config=config,
                        trust_remote_code=False,
                        use_safetensors=True,
                    ),
                )
                part = (
                    _find_part(model, PretrainedVision).vision
                    if is_vision
                    else _find_part(model, WrappedFusion).whole
                )
                part.load_state_dict(whole.state_dict())
        except RuntimeError as error:
            # Word embeddings of another vocabulary have another shape.
            reason = str(error).splitlines()[-1].strip()[:120]
            raise ModelError(
                f"the weights of {self.name} do not fit ({reason}): give its vocabulary"
            ) from None


class PretrainedReader(Pretrained):
    """A text encoder of transformers that reads the titles, queries and names of a preset."""

    @classmethod
    def open(cls, name: str) -> PretrainedReader:
        """Read the configuration of a text encoder.

        Raises ModelError if there is no such model, or if its type has no text encoders.
        """
        folder = folder_of(name)
        return cls(name, _read(name, lambda: _checked_text_config(folder)))

    def has_text(self, config: ModelConfig) -> bool:
        """Return True: it has a vocabulary of its own."""
        return True

    @property
    def fills_bert(self) -> bool:
        """Return False: it stands before the preset's own layers, or in their place."""
        return False

    def _fit(self, config: ModelConfig) -> ModelConfig:
        if config.preset == "wrapped":
            raise UsageError(
                "the preset wrapped reads texts by the model that it wraps: leave out "
                "text_pretrained, or choose another preset"
            )
        settings = self._measured()
        # Two streams read a query and a title as one text.
        most = config.max_title
        if config.architecture == "two-stream":
            most += config.max_query
        title, query = config.max_title, config.max_query
        if most > settings.room:
            query = min(query, settings.room // 4)
            title = settings.room - (query if config.architecture == "two-stream" else 0)
        fitted = dataclasses.replace(
            config,
            text_model=settings.to_json(),
            max_title=title,
            max_query=query,
            max_string=min(config.max_string, settings.room),
        )
        if config.architecture == "single-stream":
            return fitted
        # Its own layers take the place of these.
        return dataclasses.replace(fitted, text_layers=0)

    def read_pieces(self) -> Tokenizer:
        """Read its vocabulary; raises ModelError if it has none."""
        file = folder_of(self.name) / TOKENIZER
        # A vocab.txt alone does not say which pieces are special, nor whether it has case.
        return _read_pieces_file(file) if file.is_file() else _read_pieces_of(self.name)

    def load(self, model: ProductModel) -> None:
        """Load the weights into the model's text encoder; raises ModelError if they do not fit."""
        part = _find_part(model, PretrainedTextModel).text_model
        try:
            part.load_state_dict(self._model().state_dict())
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()[:120]
            raise ModelError(f"the weights of {self.name} do not fit ({reason})") from None

    def _measured(self) -> TextModelSettings:
        try:
            return TextModelSettings.of(self._model())
        except ModelError as error:
            raise ModelError(
                f"{self.name} cannot read texts in a network: {error}; name another text encoder"
            ) from None

    def _model(self) -> Any:
        folder = folder_of(self.name)
        opened = open_model(folder, TEXT_ENCODER)
        try:
            return call_transformers(lambda: without_pooler(text_part(opened.model)))
        except ValueError as error:
            raise unusable(folder, TEXT_ENCODER, error) from None


def vision_config(config: Any) -> Any:
    """Return the configuration of a model's images alone: that of a CLIP's or a SigLIP's tower."""
    return getattr(config, "vision_config", config)


def read_pieces(name: str) -> Tokenizer:
    """Read word pieces from a ``vocab.txt``, a ``tokenizer.json``, a folder with one, or the hub.

    Raises ModelError if there are none.
    """
    path = Path(name)
    for file in (path, path / TOKENIZER, path / "vocab.txt"):
        if file.is_file():
            return _read_pieces_file(file)
    return _read_pieces_of(name)


def _read_pieces_of(name: str) -> Tokenizer:
    from transformers import AutoTokenizer

    tokenizer: Any = _read(
        name, lambda: AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    )
    pieces = _read(name, lambda: parse_pieces(tokenizer.backend_tokenizer.to_str()))
    # Where there is no file of a vocabulary, transformers makes one of special pieces alone.
    if pieces.get_vocab_size() <= len(SPECIAL_TOKENS):
        raise ModelError(f"no word pieces at {name}: name a folder with its {TOKENIZER}")
    return pieces


def _read_pieces_file(file: Path) -> Tokenizer:
    try:
        text = read_limited(file, MAX_PIECES_BYTES).decode()
        if file.suffix == ".json":
            return parse_pieces(text)
        return wordpiece_tokenizer(vocabulary_lines(text))
    except Exception as error:  # the tokenizers library raises plain Exception
        raise ModelError(
            f"{file} has no word pieces ({str(error)[:80]}): give a vocab.txt or a tokenizer.json"
        ) from None


def _checked_config(name: str) -> Any:
    """Read a configuration of transformers after its content has been checked."""
    from transformers import AutoConfig, PreTrainedConfig

    settings, _ = PreTrainedConfig.get_config_dict(name)
    check_settings(settings)
    check_shards(Path(name))
    kind = settings.get("model_type")
    # Other models are of no use, and the configurations of some load further ones.
    if kind not in KINDS:
        told = f"it is a {shown(kind)}, not one of {', '.join(KINDS)}"
        if is_text_type(kind):
            told += "; a text encoder is named by text_pretrained"
        raise ValueError(told)
    return AutoConfig.from_pretrained(name, trust_remote_code=False)


def _checked_text_config(folder: Path) -> Any:
    """Read the configuration of a text encoder after its content has been checked."""
    from transformers import AutoConfig, PreTrainedConfig

    settings, _ = PreTrainedConfig.get_config_dict(folder)
    check_settings(settings)
    check_shards(folder)
    kind = settings.get("model_type")
    if not is_text_type(kind):
        raise ValueError(
            f"it is a {shown(kind)}, which transformers has no prediction of masked pieces for"
        )
    return AutoConfig.from_pretrained(folder, trust_remote_code=False)


def _find_part(model: ProductModel, kind: type[Part]) -> Part:
    return next(module for module in model.modules() if isinstance(module, kind))


def _read(name: str, read: Callable[[], T]) -> T:
    """Call ``read`` and turn the errors of transformers into a ModelError."""
    try:
        return call_transformers(read)
    except ValueError as error:
        raise ModelError(
            f"no pretrained model at {name} ({error}): "
            "name a hub model or a folder of transformers with its weights in safetensors"
        ) from None
