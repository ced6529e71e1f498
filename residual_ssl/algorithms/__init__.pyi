from .adversarial import DomainAdversarial as DomainAdversarial
from .algorithm import Algorithm as Algorithm
from .algorithm import StepOutput as StepOutput
from .branches import Branch as Branch
from .branches import FeatureBranch as FeatureBranch
from .branches import InputBranch as InputBranch
from .branches import PredictionBranch as PredictionBranch
from .consistency import ConsistencyAlgorithm as ConsistencyAlgorithm
from .cross_supervision import CrossSupervision as CrossSupervision
from .cross_supervision import NetworkPair as NetworkPair
from .domain_network import DomainNetwork as DomainNetwork
from .ema import EMATeacher as EMATeacher
from .views.contrast import ContrastiveMemory as ContrastiveMemory
from .views.contrastive import ContrastiveConsistency as ContrastiveConsistency
from .views.copy_paste import CopyPasteBranch as CopyPasteBranch
from .views.correlated import CorrelationConsistency as CorrelationConsistency
from .views.look_ahead import LookAhead as LookAhead
from .views.prior import Prior as Prior
from .views.prior import ZeroShot as ZeroShot
from .views.reliable_images import ReliableImages as ReliableImages

__all__ = [
    "Algorithm",
    "Branch",
    "ConsistencyAlgorithm",
    "ContrastiveConsistency",
    "ContrastiveMemory",
    "CopyPasteBranch",
    "CorrelationConsistency",
    "CrossSupervision",
    "DomainAdversarial",
    "DomainNetwork",
    "EMATeacher",
    "FeatureBranch",
    "InputBranch",
    "LookAhead",
    "NetworkPair",
    "PredictionBranch",
    "Prior",
    "ReliableImages",
    "StepOutput",
    "ZeroShot",
]
