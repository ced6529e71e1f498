from .backbone import create_backbone as create_backbone
from .backbone import create_classifier as create_classifier
from .backbone import create_transformer as create_transformer
from .classification_model import ClassificationModel as ClassificationModel
from .convolutional_head import ConvolutionalHead as ConvolutionalHead
from .deeplabv3plus import DeepLabV3Plus as DeepLabV3Plus
from .dpt import DPT as DPT
from .encoder_decoder import EncoderDecoder as EncoderDecoder
from .encoder_decoder import FeaturePerturbation as FeaturePerturbation
from .foreign.factory import network_of as network_of
from .foreign.huggingface import HuggingFaceNetwork as HuggingFaceNetwork
from .foreign.input_channels import adapt_channels as adapt_channels
from .foreign.logits_alone import LogitsAlone as LogitsAlone
from .foreign.logits_alone import as_logits_network as as_logits_network
from .foreign.logits_alone import built_network as built_network
from .foreign.logits_alone import settled_model as settled_model
from .foreign.low_rank import low_rank_adapted as low_rank_adapted
from .foreign.smp import SMPSegmenter as SMPSegmenter
from .mlp import MLP as MLP
from .segmentation_model import SegmentationModel as SegmentationModel
from .small_classifier import SmallClassifier as SmallClassifier
from .small_segmenter import SmallSegmenter as SmallSegmenter
from .timm_classifier import TimmClassifier as TimmClassifier
from .weights import load_backbone_weights as load_backbone_weights
from .wide_resnet import WideResNet as WideResNet

__all__ = [
    "DPT",
    "MLP",
    "ClassificationModel",
    "ConvolutionalHead",
    "DeepLabV3Plus",
    "EncoderDecoder",
    "FeaturePerturbation",
    "HuggingFaceNetwork",
    "LogitsAlone",
    "SMPSegmenter",
    "SegmentationModel",
    "SmallClassifier",
    "SmallSegmenter",
    "TimmClassifier",
    "WideResNet",
    "adapt_channels",
    "as_logits_network",
    "built_network",
    "create_backbone",
    "create_classifier",
    "create_transformer",
    "load_backbone_weights",
    "low_rank_adapted",
    "network_of",
    "settled_model",
]
