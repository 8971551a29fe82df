"""The presets: the papers' models, their baselines and our own, with the recipes to train them.

A preset is a plain function from a size (``tiny``, ``small``, ``base``) to a :class:`Preset`. To
add one, write such a function and list it in ``PRESETS``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from encoders.bert import BERT_NORM_EPS
from fusion.config import ModelConfig
from schema.errors import UsageError
from training.config import Recipe
from training.objectives import TERMS

SIZES = ("tiny", "small", "base")


@dataclass(frozen=True)
class Preset:
    """A model's configuration and how to train it."""

    model: ModelConfig
    recipe: Recipe


def preset(name: str, size: str) -> Preset:
    """Return a preset by name and size; raises UsageError if there is none."""
    if size not in SIZES:
        raise UsageError(f"no size {size!r}: choose one of {', '.join(SIZES)}")
    for build in PRESETS:
        if preset_name(build) == name:
            found = build(size)
            return Preset(dataclasses.replace(found.model, preset=name), found.recipe)
    raise UsageError(f"no preset {name!r}: choose one of {', '.join(map(preset_name, PRESETS))}")


def preset_name(build: Callable[[str], Preset]) -> str:
    """Return the name that a preset's function has on the command line."""
    return build.__name__.replace("_", "-")


def joint(size: str) -> Preset:
    """Our own model for completion, trained by many objectives at once.

    It reads word pieces and n-grams, and images by a residual stem and by descriptors; fuses them
    in a single stream; and scores cells by a decoder and a wide (linear) part.
    """
    small = ModelConfig()
    if size == "tiny":
        model = dataclasses.replace(
            small,
            dim=64,
            heads=2,
            fusion_layers=1,
            decoder_layers=1,
            dropout=0.0,
            drop_wide=0.2,
            image_size=64,
            stem_channels=(16, 32, 64, 64),
            vocab_size=2000,
            max_ngrams=4096,
            bag_width=32,
            known_width=16,
        )
    elif size == "base":
        model = dataclasses.replace(
            small,
            dim=768,
            heads=12,
            text_layers=2,
            fusion_layers=8,
            image_size=224,
            image_grid=7,
            stem_channels=(64, 128, 256, 512),
            vocab_size=30_000,
            max_ngrams=200_000,
            bag_width=256,
            known_width=128,
        )
    else:
        model = small
    return Preset(model, Recipe())


def k3m(size: str) -> Preset:
    """K3M: a transformer per modality, co-attention, initial-interactive fusion, aggregation.

    The limits are those of the released code: 36 title pieces, 36 regions, and 48 pieces for all
    triples of an item, which is at most 8 triples for 95 in 100 Taobao items. By default the image
    tokens are MBSD's patches; with ``image_encoder=regions`` they are a detector's regions. The
    fusion module has a gate for each feature, as in the released code, and properties and values
    are known by their text alone.

    The objectives are MLM, masked objects (L2, and KL if the detector gives classes), and LPM with
    a margin between a triple and corrupted ones. At base size AdamW is set as in the released code,
    which also gives pretrained text weights a tenth of the learning rate.
    """
    # The paper does not give its numbers of layers; six of each at base size are our choice.
    text_layers, image_layers, fusion_layers, image_size = {
        "tiny": (1, 1, 1, 64),
        "small": (2, 2, 2, 224),
        "base": (6, 6, 6, 224),
    }[size]
    model = dataclasses.replace(
        _paper_model(size),
        architecture="two-stream",
        text_layers=text_layers,
        image_layers=image_layers,
        fusion_layers=fusion_layers,
        interaction="TransE",
        # Eight in the paper. The released code has one, which it says is about as good.
        aggregation_heads=8,
        fusion_gates="feature",
        string_embeddings=False,
        max_title=36,
        max_regions=36,
        **_convolutions(size, image_size),
    )
    adamw: dict[str, Any] = {
        "learning_rate": 1e-4,
        "beta2": 0.98,
        "weight_decay": 0.01,
        "warmup": 0.1,
        "warmup_steps": 0,
    }
    recipe = _paper_recipe(
        {"lpm": 1.0, "mlm": 1.0, "mrfr": 0.01, "mrc": 1.0},
        link="margin",
        max_known=8,
        cover_rate=0.9,
        pretrained_rate=0.1,
        **(adamw if size == "base" else {}),
    )
    return Preset(model, recipe)


