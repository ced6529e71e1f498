"""Datasets: what their labels mean, which images are labelled, and how the files are read."""

from residual_ssl.data.folders import FolderSamples, ImageFolders
from residual_ssl.data.images import read_image, read_mask, resize_image, resize_mask
from residual_ssl.data.listing import IMAGE_SUFFIXES
from residual_ssl.data.samples import Sample, Samples, SegmentationSource
from residual_ssl.data.spec import DatasetSpec, default_palette
from residual_ssl.data.splits import ListEntry, check_disjoint, draw_labelled, read_list

__all__ = [
    "IMAGE_SUFFIXES",
    "DatasetSpec",
    "FolderSamples",
    "ImageFolders",
    "ListEntry",
    "Sample",
    "Samples",
    "SegmentationSource",
    "check_disjoint",
    "default_palette",
    "draw_labelled",
    "read_image",
    "read_list",
    "read_mask",
    "resize_image",
    "resize_mask",
]
