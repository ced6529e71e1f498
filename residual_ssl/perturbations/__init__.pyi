from .bidirectional_paste import BidirectionalPaste as BidirectionalPaste
from .classmix import ClassMix as ClassMix
from .complementary_dropout import ComplementaryDropout as ComplementaryDropout
from .cutmix import CutMix as CutMix
from .feature_dropout import FeatureDropout as FeatureDropout
from .feature_noise import FeatureNoise as FeatureNoise
from .intensity import Intensity as Intensity
from .photometric import Photometric as Photometric
from .rand_augment import RandAugment as RandAugment
from .trusted_mask import TrustedMask as TrustedMask

__all__ = [
    "BidirectionalPaste",
    "ClassMix",
    "ComplementaryDropout",
    "CutMix",
    "FeatureDropout",
    "FeatureNoise",
    "Intensity",
    "Photometric",
    "RandAugment",
    "TrustedMask",
]
