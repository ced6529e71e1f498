from .geometry import FlipAndCrop as FlipAndCrop
from .task import ClassificationTask as ClassificationTask

__all__ = [
    "ClassificationTask",
    "FlipAndCrop",
]
