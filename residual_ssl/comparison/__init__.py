"""Selection rules compared on saved predictions: figures, a table, a plot."""

from residual_ssl.comparison.compare import Comparison, Row, compare
from residual_ssl.comparison.predictions import Predictions
from residual_ssl.comparison.rules import build_rules
from residual_ssl.comparison.write import write_comparison

__all__ = ["Comparison", "Predictions", "Row", "build_rules", "compare", "write_comparison"]
