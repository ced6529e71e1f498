"""Each layout of classification in two domains, from its files to a step, figures and a chosen checkpoint."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from residual_ssl import compose, evaluate, train
from residual_ssl.engine.records.run_log import read_log

SMALL = [
    *("device=cpu", "workers=0", "warmup_steps=0", "labelled_batch=4", "unlabelled_batch=4", "log_every=1"),
    *("dataset.weak.size=16", "dataset.weak.padding=2", "dataset.mask_block=8", "model=small_classifier"),
]
COUNT = 6  # images of a domain


def picture(rng: np.random.Generator, grey: bool = False) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (20, 24) if grey else (20, 24, 3), dtype=np.uint8))


def classes_of(experiment: str) -> list[str]:
    names: list[str] = compose([f"experiment={experiment}", "dataset.root=/nowhere"])["task"]["classes"]
    return names


def parquet(path: Path, names: list[str], grey: bool = False) -> None:
    rng = np.random.default_rng(len(str(path)))
    cells = []
    for _ in range(COUNT):
        file = io.BytesIO()
        picture(rng, grey).save(file, "PNG")
        cells.append({"bytes": file.getvalue(), "path": "image.png"})
    label = {"names": names, "_type": "ClassLabel"}
    info = {"info": {"features": {"image": {"_type": "Image"}, "label": label}}}
    table = pa.table({"image": cells, "label": [i % len(names) for i in range(COUNT)]})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps(info)}), path)


def folders(place: Path, names: list[str]) -> list[str]:
    """An image of each class, at least ``COUNT``; their paths below the parent of the domain."""
    rng = np.random.default_rng(len(str(place)))
    for name in names:
        (place / name).mkdir(parents=True)
        picture(rng).save(place / name / "frame_0001.jpg")
    return [f"{place.name}/{name}/frame_0001.jpg" for name in names]


def pacs(root: Path) -> None:
    for domain in ("photo", "cartoon"):
        parquet(root / f"{domain}.parquet", classes_of("pacs"))


def mnist_to_mnist_m(root: Path) -> None:
    names = classes_of("mnist_to_mnist_m")
    parquet(root / "mnist/train.parquet", names, grey=True)
    parquet(root / "mnist_m/train.parquet", names)
    parquet(root / "mnist_m/test.parquet", names)


def office31(root: Path) -> None:
    for domain in ("amazon", "webcam"):
        folders(root / domain / "images", classes_of("office31"))


def office_home(root: Path) -> None:
    for domain in ("Art", "Real World"):
        folders(root / domain, classes_of("office_home"))


def visda(root: Path) -> None:
    for domain in ("train", "validation"):
        folders(root / domain, classes_of("visda"))


def domainnet(root: Path) -> None:
    for domain in ("real", "sketch"):
        names = folders(root / domain, classes_of("domainnet"))
        for subset in ("train", "test"):
            lines = [f"{name} {place}" for place, name in enumerate(names)]
            (root / f"{domain}_{subset}.txt").write_text("\n".join(lines) + "\n")


LAYOUTS: list[tuple[Callable[[Path], None], list[str], int, int]] = [
    (pacs, ["source=photo", "target=cartoon"], 7, COUNT),
    (mnist_to_mnist_m, [], 10, COUNT),
    (office31, [], 31, 31),
    (office_home, ["source=Art", "target='Real World'"], 65, 65),
    (visda, [], 12, 12),
    (domainnet, [], 345, 345),
]


@pytest.mark.parametrize(
    ("make", "pair", "classes", "count"), LAYOUTS, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_step_from_the_files_of_each_layout(
    make: Callable[[Path], None], pair: list[str], classes: int, count: int, tmp_path: Path
) -> None:
    make(tmp_path)
    name = make.__name__
    assert len(classes_of(name)) == classes
    overrides = [f"experiment={name}", *pair, f"dataset.root={tmp_path}", "algorithm=csl", *SMALL, "steps=1"]
    result = train(compose([*overrides, f"run_dir={tmp_path / 'run'}"]))
    assert result.effective["samples"] == {"labelled": count, "unlabelled": count, "validation": count}
    assert result.effective["chosen_by"] == "unsupervised_infomax"
    assert 0 <= result.last["accuracy"] <= 100
    assert 0 <= result.last["unsupervised_infomax"] <= 100
    assert 0 < result.last["unsupervised_density"] <= 100
    (row,) = (row for row in read_log(tmp_path / "run") if "train/loss" in row)
    assert {"train/coverage", "train/purity"} <= row.keys()
    assert evaluate(tmp_path / "run", device="cpu") == pytest.approx(result.last, abs=1e-4)


@pytest.mark.parametrize("algorithm", ["supervised", "dann", "cdan", "mcc", "fixmatch", "mic_classification"])
def test_every_baseline_takes_steps_on_a_pair(algorithm: str, tmp_path: Path) -> None:
    pacs(tmp_path)
    overrides = ["experiment=pacs", "target=cartoon", f"dataset.root={tmp_path}", f"algorithm={algorithm}", *SMALL]
    train(compose([*overrides, "steps=2", f"run_dir={tmp_path / 'run'}"]))
    losses = [row["train/loss"] for row in read_log(tmp_path / "run") if "train/loss" in row]
    assert len(losses) == 2
    assert all(np.isfinite(losses))


def test_a_run_is_named_after_its_pair() -> None:
    config = compose(["experiment=pacs", "source=cartoon", "dataset.root=/nowhere", "algorithm=dann"])
    assert config["run_dir"] == "runs/pacs/cartoon-sketch/dann-0"
    assert {"source", "target"}.isdisjoint(config)
