"""Keypoints by heat maps: a task for residual_ssl."""

from residual_ssl_keypoints.coco import CocoKeypoints
from residual_ssl_keypoints.data import DigitExtremes, KeypointSample
from residual_ssl_keypoints.metric import KeypointMetric, located
from residual_ssl_keypoints.task import KeypointTask

__all__ = ["CocoKeypoints", "DigitExtremes", "KeypointMetric", "KeypointSample", "KeypointTask", "located"]
