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
from .wrapped.factory import network_of as network_of
from .wrapped.feature_difference import FeatureDifference as FeatureDifference
from .wrapped.gaussian_bins import GaussianBins as GaussianBins
from .wrapped.gaussian_bins import gaussian_logits as gaussian_logits
from .wrapped.huggingface import HuggingFaceNetwork as HuggingFaceNetwork
from .wrapped.input_channels import adapt_channels as adapt_channels
from .wrapped.logits_alone import LogitsAlone as LogitsAlone
from .wrapped.logits_alone import as_logits_network as as_logits_network
from .wrapped.logits_alone import built_network as built_network
from .wrapped.logits_alone import settled_model as settled_model
from .wrapped.low_rank import low_rank_adapted as low_rank_adapted
from .wrapped.smp import SMPSegmenter as SMPSegmenter
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
    "GaussianBins",
    "HuggingFaceNetwork",
    "LogitsAlone",
    "SMPSegmenter",
    "SegmentationModel",
    "SmallClassifier",
    "SmallSegmenter",
    "TimmClassifier",
    "TwoClassLogits",
    "TwoClassModel",
    "UNet3d",
    "WideResNet",
    "adapt_channels",
    "as_logits_network",
    "built_network",
    "create_backbone",
    "create_classifier",
    "create_transformer",
    "gaussian_logits",
    "load_backbone_weights",
    "low_rank_adapted",
    "network_of",
    "settled_model",
    "two_class_logits",
    "two_class_network",
]
