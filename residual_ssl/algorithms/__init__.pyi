from .adversarial import DomainAdversarial as DomainAdversarial
from .algorithm import Algorithm as Algorithm
from .algorithm import StepOutput as StepOutput
from .auxiliary.loss import AuxiliaryLoss as AuxiliaryLoss
from .auxiliary.network import NetworkWithHeads as NetworkWithHeads
from .branches import Branch as Branch
from .branches import FeatureBranch as FeatureBranch
from .branches import InputBranch as InputBranch
from .branches import PredictionBranch as PredictionBranch
from .consistency import ConsistencyAlgorithm as ConsistencyAlgorithm
from .cross_supervision import CrossSupervision as CrossSupervision
from .cross_supervision import NetworkPair as NetworkPair
from .domain_network import DomainNetwork as DomainNetwork
from .ema import EMATeacher as EMATeacher
from .noise.debiased import DebiasedSelfTraining as DebiasedSelfTraining
from .noise.early_learning import EarlyLearning as EarlyLearning
from .open_set.diversified_heads import DiversifiedHeads as DiversifiedHeads
from .open_set.iomatch import IOMatch as IOMatch
from .open_set.openmatch import OpenMatch as OpenMatch
from .open_set.ssb import SSB as SSB
from .views.contrast import ContrastiveMemory as ContrastiveMemory
from .views.contrastive import ContrastiveConsistency as ContrastiveConsistency
from .views.copy_paste import CopyPasteBranch as CopyPasteBranch
from .views.look_ahead import LookAhead as LookAhead

__all__ = [
    "SSB",
    "Algorithm",
    "AuxiliaryLoss",
    "Branch",
    "ConsistencyAlgorithm",
    "ContrastiveConsistency",
    "ContrastiveMemory",
    "CopyPasteBranch",
    "CrossSupervision",
    "DebiasedSelfTraining",
    "DiversifiedHeads",
    "DomainAdversarial",
    "DomainNetwork",
    "EMATeacher",
    "EarlyLearning",
    "FeatureBranch",
    "IOMatch",
    "InputBranch",
    "LookAhead",
    "NetworkPair",
    "NetworkWithHeads",
    "OpenMatch",
    "PredictionBranch",
    "StepOutput",
]
