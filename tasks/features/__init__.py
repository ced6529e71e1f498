"""Classification of vectors of features, made of tables or texts: the task adapter."""

from residual_ssl.tasks.features.task import FeatureTask

__all__ = ["FeatureTask"]
