from .classified_domain import ClassifiedDomain as ClassifiedDomain
from .domains import DomainPair as DomainPair

__all__ = [
    "ClassifiedDomain",
    "DomainPair",
]
