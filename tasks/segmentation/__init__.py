"""Semantic segmentation: the task adapter, its embedded data, its geometry."""

from residual_ssl.tasks.segmentation.digit_scenes import DigitScenes
from residual_ssl.tasks.segmentation.geometry import WeakGeometry
from residual_ssl.tasks.segmentation.inference import Inference
from residual_ssl.tasks.segmentation.rare_classes import RareClassSampling
from residual_ssl.tasks.segmentation.task import SegmentationTask, intersection_over_union

__all__ = [
    "DigitScenes",
    "Inference",
    "RareClassSampling",
    "SegmentationTask",
    "WeakGeometry",
    "intersection_over_union",
]
