"""Selection rules: logits in, pseudo-labels with weights out."""

from residual_ssl.selection.constrained import ConstrainedConvexSelector, SelectionProgram
from residual_ssl.selection.convex import ConvexSelector
from residual_ssl.selection.learned import LearnedConvexSelector
from residual_ssl.selection.oracle import OracleSelection
from residual_ssl.selection.partition import solve_partition
from residual_ssl.selection.selection import Selection
from residual_ssl.selection.selector import Selector
from residual_ssl.selection.separation import ConvexPartition, convex_partition, reliability_weight
from residual_ssl.selection.stable_images import StableImages
from residual_ssl.selection.threshold import FixedThreshold, NoSelection

__all__ = [
    "ConstrainedConvexSelector",
    "ConvexPartition",
    "ConvexSelector",
    "FixedThreshold",
    "LearnedConvexSelector",
    "NoSelection",
    "OracleSelection",
    "Selection",
    "SelectionProgram",
    "Selector",
    "StableImages",
    "convex_partition",
    "reliability_weight",
    "solve_partition",
]
