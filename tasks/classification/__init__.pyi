from .geometry import FlipAndCrop as FlipAndCrop
from .multi_label import MultiLabel as MultiLabel
from .multi_label import MultiLabelTask as MultiLabelTask
from .task import ClassificationTask as ClassificationTask

__all__ = [
    "ClassificationTask",
    "FlipAndCrop",
    "MultiLabel",
    "MultiLabelTask",
]
