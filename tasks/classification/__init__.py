"""Classification of images: the task adapter, its weak augmentation, its figures."""

from residual_ssl.tasks.classification.geometry import FlipAndCrop
from residual_ssl.tasks.classification.task import ClassificationTask

__all__ = ["ClassificationTask", "FlipAndCrop"]
