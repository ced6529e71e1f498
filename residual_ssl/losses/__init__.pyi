from .class_confusion import MinimumClassConfusion as MinimumClassConfusion
from .dice import dice_loss as dice_loss
from .points import OHEMCrossEntropy as OHEMCrossEntropy
from .points import labelled_cross_entropy as labelled_cross_entropy
from .points import ohem_cross_entropy as ohem_cross_entropy
from .points import selected_cross_entropy as selected_cross_entropy
from .points import selected_squared_error as selected_squared_error
from .trimmed import TrimmedCrossEntropy as TrimmedCrossEntropy
from .trimmed import trimmed_cross_entropy as trimmed_cross_entropy
from .upsampled import upsampled_selected_cross_entropy as upsampled_selected_cross_entropy

__all__ = [
    "MinimumClassConfusion",
    "OHEMCrossEntropy",
    "TrimmedCrossEntropy",
    "dice_loss",
    "labelled_cross_entropy",
    "ohem_cross_entropy",
    "selected_cross_entropy",
    "selected_squared_error",
    "trimmed_cross_entropy",
    "upsampled_selected_cross_entropy",
]
