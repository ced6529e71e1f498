from .backbone import create_backbone as create_backbone
from .backbone import create_classifier as create_classifier
from .backbone import create_transformer as create_transformer
from .classification_model import ClassificationModel as ClassificationModel
from .convolutional_head import ConvolutionalHead as ConvolutionalHead
from .deeplabv3plus import DeepLabV3Plus as DeepLabV3Plus
from .dpt import DPT as DPT
from .encoder_decoder import EncoderDecoder as EncoderDecoder
from .encoder_decoder import FeaturePerturbation as FeaturePerturbation
from .mlp import MLP as MLP
from .segmentation_model import SegmentationModel as SegmentationModel
from .small.small_classifier import SmallClassifier as SmallClassifier
from .small.small_segmenter import SmallSegmenter as SmallSegmenter
from .small.unet3d import UNet3d as UNet3d
from .timm_classifier import TimmClassifier as TimmClassifier
from .weights import load_backbone_weights as load_backbone_weights
from .wide_resnet import WideResNet as WideResNet
from .wrapped.feature_difference import FeatureDifference as FeatureDifference
from .wrapped.logits_alone import LogitsAlone as LogitsAlone
from .wrapped.logits_alone import as_logits_network as as_logits_network
from .wrapped.logits_alone import built_network as built_network
from .wrapped.two_classes import TwoClassLogits as TwoClassLogits
from .wrapped.two_classes import TwoClassModel as TwoClassModel
from .wrapped.two_classes import two_class_logits as two_class_logits
from .wrapped.two_classes import two_class_network as two_class_network

__all__ = [
    "DPT",
    "MLP",
    "ClassificationModel",
    "ConvolutionalHead",
    "DeepLabV3Plus",
    "EncoderDecoder",
    "FeatureDifference",
    "FeaturePerturbation",
    "LogitsAlone",
    "SegmentationModel",
    "SmallClassifier",
    "SmallSegmenter",
    "TimmClassifier",
    "TwoClassLogits",
    "TwoClassModel",
    "UNet3d",
    "WideResNet",
    "as_logits_network",
    "built_network",
    "create_backbone",
    "create_classifier",
    "create_transformer",
    "load_backbone_weights",
    "two_class_logits",
    "two_class_network",
]
