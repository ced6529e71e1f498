from .compare import Comparison as Comparison
from .compare import Row as Row
from .compare import compare as compare
from .predictions import Predictions as Predictions
from .selectors import build_selectors as build_selectors
from .write import write_comparison as write_comparison

__all__ = [
    "Comparison",
    "Predictions",
    "Row",
    "build_selectors",
    "compare",
    "write_comparison",
]
