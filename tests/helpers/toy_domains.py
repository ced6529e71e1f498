"""A classification of vectors in two domains: the target is the source, shifted."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset
from torchmetrics.classification import MulticlassAccuracy

from residual_ssl.diagnostics.unsupervised import criteria_apart, with_criteria
from residual_ssl.models import ClassificationModel
from residual_ssl.task import Batch, Task


class Vectors(Dataset[Batch]):
    def __init__(self, count: int, shift: float, seed: int, targets: bool) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.label = torch.arange(count) % 3
        centres = 3 * torch.eye(3, 6)
        self.points = centres[self.label] + 0.5 * torch.randn(count, 6, generator=generator)
        self.points[:, 5] += shift
        self.targets = targets

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: Any) -> Batch:
        place = index[0] if isinstance(index, tuple) else index
        sample = {"input": self.points[place]}
        return sample | {"target": self.label[place]} if self.targets else sample


class VectorClassifier(ClassificationModel):
    def __init__(self) -> None:
        super().__init__(nn.Sequential(nn.Linear(6, 8), nn.Tanh()), feature_dim=8, num_classes=3)

    def encode(self, x: Tensor) -> list[Tensor]:
        return [self.encoder(x)]


class ShiftedVectors(Task):
    """Three classes; views are the vectors themselves."""

    class_names = ("a", "b", "c")
    ignore_index = 255
    main_metric = "accuracy"

    def labelled(self, seed: int) -> Dataset[Batch]:
        return Vectors(24, 0.0, 1, targets=True)

    def unlabelled(self, seed: int) -> Dataset[Batch]:
        return Vectors(24, 4.0, 2, targets=False)

    def validation(self) -> Dataset[Batch]:
        return Vectors(13, 4.0, 3, targets=True)  # shares of two processes differ

    def build_model(self) -> nn.Module:
        return VectorClassifier()

    def view(self, inputs: Tensor, kind: str) -> Tensor:
        return inputs

    def metric(self) -> Any:
        return with_criteria(MulticlassAccuracy(3, average="micro"), 3, density=True)

    def summary(self, computed: Any) -> dict[str, float]:
        accuracy, criteria = criteria_apart(computed)
        return {"accuracy": 100 * accuracy.item()} | criteria


def toy_config(run_dir: Path, algorithm: dict[str, Any], **settings: Any) -> dict[str, Any]:
    """Six steps of an algorithm on the shifted vectors, evaluated every three."""
    return {
        "task": {"_target_": "helpers.toy_domains.ShiftedVectors"},
        "algorithm": algorithm,
        "optimizer": {"_target_": "torch.optim.SGD", "lr": 0.1},
        "run_dir": str(run_dir),
        "device": "cpu",
        "steps": 6,
        "labelled_batch": 8,
        "unlabelled_batch": 8,
        "evaluate_every": 3,
        "log_every": 1,
        **settings,
    }
