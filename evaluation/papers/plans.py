"""What the papers compare, with their own figures, as plain data.

K3M's tables are not quoted: its figures are drawn as curves over ratios, and only what its text
claims is checked. Figures are percentages, as the papers print them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class RowKind(StrEnum):
    """What a row of a table is made of."""

    NETWORK = "network"
    TFIDF = "tf-idf"
    CLASSICAL = "classical"
    PRETRAINED = "pretrained"
    COMPLETION = "completion"


@dataclass(frozen=True)
class Variant:
    """A row of the tables: a network that is trained, or a baseline that is not.

    Attributes:
        name: what the tables call it
        preset: the network's preset; empty for a baseline
        settings: the settings of its training, as ``--set`` takes them
        pretrained: whether it is trained by its own objectives before any task
        several_seeds: whether it is trained once for each seed
        with_statements: whether the graph is added to an encoder that does not read statements
        supervised: whether same products are retrieved after it has learned the categories
        kind: what it is made of
    """

    name: str
    preset: str = ""
    settings: tuple[str, ...] = ()
    pretrained: bool = True
    several_seeds: bool = False
    with_statements: bool = False
    supervised: bool = False
    kind: RowKind = RowKind.NETWORK

    @property
    def training(self) -> tuple[str, tuple[str, ...], bool]:
        """What its weights depend on: variants that differ only in what is added share these."""
        return self.preset, self.settings, self.pretrained


@dataclass(frozen=True)
class Claim:
    """That one row exceeds another in a metric, by what the paper says of both."""

    better: str
    worse: str


@dataclass(frozen=True)
class Table:
    """A table of a paper.

    Attributes:
        title: its number and subject
        task: the task whose metrics it shows
        metrics: the columns, by the task's names
        rows: the variants, by name
        paper: the paper's figures by row, in the order of the metrics; a row may be missing
        claims: the orderings that are checked, in the first of the metrics
        note: what differs from the paper
    """

    title: str
    task: str
    metrics: tuple[str, ...]
    rows: tuple[str, ...]
    paper: Mapping[str, tuple[float | None, ...]] = field(default_factory=dict)
    claims: tuple[Claim, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Curves:
    """Curves of a task over ratios of missing and noisy modalities, and what is claimed of them."""

    title: str
    task: str
    rows: tuple[str, ...]
    claims: tuple[Claim, ...] = ()
    smallest_fall: str = ""
    """The row that should lose least as titles go missing."""


@dataclass(frozen=True)
class PaperPlan:
    """All that a paper's page has: K3M's, MBSD's or VT-BERT's."""

    name: str
    title: str
    variants: tuple[Variant, ...]
    tables: tuple[Table, ...]
    curves: tuple[Curves, ...] = ()
    differs: tuple[str, ...] = ()
    """What differs from the paper, whatever the catalogue is."""

    def with_row(self, variant: Variant) -> PaperPlan:
        """Return the plan with one more row at the end of every table but the ablations."""
        tables = tuple(
            table
            if all(self.variant(name).preset for name in table.rows)
            else replace(table, rows=(*table.rows, variant.name))
            for table in self.tables
        )
        return replace(self, variants=(*self.variants, variant), tables=tables)

    def variant(self, name: str) -> Variant:
        """Return a variant by its name."""
        return next(each for each in self.variants if each.name == name)


_NO_GRAPH = ("loss_lpm=0", "loss_lpm_unseen=0")
"""Without link prediction, a network reads no statements."""
_TFIDF = Variant("TF-IDF", kind=RowKind.TFIDF)
_CLASSICAL = Variant("TF-IDF, image, statements", kind=RowKind.CLASSICAL)
_COMPLETION = Variant("joint, by completion", "joint", kind=RowKind.COMPLETION)
_NETWORKS = (
    Variant("K3M", "k3m"),
    Variant("K3M without IIFM", "k3m-without-iifm"),
    Variant("K3M without knowledge", "k3m-without-knowledge"),
    Variant("joint", "joint"),
    Variant("joint without the graph", "joint", _NO_GRAPH),
    Variant("BERT", "bert", _NO_GRAPH),
    Variant("ViT", "vit", _NO_GRAPH),
    Variant("ViLT", "vilt", _NO_GRAPH),
    Variant("VT-BERT", "vtbert"),
)


def _with_graph(variant: Variant) -> Variant:
    return Variant(
        f"{variant.name} + graph", variant.preset, variant.settings, with_statements=True
    )


def k3m() -> PaperPlan:
    """K3M: classification, alignment and question answering, over missing and noisy modalities."""
    graphs = tuple(
        _with_graph(each) for each in _NETWORKS if each.name in ("BERT", "ViT", "ViLT", "VT-BERT")
    )
    variants = (*_NETWORKS, *graphs, _TFIDF, _CLASSICAL, _COMPLETION)
    rows = tuple(each.name for each in variants if each.kind is not RowKind.COMPLETION)
    compared = ("K3M", "K3M without IIFM", "K3M without knowledge", "joint", "ViLT", "BERT", "ViT")
    claims = (
        Claim("K3M", "K3M without knowledge"),
        Claim("K3M", "K3M without IIFM"),
        Claim("K3M", "ViLT"),
        Claim("ViLT + graph", "ViLT"),
    )
    over_ratios = (Claim("K3M", "K3M without knowledge"), Claim("K3M", "K3M without IIFM"))
    return PaperPlan(
        name="k3m",
        title="K3M: Knowledge Perceived Multi-modal Pretraining in E-commerce (2021)",
        variants=variants,
        tables=(
            Table(
                "Item classification",
                "classification",
                ("top-1", "macro-F1"),
                rows,
                claims=claims,
            ),
            Table("Product alignment", "alignment", ("F1", "ROC-AUC"), rows, claims=claims),
            Table(
                "Multi-modal question answering",
                "qa",
                ("Rank@10", "Rank@1", "MRR"),
                (*rows, _COMPLETION.name),
                claims=claims,
                note="Questions are made from the properties of the catalogue, and 100 answers are "
                "ranked; the paper has questions of customers.",
            ),
        ),
        curves=(
            Curves("Item classification", "classification", compared, over_ratios, "K3M"),
            Curves("Product alignment", "alignment", compared, over_ratios, "K3M"),
        ),
        differs=(
            "The paper pretrains on 40 million items of Taobao, with regions of a detector.",
            "ViLBERT, VL-BERT and LXMERT are represented by ViLT's architecture, trained from "
            "scratch on the same items; preset `wrapped` takes weights where there are some.",
        ),
    )


def mbsd() -> PaperPlan:
    """MBSD: attribute prediction, alignment and classification, and what SDMI adds."""
    queries = ("loss_qt=0", "loss_qv=0", "loss_kl=0", "loss_rs=0")
    variants = (
        Variant("MBSD", "mbsd", several_seeds=True),
        Variant("BERT", "bert", _NO_GRAPH),
        Variant("ViT", "vit", _NO_GRAPH),
        Variant("FashionBERT", "fashionbert", _NO_GRAPH),
        Variant("ViLT", "vilt", _NO_GRAPH),
        Variant("w/o pre-training", "mbsd", pretrained=False),
        Variant("w/o preliminary pre-training", "mbsd", ("stages=qi+qt+qv+kl+rs:1",)),
        Variant("w/o continue pre-training", "mbsd", ("stages=mlm+mpm:1",)),
        Variant("w/o QT, QV, KL and RS", "mbsd", queries),
        Variant("w/o KL and RS", "mbsd", queries[2:], several_seeds=True),
        _TFIDF,
        _COMPLETION,
    )
    peers = ("BERT", "ViT", "FashionBERT", "ViLT", "MBSD", "TF-IDF")
    beats = tuple(Claim("MBSD", name) for name in ("BERT", "ViT", "FashionBERT", "ViLT"))
    ablations = tuple(each.name for each in variants if each.preset == "mbsd")
    return PaperPlan(
        name="mbsd",
        title="MBSD: Multimodal Pre-Training with Self-Distillation (2023)",
        variants=variants,
        tables=(
            Table(
                "Table 1: attribute prediction",
                "attributes",
                ("ROC-AUC", "accuracy", "F1", "macro-F1"),
                (*peers, _COMPLETION.name),
                paper={
                    "BERT": (80.10, 72.43, 69.95, None),
                    "ViT": (63.37, 59.20, 51.11, None),
                    "FashionBERT": (80.23, 72.48, 70.14, None),
                    "ViLT": (76.27, 69.11, 65.45, None),
                    "MBSD": (82.13, 74.14, 71.85, None),
                },
                claims=(*beats, Claim("BERT", "ViT"), Claim("BERT", "ViLT")),
                note="The paper's figures are those of IAVP-G.",
            ),
            Table(
                "Table 4: alignment",
                "alignment",
                ("ROC-AUC", "accuracy", "precision", "recall", "F1"),
                peers,
                paper={
                    "BERT": (90.60, 83.69, 82.71, 81.61, 82.16),
                    "ViT": (91.11, 84.40, 82.62, 83.69, 83.15),
                    "ViLT": (91.30, 84.19, 83.15, 82.31, 82.73),
                    "FashionBERT": (90.88, 84.32, 83.32, 82.43, 82.87),
                    "MBSD": (91.53, 84.73, 84.37, 82.00, 83.17),
                },
                claims=beats,
            ),
            Table(
                "Table 5: classification",
                "classification",
                ("top-1", "macro-F1"),
                peers,
                paper={
                    "BERT": (91.45, None),
                    "ViT": (64.32, None),
                    "ViLT": (86.88, None),
                    "FashionBERT": (91.69, None),
                    "MBSD": (92.20, None),
                },
                claims=beats,
            ),
            Table(
                "Table 6: ablations, by attribute prediction",
                "attributes",
                ("ROC-AUC",),
                ablations,
                paper={
                    "MBSD": (81.74,),
                    "w/o pre-training": (78.70,),
                    "w/o preliminary pre-training": (80.48,),
                    "w/o continue pre-training": (81.31,),
                    "w/o QT, QV, KL and RS": (81.35,),
                    "w/o KL and RS": (81.58,),
                },
                claims=tuple(Claim("MBSD", name) for name in ablations if name != "MBSD"),
            ),
            Table(
                "Figure 7: attribute prediction from the title alone",
                "attributes, title alone",
                ("ROC-AUC",),
                ("MBSD", "w/o KL and RS"),
                claims=(Claim("MBSD", "w/o KL and RS"),),
                note="Images are missing in training for the task and in the test.",
            ),
            Table(
                "Figure 7: attribute prediction from the image alone",
                "attributes, image alone",
                ("ROC-AUC",),
                ("MBSD", "w/o KL and RS"),
                claims=(Claim("MBSD", "w/o KL and RS"),),
                note="Titles are missing in training for the task and in the test.",
            ),
        ),
        differs=(
            "The paper starts from bert-base-chinese, and pretrains on 10 million items and as "
            "many queries of Taobao.",
            "M6 and OFA are encoder-decoders that transformers does not offer, and are left out.",
            "Tags are read apart from the item, and the head compares the two vectors: read before "
            "the title, as in the paper, no network of this size learned the task in this time.",
        ),
    )


def vtbert() -> PaperPlan:
    """VT-BERT: same-product retrieval by its objectives and embeddings, and leaf categories."""
    supervised = "VT-BERT with classification"
    masked = ("loss_mlm=0", "loss_mrfr=0")
    from_cls = ("loss_gmlm=0", "loss_gmrfr=0")
    variants = (
        Variant("VT-BERT", "vtbert"),
        Variant("BERT", "bert", _NO_GRAPH),
        Variant("ViT", "vit", _NO_GRAPH),
        Variant(supervised, "vtbert", pretrained=False, supervised=True),
        Variant("VTM", "vtbert", (*masked, *from_cls)),
        Variant("VTM + MLM + MRFR", "vtbert", from_cls),
        Variant("VTM + GMLM + GMRFR", "vtbert", masked),
        Variant("MLM + GMLM + MRFR + GMRFR", "vtbert", ("loss_vtm=0",)),
        _TFIDF,
        _CLASSICAL,
    )
    objectives = ("VTM", "VTM + MLM + MRFR", "VTM + GMLM + GMRFR", "MLM + GMLM + MRFR + GMRFR")
    return PaperPlan(
        name="vtbert",
        title="VT-BERT: How to Attend to Different Modalities Equally",
        variants=variants,
        tables=(
            Table(
                "Table 2: same-product retrieval",
                "same-products",
                ("MAR@10", "MAP@10"),
                (
                    "ViT",
                    "BERT",
                    supervised,
                    "VT-BERT",
                    "TF-IDF",
                    _CLASSICAL.name,
                ),
                paper={
                    "ViT": (38.43, 30.24),
                    "BERT": (46.27, 41.13),
                    supervised: (54.14, 48.73),
                    "VT-BERT": (66.96, 60.05),
                },
                claims=(
                    Claim("VT-BERT", supervised),
                    Claim("VT-BERT", "BERT"),
                    Claim("BERT", "ViT"),
                ),
                note="The paper's row ViT is ResNet-50 on images.",
            ),
            Table(
                "Table 3: retrieval by objectives",
                "same-products",
                ("MAR@10", "MAP@10"),
                (*objectives, "VT-BERT"),
                paper={
                    "VTM": (1.17, 0.78),
                    "VTM + MLM + MRFR": (66.53, 59.35),
                    "VTM + GMLM + GMRFR": (65.65, 58.84),
                    "MLM + GMLM + MRFR + GMRFR": (66.90, 59.59),
                    "VT-BERT": (66.76, 59.85),
                },
                claims=tuple(Claim(name, "VTM") for name in (*objectives[1:], "VT-BERT")),
            ),
            Table(
                "Table 4: retrieval by the global embedding",
                "same-products",
                ("MAR@10, global", "MAR@10, image", "MAR@10, text"),
                (*objectives, "VT-BERT"),
                paper={
                    "VTM": (0.25, 0.15, 1.17),
                    "VTM + MLM + MRFR": (23.05, 13.20, 66.53),
                    "VTM + GMLM + GMRFR": (22.25, 13.96, 65.65),
                    "MLM + GMLM + MRFR + GMRFR": (20.54, 5.53, 66.90),
                    "VT-BERT": (28.43, 14.27, 66.76),
                },
                claims=tuple(Claim("VT-BERT", name) for name in objectives),
            ),
            Table(
                "Table 5: leaf category",
                "classification",
                ("top-1", "top-5"),
                ("ViT", "BERT", supervised, "VT-BERT", "TF-IDF"),
                paper={
                    "ViT": (74.92, 90.84),
                    "BERT": (88.92, 98.05),
                    supervised: (89.82, 98.11),
                    "VT-BERT": (91.09, 98.52),
                },
                claims=(
                    Claim("VT-BERT", supervised),
                    Claim("VT-BERT", "BERT"),
                    Claim("BERT", "ViT"),
                ),
            ),
        ),
        differs=(
            "The paper trains on 1.1 million items of its own, and ranks all of them for 5,000 "
            "queries that training has not seen. Here the queries are test items, and all items "
            "are ranked.",
            "CLIP is left out: preset `wrapped` takes its weights where there are some.",
        ),
    )


PLANS = {plan.name: plan for plan in (k3m(), mbsd(), vtbert())}
