"""Weights that others trained: a hub name or a folder of transformers fits a configuration and fills a model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from torch import nn

from encoders.bert import BertText, activation, copy_bert, read_bert
from encoders.tokenizer import vocabulary_lines, word_pieces
from encoders.vit import PretrainedViT, read_vit
from fusion.architectures.huggingface import WrappedFusion, shape_of
from fusion.config import ModelConfig
from fusion.model import ProductModel
from schema.errors import ModelError, UsageError

WRAPPED = ("clip", "vilt", "visual_bert", "lxmert")


@dataclass(frozen=True)
class Pretrained:
    """A model of transformers at ``name``, a hub name or a folder, and its own ``config``."""

    name: str
    config: Any

    @classmethod
    def open(cls, name: str) -> Pretrained:
        """Its configuration alone; raises ModelError where it cannot be had."""
        from transformers import AutoConfig

        return cls(name, _reachable(name, lambda: AutoConfig.from_pretrained(name)))

    @property
    def kind(self) -> str:
        """Its model type, by transformers' name."""
        return str(self.config.model_type)

    def fit(self, config: ModelConfig) -> ModelConfig:
        """The configuration that these weights fit into; raises UsageError where they fit none of the preset's parts."""
        own = self.config
        if config.preset == "wrapped":
            return self._wrap(config)
        if self.kind == "vit" and config.image_encoder not in ("none", "regions"):
            shape = {
                "vit_dim": own.hidden_size,
                "vit_layers": own.num_hidden_layers,
                "vit_heads": own.num_attention_heads,
            }
            grid = {
                "image_size": own.image_size,
                "image_grid": own.image_size // own.patch_size,
                "patch_kernels": (own.patch_size,),
            }
            return dataclasses.replace(config, image_encoder="vit", **shape, **grid)
        if self.kind != "bert" or config.architecture == "joint":
            raise UsageError(
                f"{self.name} is a {self.kind}, of which preset {config.preset} has no part: choose another preset or weights"
            )
        layers = "text_layers" if config.architecture == "two-stream" else "fusion_layers"
        fitting = {
            layers: min(getattr(config, layers), own.num_hidden_layers),
            "norm_eps": own.layer_norm_eps,
        }
        act = activation(own.hidden_act)
        return dataclasses.replace(
            config, dim=own.hidden_size, heads=own.num_attention_heads, hidden_act=act, **fitting
        )

    def _wrap(self, config: ModelConfig) -> ModelConfig:
        if self.kind not in WRAPPED:
            raise UsageError(
                f"{self.name} is a {self.kind}, which is not wrapped: name one of {', '.join(WRAPPED)}"
            )
        text = json.dumps(self.config.to_dict(), default=str, sort_keys=True)
        return dataclasses.replace(
            config, architecture=self.kind, wrapped=text, **shape_of(self.config)
        )

    def pieces(self) -> Tokenizer:
        """Its word pieces; raises ModelError where it has none."""
        return read_pieces(self.name)

    def load(self, model: ProductModel) -> None:
        """Fill the model's parts that these weights are for; raises ModelError where they cannot be had or do not fit."""
        from transformers import AutoModel

        try:
            if self.kind == "bert":
                copy_bert(_part(model, BertText), read_bert(self.name))
            elif self.kind == "vit":
                _part(model, PretrainedViT).vit.load_state_dict(read_vit(self.name).state_dict())
            else:
                found = _reachable(self.name, lambda: AutoModel.from_pretrained(self.name))
                _part(model, WrappedFusion).whole.load_state_dict(found.state_dict())
        except RuntimeError as error:
            raise ModelError(
                f"the weights of {self.name} do not fit ({str(error).splitlines()[-1].strip()[:120]}): give its vocabulary"
            ) from None


def read_pieces(name: str) -> Tokenizer:
    """The word pieces of a ``vocab.txt``, a ``tokenizer.json``, a folder with one, or a hub name.

    Raises ModelError where there are none.
    """
    path = Path(name)
    for found in (path, path / "tokenizer.json", path / "vocab.txt"):
        if found.is_file():
            try:
                text = found.read_text(encoding="utf-8")
                return (
                    Tokenizer.from_str(text)
                    if found.suffix == ".json"
                    else word_pieces(vocabulary_lines(text))
                )
            except Exception as error:
                raise ModelError(
                    f"{found} holds no word pieces ({str(error)[:80]}): give a vocab.txt or a tokenizer.json"
                ) from None
    from transformers import AutoTokenizer

    tokenizer: Any = _reachable(name, lambda: AutoTokenizer.from_pretrained(name))
    return Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())


def _part(model: ProductModel, kind: type[nn.Module]) -> Any:
    return next(part for part in model.modules() if isinstance(part, kind))


def _reachable(name: str, read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (OSError, ValueError) as error:
        reason = str(error).splitlines()[0][:100]
        raise ModelError(
            f"no pretrained model at {name} ({reason}): name a hub model or a folder of transformers"
        ) from None
