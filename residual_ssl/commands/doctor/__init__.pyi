from .dataset import Examination as Examination
from .dataset import examine as examine
from .findings import Finding as Finding
from .installation import diagnose as diagnose
from .write import examination_text as examination_text
from .write import examination_values as examination_values
from .write import write_examination as write_examination

__all__ = [
    "Examination",
    "Finding",
    "diagnose",
    "examination_text",
    "examination_values",
    "examine",
    "write_examination",
]
