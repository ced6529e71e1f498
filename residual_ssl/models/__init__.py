"""Segmentation models: images in, logits of the same size out, with a branch of perturbed features."""

from residual_ssl.models.backbone import create_backbone, load_backbone_weights
from residual_ssl.models.deeplabv3plus import DeepLabV3Plus
from residual_ssl.models.segmentation_model import FeaturePerturbation, SegmentationModel
from residual_ssl.models.small_segmenter import SmallSegmenter

__all__ = [
    "DeepLabV3Plus",
    "FeaturePerturbation",
    "SegmentationModel",
    "SmallSegmenter",
    "create_backbone",
    "load_backbone_weights",
]
