"""Semi-supervised learning that answers one question well: which pseudo-labels can be trusted?"""

from residual_ssl.algorithms import Algorithm
from residual_ssl.allowed_targets import allow
from residual_ssl.api import compose, evaluate, predict
from residual_ssl.engine import RunResult, train
from residual_ssl.errors import ResidualSSLError
from residual_ssl.estimator import SelfTrainingClassifier
from residual_ssl.features import Features, prediction_features
from residual_ssl.masking import TrustedMask
from residual_ssl.selection import ConvexSelector, FixedThreshold, Selection, Selector, solve_partition
from residual_ssl.task import Task

__all__ = [
    "Algorithm",
    "ConvexSelector",
    "Features",
    "FixedThreshold",
    "ResidualSSLError",
    "RunResult",
    "Selection",
    "Selector",
    "SelfTrainingClassifier",
    "Task",
    "TrustedMask",
    "allow",
    "compose",
    "evaluate",
    "predict",
    "prediction_features",
    "solve_partition",
    "train",
]
