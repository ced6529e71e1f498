from .digit_scenes import DigitScenes as DigitScenes
from .frozen import FrozenSegmentationTask as FrozenSegmentationTask
from .frozen_maps import FrozenMaps as FrozenMaps
from .geometry import Placement as Placement
from .geometry import WeakGeometry as WeakGeometry
from .inference import Inference as Inference
from .rare_classes import RareClassSampling as RareClassSampling
from .task import SegmentationTask as SegmentationTask
from .task import intersection_over_union as intersection_over_union

__all__ = [
    "DigitScenes",
    "FrozenMaps",
    "FrozenSegmentationTask",
    "Inference",
    "Placement",
    "RareClassSampling",
    "SegmentationTask",
    "WeakGeometry",
    "intersection_over_union",
]
