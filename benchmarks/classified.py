"""CIFAR-10, MNIST and PACS from Parquet files (columns ``image`` and ``label``), as overrides of the classification."""

from __future__ import annotations

from pathlib import Path

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
#: The six animals that open-set benchmarks take as known; the four vehicles are the strangers.
ANIMALS = ("bird", "cat", "deer", "dog", "frog", "horse")
#: Handwritten 0 to 4 are known; 5 to 9 are the strangers.
LOW_DIGITS = ("'0'", "'1'", "'2'", "'3'", "'4'")
PACS = ("dog", "elephant", "giraffe", "guitar", "horse", "house", "person")
#: A small network on images of 32 pixels; images of other classes are strangers in the pool.
SMALL = (
    *("++dataset.source.strangers=unlabelled", "++model.widths=[16,32,64]", "dataset.weak.size=32"),
    *("dataset.mask_block=8", "dataset.strong.only=null", "dataset.strong.cutout=0.5"),
    *("optimizer.lr=0.003", "evaluation_batch=500"),
)


def cifar10(root: str | Path, labelled: int, *, classes: tuple[str, ...] = CIFAR10) -> list[str]:
    """A small network on the images of ``ROOT/train.parquet``, validated on the first 3,000 of ``ROOT/test.parquet``.

    Images of other classes are strangers: they are in the unlabelled pool, and not in validation.
    """
    return [
        *_data(classes, ("train", Path(root) / "train.parquet"), ("test[:3000]", Path(root) / "test.parquet")),
        *(f"dataset.labelled={labelled}", *SMALL),
        *("dataset.weak.padding=4", "dataset.weak.flip=0.5"),
        *("dataset.mean=[0.491,0.482,0.447]", "dataset.std=[0.247,0.244,0.262]"),
    ]


def mnist(root: str | Path, labelled: int) -> list[str]:
    """The same network on the low digits of ``ROOT/train.parquet``, validated on ``ROOT/test.parquet``."""
    return [
        *_data(LOW_DIGITS, ("train", Path(root) / "train.parquet"), ("test", Path(root) / "test.parquet")),
        *(f"dataset.labelled={labelled}", *SMALL),
        *("dataset.weak.padding=2", "dataset.weak.flip=0.0", "dataset.mean=[0.5,0.5,0.5]", "dataset.std=[0.5,0.5,0.5]"),
    ]


def pacs(root: str | Path, labelled: int, weights: str) -> list[str]:
    """An ImageNet MobileNetV2 on photographs; the other photographs are the pool, and sketches are for validation."""
    return [
        *_data(PACS, ("photo", Path(root) / "photo.parquet"), ("sketch", Path(root) / "sketch.parquet")),
        *(f"dataset.labelled={labelled}", "dataset.weak.size=64", "dataset.weak.padding=8", "dataset.weak.flip=0.5"),
        *("model=timm_classifier", "model.backbone=mobilenetv2_100", f"model.weights={weights}"),
        *("dataset.mean=[0.485,0.456,0.406]", "dataset.std=[0.229,0.224,0.225]"),
        *("optimizer.lr=0.0005", "evaluation_batch=100"),
    ]


def _data(classes: tuple[str, ...], train: tuple[str, Path], validation: tuple[str, Path]) -> list[str]:
    """The embedded digits' configuration with other data in it."""
    sides = [
        f"dataset.source.{side}={{_target_:residual_ssl.data.HuggingFaceImages,path:parquet,split:'{split}',"
        f"classes:${{dataset.classes}},data_files:{{{split.partition('[')[0]}:'{path}'}}}}"
        for side, (split, path) in (("train", train), ("validation", validation))
    ]
    # The keys of two mappings join: data_files has to be said to be new.
    sides = [side.replace("dataset.source", "++dataset.source") for side in sides]
    return ["experiment=digits_classification", f"dataset.classes=[{','.join(classes)}]", *sides]
