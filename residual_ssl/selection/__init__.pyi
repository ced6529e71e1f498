from .catalogue import described as described
from .catalogue import selector_classes as selector_classes
from .convex.constrained import ConstrainedConvexSelector as ConstrainedConvexSelector
from .convex.constrained import SelectionProgram as SelectionProgram
from .convex.learned import LearnedConvexSelector as LearnedConvexSelector
from .convex.partition import solve_partition as solve_partition
from .convex.reliable_regions import ReliableRegions as ReliableRegions
from .convex.selector import ConvexSelector as ConvexSelector
from .convex.separation import ConvexPartition as ConvexPartition
from .convex.separation import convex_partition as convex_partition
from .convex.separation import reliability_weight as reliability_weight
from .features import Features as Features
from .features import prediction_features as prediction_features
from .graph.label_propagation import LabelPropagation as LabelPropagation
from .graph.pooled_propagation import PooledPropagation as PooledPropagation
from .graph.region_vote import RegionVote as RegionVote
from .needs import Needs as Needs
from .per_label import PerLabel as PerLabel
from .points.certainty import certainty as certainty
from .points.units import from_probabilities as from_probabilities
from .selection import Selection as Selection
from .selector import Selector as Selector
from .thresholds.adamatch import AdaMatchThreshold as AdaMatchThreshold
from .thresholds.agreement import AgreementThreshold as AgreementThreshold
from .thresholds.cafs import CAFSThreshold as CAFSThreshold
from .thresholds.conformal import ConformalSelector as ConformalSelector
from .thresholds.consistent_teacher import ConsistentTeacherThreshold as ConsistentTeacherThreshold
from .thresholds.corrmatch import CorrMatchThreshold as CorrMatchThreshold
from .thresholds.cw_bass import CWBASSThreshold as CWBASSThreshold
from .thresholds.dash import DashThreshold as DashThreshold
from .thresholds.fixed import FixedThreshold as FixedThreshold
from .thresholds.flexmatch import FlexMatchThreshold as FlexMatchThreshold
from .thresholds.freematch import FreeMatchThreshold as FreeMatchThreshold
from .thresholds.sharpened import SharpenedThreshold as SharpenedThreshold
from .thresholds.shrinkmatch import ShrinkMatchThreshold as ShrinkMatchThreshold
from .thresholds.top_fraction import TopFraction as TopFraction
from .thresholds.u2pl import U2PLThreshold as U2PLThreshold
from .weights.alignment import DistributionAlignment as DistributionAlignment
from .weights.confidence import ConfidenceWeight as ConfidenceWeight
from .weights.confident_share import ConfidentShare as ConfidentShare
from .weights.dmt import DMTWeight as DMTWeight
from .weights.entropy import EntropyWeight as EntropyWeight
from .weights.oracle import OracleSelector as OracleSelector
from .weights.softmatch import SoftMatchWeight as SoftMatchWeight
from .weights.st_plus_plus import STPlusPlusSelector as STPlusPlusSelector
from .weights.stored import StoredLabels as StoredLabels
from .weights.trust_all import TrustAll as TrustAll
from .weights.ucc import UCCWeight as UCCWeight
from .wrapper import WrapperSelector as WrapperSelector

__all__ = [
    "AdaMatchThreshold",
    "AgreementThreshold",
    "CAFSThreshold",
    "CWBASSThreshold",
    "ConfidenceWeight",
    "ConfidentShare",
    "ConformalSelector",
    "ConsistentTeacherThreshold",
    "ConstrainedConvexSelector",
    "ConvexPartition",
    "ConvexSelector",
    "CorrMatchThreshold",
    "DMTWeight",
    "DashThreshold",
    "DistributionAlignment",
    "EntropyWeight",
    "Features",
    "FixedThreshold",
    "FlexMatchThreshold",
    "FreeMatchThreshold",
    "LabelPropagation",
    "LearnedConvexSelector",
    "Needs",
    "OracleSelector",
    "PerLabel",
    "PooledPropagation",
    "RegionVote",
    "ReliableRegions",
    "STPlusPlusSelector",
    "Selection",
    "SelectionProgram",
    "Selector",
    "SharpenedThreshold",
    "ShrinkMatchThreshold",
    "SoftMatchWeight",
    "StoredLabels",
    "TopFraction",
    "TrustAll",
    "U2PLThreshold",
    "UCCWeight",
    "WrapperSelector",
    "certainty",
    "convex_partition",
    "described",
    "from_probabilities",
    "prediction_features",
    "reliability_weight",
    "selector_classes",
    "solve_partition",
]
