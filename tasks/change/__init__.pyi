from .digit_changes import DigitChanges as DigitChanges
from .pair_folders import PairFolders as PairFolders
from .task import ChangeTask as ChangeTask
from .task import EachImage as EachImage

__all__ = [
    "ChangeTask",
    "DigitChanges",
    "EachImage",
    "PairFolders",
]
