from .task import FeatureTask as FeatureTask

__all__ = [
    "FeatureTask",
]
