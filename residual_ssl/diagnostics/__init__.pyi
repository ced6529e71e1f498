from .binned import RankingCurve as RankingCurve
from .quality import selection_quality as selection_quality
from .ranking import augrc as augrc
from .ranking import aurc as aurc
from .ranking import auroc as auroc
from .ranking import coverage_at_risk as coverage_at_risk
from .ranking import risk_coverage as risk_coverage
from .streaming import RiskCoverage as RiskCoverage
from .streaming import SelectionDiagnostics as SelectionDiagnostics
from .streaming import SelectionMetrics as SelectionMetrics
from .unsupervised import UnsupervisedCriteria as UnsupervisedCriteria
from .unsupervised import soft_neighborhood_density as soft_neighborhood_density

__all__ = [
    "RankingCurve",
    "RiskCoverage",
    "SelectionDiagnostics",
    "SelectionMetrics",
    "UnsupervisedCriteria",
    "augrc",
    "aurc",
    "auroc",
    "coverage_at_risk",
    "risk_coverage",
    "selection_quality",
    "soft_neighborhood_density",
]
