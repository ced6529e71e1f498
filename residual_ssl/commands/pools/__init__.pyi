from .label import LabelledPoolReport as LabelledPoolReport
from .label import label as label
from .labeller import PoolLabeller as PoolLabeller

__all__ = [
    "LabelledPoolReport",
    "PoolLabeller",
    "label",
]
