"""The training objectives. To add one, add a file to this folder and a line to ``OBJECTIVES``."""

from training.objectives.base import Need, Objective
from training.objectives.contrastive import Contrastive
from training.objectives.gmlm import GlobalMaskedLanguageModeling
from training.objectives.gmrfr import GlobalMaskedRegionFeatureRegression
from training.objectives.lpm import LinkPrediction, LinkPredictionWithoutImage
from training.objectives.matching import ImageMatching, ItemMatching, TitleMatching
from training.objectives.mlm import MaskedLanguageModeling
from training.objectives.mpm import MaskedPatchModeling
from training.objectives.mrc import MaskedRegionClassification
from training.objectives.mrfr import MaskedRegionFeatureRegression
from training.objectives.sdmi import KnowledgeDistillation, RepresentationSimilarity
from training.objectives.vtm import VisualTextMatching

OBJECTIVES: tuple[type[Objective], ...] = (
    LinkPrediction,
    LinkPredictionWithoutImage,
    MaskedLanguageModeling,
    MaskedPatchModeling,
    MaskedRegionFeatureRegression,
    MaskedRegionClassification,
    GlobalMaskedLanguageModeling,
    GlobalMaskedRegionFeatureRegression,
    VisualTextMatching,
    ItemMatching,
    TitleMatching,
    ImageMatching,
    KnowledgeDistillation,
    RepresentationSimilarity,
    Contrastive,
)
"""Every objective, in the order in which logs list their terms."""

TERMS = tuple(objective.name for objective in OBJECTIVES)
"""The objectives' names."""

__all__ = ["OBJECTIVES", "TERMS", "Need", "Objective"]
