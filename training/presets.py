"""How each preset trains unless told otherwise: its paper's objectives, and at base size its paper's hyper-parameters."""

from __future__ import annotations

from typing import Any

# A paper's model sees items as they are, every one of them masked.
_AS_THEY_ARE: dict[str, Any] = {
    "title_full": 1.0,
    "title_blind": 0.0,
    "thin_titles": 0.0,
    "known_all": 1.0,
    "known_none": 0.0,
    "masked_rows": 1.0,
    "label_smoothing": 0.0,
}
_NO_TERM: dict[str, Any] = {
    f"loss_{term}": 0.0
    for term in (
        "lpm",
        "lpm_unseen",
        "mlm",
        "mpm",
        "gmlm",
        "gmrfr",
        "qi",
        "qt",
        "qv",
        "kl",
        "rs",
        "contrastive",
    )
}
_ADAMW: dict[str, Any] = {
    "learning_rate": 1e-4,
    "beta2": 0.98,
    "weight_decay": 1e-4,
    "warmup_steps": 4000,
}


def preset_recipe(preset: str, size: str) -> dict[str, Any]:
    """The settings of :class:`training.config.Recipe` in which a preset at a size differs from the joint one."""
    if preset.startswith("k3m"):
        return k3m(size)
    return {"mbsd": mbsd, "vtbert": vtbert, "joint": joint}.get(preset, baseline)(size)


def joint(size: str) -> dict[str, Any]:
    """Ours: every objective at once, for completion."""
    return {}


def baseline(size: str) -> dict[str, Any]:
    """The papers' baselines: as ours, but without VT-BERT's heads of [CLS]."""
    return {"loss_gmlm": 0.0, "loss_gmrfr": 0.0}


def k3m(size: str) -> dict[str, Any]:
    """K3M: MLM, masked objects (L2, and with a detector's classes their KL), LPM by the margin between a triple and corrupted ones.

    48 pieces, the limit of its release for an item's triples together, hold 8 triples at most of 95 in 100 Taobao items.
    """
    terms = {"loss_lpm": 1.0, "loss_mlm": 1.0, "loss_mrfr": 0.01, "loss_mrc": 1.0}
    links = {"link": "margin", "max_known": 8}
    return {**_AS_THEY_ARE, **_NO_TERM, **terms, **links, **(_ADAMW if size == "base" else {})}


def vtbert(size: str) -> dict[str, Any]:
    """VT-BERT: its five objectives with its weights (Eq. 5); at base AdamW as in its 5.2."""
    terms = {
        "loss_vtm": 1.0,
        "loss_mlm": 0.1,
        "loss_gmlm": 0.1,
        "loss_mrfr": 0.01,
        "loss_gmrfr": 0.01,
    }
    return {**_AS_THEY_ARE, **_NO_TERM, **terms, **(_ADAMW if size == "base" else {})}


def mbsd(size: str) -> dict[str, Any]:
    """MBSD: masked pre-training, then query matching with SDMI; at base LAMB as in its 4.3.

    The stages' shares are those of the paper's steps: 10 epochs in batches of 2,048, then 3 in batches of 1,024, over 10M each.
    """
    terms = {
        "loss_mlm": 1.0,
        "loss_mpm": 1.0,
        "loss_qi": 1.0,
        "loss_qt": 1.0,
        "loss_qv": 1.0,
        "loss_kl": 1.0,
        "loss_rs": 1.0,
    }
    # Terms of weight 0 stand ready where they would belong.
    first = "mlm+mpm+mrfr+mrc+gmlm+gmrfr+vtm+lpm+lpm_unseen"
    second = "qi+qt+qv+kl+rs+contrastive+lpm+lpm_unseen"
    schedule = {"stages": f"{first}:0.625,{second}:0.375", "hard_negatives": 1.0}
    lamb = {
        "optimizer": "lamb",
        "learning_rate": 2e-4,
        "beta2": 0.98,
        "weight_decay": 0.01,
        "warmup": 0.1,
        "warmup_steps": 0,
    }
    return {**_AS_THEY_ARE, **_NO_TERM, **terms, **schedule, **(lamb if size == "base" else {})}
