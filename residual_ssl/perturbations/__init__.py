"""Perturbations of inputs and features; :class:`residual_ssl.TrustedMask` is the one that needs a selection."""

from residual_ssl.perturbations.classmix import ClassMix
from residual_ssl.perturbations.complementary_dropout import ComplementaryDropout
from residual_ssl.perturbations.cutmix import CutMix
from residual_ssl.perturbations.feature_dropout import FeatureDropout
from residual_ssl.perturbations.feature_noise import FeatureNoise
from residual_ssl.perturbations.photometric import Photometric
from residual_ssl.perturbations.rand_augment import RandAugment

__all__ = [
    "ClassMix",
    "ComplementaryDropout",
    "CutMix",
    "FeatureDropout",
    "FeatureNoise",
    "Photometric",
    "RandAugment",
]
