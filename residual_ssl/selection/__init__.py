"""Selection rules: logits in, pseudo-labels with weights out."""

from residual_ssl.selection.agreement import AgreementThreshold, DivergenceWeight, MutualWeight
from residual_ssl.selection.alignment import DistributionAlignment
from residual_ssl.selection.calibrated import CalibratedThreshold
from residual_ssl.selection.catalogue import described, selection_rules
from residual_ssl.selection.class_threshold import CurriculumThreshold, SelfAdaptiveThreshold
from residual_ssl.selection.confident_share import ConfidentShare
from residual_ssl.selection.constrained import ConstrainedConvexSelector, SelectionProgram
from residual_ssl.selection.convex import ConvexSelector
from residual_ssl.selection.entropy import EntropyPercentile
from residual_ssl.selection.gated import GatedThreshold
from residual_ssl.selection.gaussian import GaussianWeight
from residual_ssl.selection.labelled_threshold import LossThreshold, RelativeThreshold
from residual_ssl.selection.learned import LearnedConvexSelector
from residual_ssl.selection.mixture import MixtureThreshold
from residual_ssl.selection.moving_threshold import MovingThreshold
from residual_ssl.selection.oracle import OracleSelection
from residual_ssl.selection.partition import solve_partition
from residual_ssl.selection.reliable_regions import ReliableRegions
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.separation import ConvexPartition, convex_partition, reliability_weight
from residual_ssl.selection.sharpened import SharpenedThreshold
from residual_ssl.selection.shrunk import ShrunkClassSpace
from residual_ssl.selection.soft_weight import ConfidenceWeight, EntropyWeight
from residual_ssl.selection.stable_images import StableImages
from residual_ssl.selection.threshold import FixedThreshold, NoSelection
from residual_ssl.selection.top_fraction import TopFraction

__all__ = [
    "AgreementThreshold",
    "CalibratedThreshold",
    "ConfidenceWeight",
    "ConfidentShare",
    "ConstrainedConvexSelector",
    "ConvexPartition",
    "ConvexSelector",
    "CurriculumThreshold",
    "DistributionAlignment",
    "DivergenceWeight",
    "EntropyPercentile",
    "EntropyWeight",
    "FixedThreshold",
    "GatedThreshold",
    "GaussianWeight",
    "LearnedConvexSelector",
    "LossThreshold",
    "MixtureThreshold",
    "MovingThreshold",
    "MutualWeight",
    "NoSelection",
    "OracleSelection",
    "RelativeThreshold",
    "ReliableRegions",
    "Selection",
    "SelectionProgram",
    "Selector",
    "SelfAdaptiveThreshold",
    "SharpenedThreshold",
    "ShrunkClassSpace",
    "StableImages",
    "TopFraction",
    "convex_partition",
    "described",
    "reliability_weight",
    "selection_rules",
    "solve_partition",
]
