"""Algorithms: what is predicted, who teaches, which terms make the loss."""

from residual_ssl.algorithms.algorithm import Algorithm, StepOutput
from residual_ssl.algorithms.consistency import ConsistencyAlgorithm, FeatureBranch, InputBranch

__all__ = ["Algorithm", "ConsistencyAlgorithm", "FeatureBranch", "InputBranch", "StepOutput"]
