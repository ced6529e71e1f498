"""Algorithms: what is predicted, who teaches, which terms make the loss."""

from residual_ssl.algorithms.adversarial import DomainAdversarial
from residual_ssl.algorithms.algorithm import Algorithm, StepOutput
from residual_ssl.algorithms.branches import FeatureBranch, InputBranch, PredictionBranch
from residual_ssl.algorithms.consistency import ConsistencyAlgorithm
from residual_ssl.algorithms.cross_supervision import CrossSupervision, NetworkPair
from residual_ssl.algorithms.domain_network import DomainNetwork

__all__ = [
    "Algorithm",
    "ConsistencyAlgorithm",
    "CrossSupervision",
    "DomainAdversarial",
    "DomainNetwork",
    "FeatureBranch",
    "InputBranch",
    "NetworkPair",
    "PredictionBranch",
    "StepOutput",
]
