from .average_precision import AveragePrecision as AveragePrecision
from .digit_boxes import DigitBoxes as DigitBoxes
from .fcos import FCOS as FCOS
from .locations import Locations as Locations
from .task import DetectionTask as DetectionTask

__all__ = [
    "FCOS",
    "AveragePrecision",
    "DetectionTask",
    "DigitBoxes",
    "Locations",
]
