"""Domain adaptation: the labels of one domain, the images of another, in the place of a single data set."""

from residual_ssl.tasks.adaptation.classified_domain import ClassifiedDomain
from residual_ssl.tasks.adaptation.domains import DomainPair

__all__ = ["ClassifiedDomain", "DomainPair"]
