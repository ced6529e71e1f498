"""How good selections and rankings by reliability are, where labels are known, and predictions where none are."""

from residual_ssl.diagnostics.binned import RankingCurve
from residual_ssl.diagnostics.quality import selection_quality
from residual_ssl.diagnostics.ranking import aurc, risk_coverage
from residual_ssl.diagnostics.streaming import RiskCoverage, SelectionDiagnostics, SelectionFigures
from residual_ssl.diagnostics.unsupervised import UnsupervisedCriteria, soft_neighborhood_density

__all__ = [
    "RankingCurve",
    "RiskCoverage",
    "SelectionDiagnostics",
    "SelectionFigures",
    "UnsupervisedCriteria",
    "aurc",
    "risk_coverage",
    "selection_quality",
    "soft_neighborhood_density",
]
