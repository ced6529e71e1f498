from .channels import read_channels as read_channels
from .classification.class_folders import ClassFolders as ClassFolders
from .classification.class_ids import class_ids as class_ids
from .classification.classification_split import ClassificationSplit as ClassificationSplit
from .classification.classified import ClassificationSource as ClassificationSource
from .classification.classified import ClassifiedSample as ClassifiedSample
from .classification.classified import ClassifiedSamples as ClassifiedSamples
from .classification.classified import ClassifiedSubset as ClassifiedSubset
from .classification.classified import ImageArrays as ImageArrays
from .classification.classified import JoinedSamples as JoinedSamples
from .classification.handwritten_digits import HandwrittenDigits as HandwrittenDigits
from .classification.hub_images import HuggingFaceImages as HuggingFaceImages
from .classification.multi_label import LabelTable as LabelTable
from .classification.multi_label import MultiLabelSample as MultiLabelSample
from .classification.multi_label import MultiLabelSplit as MultiLabelSplit
from .classification.multi_label import PresentClasses as PresentClasses
from .classification.poisoned import GridTrigger as GridTrigger
from .classification.poisoned import PoisonedPool as PoisonedPool
from .classification.torchvision_images import TorchvisionImages as TorchvisionImages
from .classification.unlabelled_folder import UnlabelledFolder as UnlabelledFolder
from .detection.box_samples import BoxSample as BoxSample
from .detection.box_samples import BoxSamples as BoxSamples
from .detection.box_samples import DetectionSource as DetectionSource
from .detection.coco_boxes import CocoBoxes as CocoBoxes
from .images import read_image as read_image
from .images import read_mask as read_mask
from .images import resize_image as resize_image
from .images import resize_mask as resize_mask
from .pools.mask_files import WithStoredMasks as WithStoredMasks
from .pools.sources import LabelledPool as LabelledPool
from .pools.sources import WithLabelledPool as WithLabelledPool
from .reading import ImageReading as ImageReading
from .regions import SLIC as SLIC
from .regions import RegionFiles as RegionFiles
from .regions import merged_masks as merged_masks
from .samples import ListedSamples as ListedSamples
from .samples import Sample as Sample
from .samples import Samples as Samples
from .samples import SegmentationSource as SegmentationSource
from .samples import StoredSample as StoredSample
from .segmentation.coco_masks import CocoMasks as CocoMasks
from .segmentation.coco_masks import write_coco_masks as write_coco_masks
from .segmentation.folder_samples import FolderSamples as FolderSamples
from .segmentation.folders import ImageFolders as ImageFolders
from .segmentation.hub import HuggingFaceSegmentation as HuggingFaceSegmentation
from .segmentation.listing import IMAGE_SUFFIXES as IMAGE_SUFFIXES
from .segmentation.mask_colours import MaskColours as MaskColours
from .spec import OUTSIDE as OUTSIDE
from .spec import DatasetSpec as DatasetSpec
from .spec import default_palette as default_palette
from .splits.class_counts import LongTail as LongTail
from .splits.covering import draw_covering as draw_covering
from .splits.lists import ListEntry as ListEntry
from .splits.lists import check_disjoint as check_disjoint
from .splits.lists import draw_labelled as draw_labelled
from .splits.lists import read_list as read_list
from .splits.make_split import SplitReport as SplitReport
from .splits.make_split import make_split as make_split
from .tables.feature_rows import FeatureArrays as FeatureArrays
from .tables.feature_rows import RawRows as RawRows
from .tables.feature_rows import feature_split as feature_split
from .tables.read_rows import loaded_rows as loaded_rows
from .tables.read_rows import make_texts as make_texts
from .tables.read_rows import table_rows as table_rows
from .tables.value_rows import Bins as Bins
from .tables.value_rows import ValueSplit as ValueSplit
from .tables.value_rows import value_rows as value_rows

__all__ = [
    "IMAGE_SUFFIXES",
    "OUTSIDE",
    "SLIC",
    "Bins",
    "BoxSample",
    "BoxSamples",
    "ClassFolders",
    "ClassificationSource",
    "ClassificationSplit",
    "ClassifiedSample",
    "ClassifiedSamples",
    "ClassifiedSubset",
    "CocoBoxes",
    "CocoMasks",
    "DatasetSpec",
    "DetectionSource",
    "FeatureArrays",
    "FolderSamples",
    "GridTrigger",
    "HandwrittenDigits",
    "HuggingFaceImages",
    "HuggingFaceSegmentation",
    "ImageArrays",
    "ImageFolders",
    "ImageReading",
    "JoinedSamples",
    "LabelTable",
    "LabelledPool",
    "ListEntry",
    "ListedSamples",
    "LongTail",
    "MaskColours",
    "MultiLabelSample",
    "MultiLabelSplit",
    "PoisonedPool",
    "PresentClasses",
    "RawRows",
    "RegionFiles",
    "Sample",
    "Samples",
    "SegmentationSource",
    "SplitReport",
    "StoredSample",
    "TorchvisionImages",
    "UnlabelledFolder",
    "ValueSplit",
    "WithLabelledPool",
    "WithStoredMasks",
    "check_disjoint",
    "class_ids",
    "default_palette",
    "draw_covering",
    "draw_labelled",
    "feature_split",
    "loaded_rows",
    "make_split",
    "make_texts",
    "merged_masks",
    "read_channels",
    "read_image",
    "read_list",
    "read_mask",
    "resize_image",
    "resize_mask",
    "table_rows",
    "value_rows",
    "write_coco_masks",
]