def k3m_without_iifm(size: str) -> Preset:
    """K3M's ablation without its initial-interactive fusion module."""
    whole = k3m(size)
    return Preset(dataclasses.replace(whole.model, initial_fusion="none"), whole.recipe)


def k3m_without_knowledge(size: str) -> Preset:
    """K3M's ablation that does not read known statements."""
    whole = k3m(size)
    return Preset(dataclasses.replace(whole.model, reads_known=False), whole.recipe)


def mbsd(size: str) -> Preset:
    """MBSD: BERT over the title and 7 x 7 patches of non-overlapping convolutions.

    Its input is composed as in the released code: the image has a [CLS] of its own and no layer
    norm, and query and title have BERT's two token types.

    Stage I is masked pre-training, stage II query matching with SDMI; at base size the optimizer is
    LAMB as in the paper's 4.3. The stages' shares of the budget follow the paper's steps: 10 epochs
    in batches of 2,048, then 3 in batches of 1,024, over 10M examples each.
    """
    image_size, max_title = {"tiny": (64, 24), "small": (224, 48), "base": (224, 144)}[size]
    model = dataclasses.replace(
        _paper_model(size),
        max_title=max_title,
        image_cls=True,
        image_norm=False,
        text_types=True,
        **_single_stream(size),
        **_convolutions(size, image_size),
    )
    # The terms whose weight is 0 are listed in the stage to which they belong if a user gives them
    # a weight.
    masks = "mlm+mpm+mrfr+mrc+gmlm+gmrfr+vtm+lpm+lpm_unseen"
    queries = "qi+qt+qv+kl+rs+contrastive+lpm+lpm_unseen"
    # As in MBSD 4.3.
    lamb: dict[str, Any] = {
        "optimizer": "lamb",
        "learning_rate": 2e-4,
        "beta2": 0.98,
        "weight_decay": 0.01,
        "warmup": 0.1,
        "warmup_steps": 0,
    }
    recipe = _paper_recipe(
        {"mlm": 1.0, "mpm": 1.0, "qi": 1.0, "qt": 1.0, "qv": 1.0, "kl": 1.0, "rs": 1.0},
        stages=f"{masks}:0.625,{queries}:0.375",
        # Queries drawn at random "are too easy to distinguish" (its 3.5).
        hard_negatives=1.0,
        **(lamb if size == "base" else {}),
    )
    return Preset(model, recipe)


def vtbert(size: str) -> Preset:
    """VT-BERT: BERT over a title of up to 36 pieces and linear patches of 16 pixels (its 5.2).

    It has the paper's five objectives and their weights (Eq. 5), and at base size AdamW as in the
    paper's 5.2.
    """
    model = dataclasses.replace(
        _paper_model(size),
        max_title=36,
        vision_cls=True,
        **_single_stream(size),
        **_linear_patches(size, 16),
    )
    recipe = _paper_recipe(
        {"vtm": 1.0, "mlm": 0.1, "gmlm": 0.1, "mrfr": 0.01, "gmrfr": 0.01},
        random_pieces="unigram",
        **(_ADAMW if size == "base" else {}),
    )
    return Preset(model, recipe)


def bert(size: str) -> Preset:
    """The papers' text-only baseline: BERT on titles, no image."""
    model = dataclasses.replace(
        _paper_model(size),
        image_encoder="none",
        max_title=mbsd(size).model.max_title,
        **_single_stream(size),
    )
    return Preset(model, _baseline_recipe())


def vit(size: str) -> Preset:
    """The papers' image-only baseline: ViT's linear patches of 16 pixels in a single stream.

    It does not read titles, but it does read queries, as in MBSD's 4.4.
    """
    model = dataclasses.replace(
        _paper_model(size),
        reads_title=False,
        **_single_stream(size),
        **_linear_patches(size, 16),
    )
    return Preset(model, _baseline_recipe())


def vilt(size: str) -> Preset:
    """ViLT-style: linear patches of 32 pixels and a title of 40 pieces in a single stream."""
    model = dataclasses.replace(
        _paper_model(size),
        max_title=40,
        **_single_stream(size),
        **_linear_patches(size, 32),
    )
    return Preset(model, _baseline_recipe())


