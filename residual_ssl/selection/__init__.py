"""Selection rules: logits in, pseudo-labels with weights out."""

from residual_ssl.selection.catalogue import described, selection_rules
from residual_ssl.selection.confident_share import ConfidentShare
from residual_ssl.selection.constrained import ConstrainedConvexSelector, SelectionProgram
from residual_ssl.selection.convex import ConvexSelector
from residual_ssl.selection.entropy import EntropyPercentile
from residual_ssl.selection.learned import LearnedConvexSelector
from residual_ssl.selection.moving_threshold import MovingThreshold
from residual_ssl.selection.oracle import OracleSelection
from residual_ssl.selection.partition import solve_partition
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.separation import ConvexPartition, convex_partition, reliability_weight
from residual_ssl.selection.sharpened import SharpenedThreshold
from residual_ssl.selection.threshold import FixedThreshold, NoSelection

__all__ = [
    "ConfidentShare",
    "ConstrainedConvexSelector",
    "ConvexPartition",
    "ConvexSelector",
    "EntropyPercentile",
    "FixedThreshold",
    "LearnedConvexSelector",
    "MovingThreshold",
    "NoSelection",
    "OracleSelection",
    "Selection",
    "SelectionProgram",
    "Selector",
    "SharpenedThreshold",
    "convex_partition",
    "described",
    "reliability_weight",
    "selection_rules",
    "solve_partition",
]
