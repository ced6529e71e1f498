"""How good selections and rankings by reliability are, measured where labels are known."""

from residual_ssl.diagnostics.binned import RankingCurve
from residual_ssl.diagnostics.quality import selection_quality
from residual_ssl.diagnostics.ranking import aurc, risk_coverage
from residual_ssl.diagnostics.streaming import RiskCoverage, SelectionDiagnostics, SelectionFigures

__all__ = [
    "RankingCurve",
    "RiskCoverage",
    "SelectionDiagnostics",
    "SelectionFigures",
    "aurc",
    "risk_coverage",
    "selection_quality",
]