def fashionbert(size: str) -> Preset:
    """FashionBERT-style: the title and 4 x 4 crops, each encoded by a residual network.

    The network of the FashionBERT paper is a pretrained ResNet-50; ours is trained from scratch.
    """
    model = dataclasses.replace(
        _paper_model(size),
        image_encoder="crops",
        image_size=64 if size == "tiny" else 224,
        image_grid=4,
        stem_channels=(16, 32, 64) if size == "tiny" else (64, 128, 256),
        max_title=mbsd(size).model.max_title,
        **_single_stream(size),
    )
    return Preset(model, _baseline_recipe())


def wrapped(size: str) -> Preset:
    """A whole model of transformers (CLIP, ViLT, VisualBERT, LXMERT), given by ``pretrained``."""
    return Preset(_paper_model(size), _baseline_recipe())


PRESETS: tuple[Callable[[str], Preset], ...] = (
    joint,
    k3m,
    mbsd,
    vtbert,
    bert,
    vit,
    vilt,
    fashionbert,
    k3m_without_iifm,
    k3m_without_knowledge,
    wrapped,
)

_ADAMW: dict[str, Any] = {
    "learning_rate": 1e-4,
    "beta2": 0.98,
    "weight_decay": 1e-4,
    "warmup_steps": 4000,
}
"""The settings of AdamW in VT-BERT (its 5.2)."""


def _paper_model(size: str) -> ModelConfig:
    """Return the configuration that the papers' models share: BERT, without our additions."""
    dim, heads, vocabulary = {
        "tiny": (64, 2, 2000),
        "small": (256, 4, 8000),
        "base": (768, 12, 30_000),
    }[size]
    return ModelConfig(
        architecture="single-stream",
        image_encoder="patches",
        dim=dim,
        heads=heads,
        vocab_size=vocabulary,
        decoder_layers=0,
        bag_width=0,
        known_width=0,
        max_ngrams=1,
        drop_tokens=0.0,
        drop_wide=0.0,
        hidden_act="gelu",
        norm_eps=BERT_NORM_EPS,
    )


def _paper_recipe(weights: dict[str, float], **settings: Any) -> Recipe:
    """Return a paper's recipe: only its own objectives, on complete items, all of them masked."""
    return Recipe(
        title_full=1.0,
        title_blind=0.0,
        thin_titles=0.0,
        known_all=1.0,
        known_none=0.0,
        masked_rows=1.0,
        label_smoothing=0.0,
        weights=dict.fromkeys(TERMS, 0.0) | weights,
        **settings,
    )


def _baseline_recipe() -> Recipe:
    """Return the baselines' recipe: that of the joint preset without VT-BERT's heads on [CLS]."""
    recipe = Recipe()
    return dataclasses.replace(recipe, weights={**recipe.weights, "gmlm": 0.0, "gmrfr": 0.0})


def _single_stream(size: str) -> dict[str, Any]:
    """Return the number of layers of a single stream."""
    # At least two: with only one, [CLS] can sum up the words of a query and of a title, but not
    # compare them. A model with one layer stayed at a ROC-AUC of about .72, which can be reached
    # without looking at the item at all.
    return {"text_layers": 0, "fusion_layers": {"tiny": 2, "small": 4, "base": 12}[size]}


def _linear_patches(size: str, patch: int) -> dict[str, Any]:
    """Return the settings of linear patches, ``patch`` pixels wide and high."""
    image_size = 64 if size == "tiny" else 224
    return {
        "image_size": image_size,
        "image_grid": image_size // patch,
        "patch_kernels": (patch,),
        "stem_channels": (),
    }


def _convolutions(size: str, image_size: int) -> dict[str, Any]:
    """Return the settings of MBSD's non-overlapping convolutions."""
    if size == "tiny":
        return {
            "image_size": image_size,
            "image_grid": 4,
            "patch_kernels": (4, 4),
            "stem_channels": (32,),
        }
    return {
        "image_size": image_size,
        "image_grid": 7,
        "patch_kernels": (4, 2, 2, 2),
        "stem_channels": (64, 192, 384),
    }
