"""Models of segmentation and classification, each with a branch of perturbed features."""

from residual_ssl.models.backbone import create_backbone, create_classifier, create_transformer
from residual_ssl.models.classification_model import ClassificationModel
from residual_ssl.models.deeplabv3plus import DeepLabV3Plus
from residual_ssl.models.dpt import DPT
from residual_ssl.models.mlp import MLP
from residual_ssl.models.segmentation_model import FeaturePerturbation, SegmentationModel
from residual_ssl.models.small_classifier import SmallClassifier
from residual_ssl.models.small_segmenter import SmallSegmenter
from residual_ssl.models.timm_classifier import TimmClassifier
from residual_ssl.models.weights import load_backbone_weights
from residual_ssl.models.wide_resnet import WideResNet

__all__ = [
    "DPT",
    "MLP",
    "ClassificationModel",
    "DeepLabV3Plus",
    "FeaturePerturbation",
    "SegmentationModel",
    "SmallClassifier",
    "SmallSegmenter",
    "TimmClassifier",
    "WideResNet",
    "create_backbone",
    "create_classifier",
    "create_transformer",
    "load_backbone_weights",
]
