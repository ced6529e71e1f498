from .callbacks import Callbacks as Callbacks
from .evaluation import evaluate_model as evaluate_model
from .records.result import RunResult as RunResult
from .stages import stages_of as stages_of
from .stages import train as train

__all__ = [
    "Callbacks",
    "RunResult",
    "evaluate_model",
    "stages_of",
    "train",
]
