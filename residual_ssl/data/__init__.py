"""Datasets: what their labels mean, which images are labelled, and how the files are read."""

from residual_ssl.data.class_counts import LongTail
from residual_ssl.data.class_folders import ClassFolders
from residual_ssl.data.classification_split import ClassificationSplit
from residual_ssl.data.classified import (
    ClassificationSource,
    ClassifiedSample,
    ClassifiedSamples,
    ClassifiedSubset,
    ImageArrays,
    JoinedSamples,
    class_ids,
)
from residual_ssl.data.covering import draw_covering
from residual_ssl.data.feature_rows import FeatureArrays, RawRows, feature_split
from residual_ssl.data.folder_samples import FolderSamples
from residual_ssl.data.folders import ImageFolders
from residual_ssl.data.handwritten_digits import HandwrittenDigits
from residual_ssl.data.hub import HuggingFaceSegmentation
from residual_ssl.data.hub_images import HuggingFaceImages
from residual_ssl.data.images import read_image, read_mask, resize_image, resize_mask
from residual_ssl.data.listing import IMAGE_SUFFIXES
from residual_ssl.data.make_split import SplitReport, make_split
from residual_ssl.data.read_rows import loaded_rows, make_texts, table_rows
from residual_ssl.data.samples import OUTSIDE, ListedSamples, Sample, Samples, SegmentationSource
from residual_ssl.data.spec import DatasetSpec, default_palette
from residual_ssl.data.splits import ListEntry, check_disjoint, draw_labelled, read_list
from residual_ssl.data.torchvision_images import TorchvisionImages

__all__ = [
    "IMAGE_SUFFIXES",
    "OUTSIDE",
    "ClassFolders",
    "ClassificationSource",
    "ClassificationSplit",
    "ClassifiedSample",
    "ClassifiedSamples",
    "ClassifiedSubset",
    "DatasetSpec",
    "FeatureArrays",
    "FolderSamples",
    "HandwrittenDigits",
    "HuggingFaceImages",
    "HuggingFaceSegmentation",
    "ImageArrays",
    "ImageFolders",
    "JoinedSamples",
    "ListEntry",
    "ListedSamples",
    "LongTail",
    "RawRows",
    "Sample",
    "Samples",
    "SegmentationSource",
    "SplitReport",
    "TorchvisionImages",
    "check_disjoint",
    "class_ids",
    "default_palette",
    "draw_covering",
    "draw_labelled",
    "feature_split",
    "loaded_rows",
    "make_split",
    "make_texts",
    "read_image",
    "read_list",
    "read_mask",
    "resize_image",
    "resize_mask",
    "table_rows",
]
