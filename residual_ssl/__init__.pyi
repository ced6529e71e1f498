from .algorithms import Algorithm as Algorithm
from .algorithms import EMATeacher as EMATeacher
from .algorithms.estimator.labelled_folds import LabelledKFold as LabelledKFold
from .algorithms.estimator.self_training import SelfTrainingClassifier as SelfTrainingClassifier
from .commands.api import compare_selectors as compare_selectors
from .commands.api import evaluate as evaluate
from .commands.load import load as load
from .commands.predict import predict as predict
from .config.allowed_targets import allow as allow
from .config.composition import compose as compose
from .engine import Callbacks as Callbacks
from .engine import RunResult as RunResult
from .engine import train as train
from .errors import ResidualSSLError as ResidualSSLError
from .losses import selected_cross_entropy as selected_cross_entropy
from .perturbations.trusted_mask import TrustedMask as TrustedMask
from .selection import ConvexSelector as ConvexSelector
from .selection import FixedThreshold as FixedThreshold
from .selection import Selection as Selection
from .selection import Selector as Selector
from .selection import solve_partition as solve_partition
from .selection.features import Features as Features
from .selection.features import prediction_features as prediction_features
from .task import Task as Task

__version__: str

__all__ = [
    "Algorithm",
    "Callbacks",
    "ConvexSelector",
    "EMATeacher",
    "Features",
    "FixedThreshold",
    "LabelledKFold",
    "ResidualSSLError",
    "RunResult",
    "Selection",
    "Selector",
    "SelfTrainingClassifier",
    "Task",
    "TrustedMask",
    "__version__",
    "allow",
    "compare_selectors",
    "compose",
    "evaluate",
    "load",
    "predict",
    "prediction_features",
    "selected_cross_entropy",
    "solve_partition",
    "train",
]
