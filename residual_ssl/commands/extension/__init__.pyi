from .new import KINDS as KINDS
from .new import new_extension as new_extension

__all__ = ["KINDS", "new_extension"]
