from .frozen import FrozenBackbone as FrozenBackbone
from .frozen import FrozenFeatures as FrozenFeatures
from .frozen import FrozenFeatureTask as FrozenFeatureTask
from .task import FeatureTask as FeatureTask

__all__ = [
    "FeatureTask",
    "FrozenBackbone",
    "FrozenFeatureTask",
    "FrozenFeatures",
]
