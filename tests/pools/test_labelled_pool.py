"""A labelled pool is training data: its labels with their weights, in any algorithm, in flat memory."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.pools import image_folder, pictures, rows_of
from helpers.tiny_runs import tiny_config, tiny_digits
from torch.utils.data import DataLoader, default_collate

from residual_ssl import compose, train
from residual_ssl.cli import main
from residual_ssl.commands.pools import label
from residual_ssl.config.components import build
from residual_ssl.data import DatasetSpec, LabelledPool, WithLabelledPool
from residual_ssl.data.pools import RowFile, quantised
from residual_ssl.data.pools.rows import LabelledRow
from residual_ssl.data.pools.stored import StoredRows
from residual_ssl.data.pools.summary import PoolSummary
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.runtime.files import write_json
from residual_ssl.tasks.segmentation import DigitScenes
from residual_ssl.tasks.segmentation.digit_scenes import digit_spec

CLASSES = list(digit_spec().classes)


def written_pool(folder: Path, root: Path, rows: list[LabelledRow], classes: list[str], per_shard: int) -> Path:
    """A labelled pool of given rows."""
    (folder / "labels").mkdir(parents=True)
    dense = rows[0].label.dim() > 0
    counts = []
    for number, first in enumerate(range(0, len(rows), per_shard)):
        some = rows[first : first + per_shard]
        path = folder / "labels" / f"{number:06d}.parquet"
        with path.open("wb") as file, RowFile(file, classes, dense=dense) as opened:
            for row in some:
                opened.add(row)
            opened.known = {"shard": number, "skipped": []}
        counts.append(len(some))
    told = {"classes": classes, "dense": dense, "root": str(root), "rows": counts}
    write_json(folder / "summary.json", told)
    return folder


def dense_rows(contents: list[bytes]) -> list[LabelledRow]:
    """Labels that depend on the place alone, so that what a crop shows tells what its label must be."""
    label = (torch.arange(20)[:, None] + torch.arange(24)) % 11
    rows = []
    for i, content in enumerate(contents):
        weight = torch.full((20, 24), i / len(contents))
        weight[:, :12] = 0.0
        rows.append(LabelledRow(f"{i}.png", content, label, quantised(weight), weight == 1, 0.5, 0.25))
    return rows


@pytest.fixture
def dense_pool(tmp_path: Path) -> Path:
    return written_pool(tmp_path / "dense", tmp_path, dense_rows(pictures(13)), CLASSES, 5)


@pytest.fixture
def class_pool(tmp_path: Path) -> Path:
    rows = [
        LabelledRow(f"{i}.png", content, torch.tensor(i % 10), torch.tensor(20 * (i % 4), dtype=torch.uint8), *_RATED)
        for i, content in enumerate(pictures(40, (8, 8)))
    ]
    return written_pool(tmp_path / "whole", tmp_path, rows, [str(i) for i in range(10)], 16)


_RATED: Any = (torch.tensor(False), 0.5, 0.1)


def test_rows_come_by_their_place_in_any_order_and_from_any_process(dense_pool: Path) -> None:
    rows = StoredRows(PoolSummary.read(dense_pool))
    expected = [row["id"] for row in rows_of(dense_pool)]
    assert len(rows) == 13
    for index in (12, 0, 5, 4, 11, 0):
        assert rows.row(index, ("id",))["id"] == expected[index]
    with pytest.raises(IndexError):
        rows.row(13, ("id",))
    assert pickle.loads(pickle.dumps(rows)).row(7, ("id",))["id"] == expected[7]
    source = LabelledPool(dense_pool, digit_spec())
    loader: Any = DataLoader(source.unlabelled, batch_size=None, num_workers=2, collate_fn=lambda sample: sample.name)
    assert list(loader) == expected


def test_labels_and_weights_move_with_the_image_under_augmentation(dense_pool: Path) -> None:
    config = compose(
        [
            "dataset=labelled_pool",
            f"dataset.root={dense_pool}",
            f"dataset.classes=[{','.join(CLASSES)}]",
            "dataset.geometry.crop=[30,30]",
            "dataset.geometry.scale=[1.0,1.0]",
            "model=small_segmenter",
        ]
    )
    task = build(config["task"], "task")
    data = task.unlabelled(0)
    flips = set()
    for draw in range(12):
        batch = data[9, draw]
        assert set(batch) == {"input", "valid", "stored"}
        label, weight = batch["stored"]
        valid = batch["valid"]
        assert not weight[~valid].any()
        seen = label[valid].view(20, 24).long()
        flipped = torch.equal(seen.flip(1), (torch.arange(20)[:, None] + torch.arange(24)) % 11)
        flips.add(flipped)
        assert flipped or torch.equal(seen, (torch.arange(20)[:, None] + torch.arange(24)) % 11)
        half = weight[valid].view(20, 24)
        half = half.flip(1) if flipped else half
        assert not half[:, :12].any()
        torch.testing.assert_close(half[:, 12:], torch.full((20, 12), round(255 * 9 / 13) / 255))
    assert flips == {True, False}
    # As hard labels, what weighs nothing is ignored.
    target = task.labelled(0)[9, 0]["target"]
    assert int((target != 255).sum()) == 20 * 12
    assert (task.targets("labelled")[1](0) == 255).all()  # the first image weighs 0 everywhere


def test_the_loss_of_stored_labels_is_their_weighted_cross_entropy(dense_pool: Path) -> None:
    source = WithLabelledPool(lambda: DigitScenes(4, 4, 2), dense_pool)
    assert [len(x) for x in (source.labelled, source.unlabelled, source.validation)] == [4, 13, 2]
    config = compose(
        [
            *("experiment=digits", "pool=labelled", f"dataset.pool={dense_pool}"),
            *("algorithm=fixmatch", "selector=stored", "mix=null", "task.strong=null"),
        ]
    )
    task, algorithm = build(config["task"], "task"), build(config["algorithm"], "algorithm")
    model = task.build_model().eval()
    algorithm.attach(model)
    unlabelled = default_collate([task.unlabelled(0)[i, i] for i in (3, 12)])
    labelled = default_collate([task.labelled(0)[i, i] for i in (0, 1)])
    with torch.no_grad():
        output = algorithm.step(model, task, labelled, unlabelled)
        logits = model(task.view(unlabelled["input"], "plain"))
    logs, valid, stored = (x.tolist() for x in (logits.log_softmax(1), unlabelled["valid"], unlabelled["stored"]))
    total, number = 0.0, 0
    for b, y, x in np.ndindex(2, 64, 64):
        if valid[b][y][x]:
            number += 1
            total -= stored[b][1][y][x] * logs[b][int(stored[b][0][y][x])][y][x]
    (term,) = [value for name, value in output.terms.items() if name != "labelled"]
    assert float(term) == pytest.approx(total / number, rel=1e-4)


def test_hard_labels_of_whole_images_are_those_of_some_weight(class_pool: Path) -> None:
    source = LabelledPool(class_pool, [str(i) for i in range(10)])
    assert len(source.unlabelled) == 40
    assert list(source.labelled.labels) == [i % 10 for i in range(40) if i % 4]
    assert [source.labelled[i].name for i in (0, 29)] == ["1.png", "39.png"]
    assert source.labelled[5].label == 7
    sample = source.unlabelled[7]
    assert (int(sample.pseudo_label), int(sample.weight)) == (7, 60)
    assert not any(label is not None for label in source.unlabelled.labels)


def test_the_doctor_takes_no_stored_label_for_a_true_one(
    dense_pool: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = ["dataset=labelled_pool", f"dataset.root={dense_pool}", f"dataset.classes=[{','.join(CLASSES)}]"]
    main(["doctor", *chosen, "--workers", "0"])
    assert "contradiction" not in capsys.readouterr().out


@pytest.mark.parametrize("algorithm", ["fixmatch", "csl"])
@pytest.mark.parametrize("selector", ["stored", "csl"])
def test_a_round_of_label_and_train(tmp_path: Path, algorithm: str, selector: str) -> None:
    train(tiny_digits(tmp_path / "first", "algorithm=supervised"))
    label(tmp_path / "first", "run:unlabelled", tmp_path / "pool", shard_size=500, device="cpu")
    pool = ["pool=labelled", f"dataset.pool={tmp_path / 'pool'}"]
    second = tiny_digits(tmp_path / "second", *pool, f"algorithm={algorithm}", f"selector={selector}")
    result = train(second)
    assert result.last["step"] == 2
    assert result.training["coverage"] > 0
    assert main(["evaluate", str(tmp_path / "second")]) == 0


def test_stored_labels_where_there_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"StoredLabels judges by labels that residual-ssl label stored.*pool=labelled"
    ):
        train(tiny_config(tmp_path / "run", "algorithm=fixmatch", "selector=stored"))


def test_a_pool_that_does_not_fit_is_refused_in_words(dense_pool: Path, class_pool: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="residual-ssl label writes it when all shards are done"):
        LabelledPool(tmp_path, CLASSES)
    with pytest.raises(ConfigError, match="has a label for a pixel, expected one for an image"):
        LabelledPool(dense_pool, CLASSES)
    with pytest.raises(ConfigError, match="has a label for an image, expected one for a pixel"):
        WithLabelledPool(lambda: DigitScenes(1, 1, 1), class_pool)
    with pytest.raises(ConfigError, match="was labelled with the classes background, zero"):
        LabelledPool(dense_pool, DatasetSpec(["ground", "building"]))
    (dense_pool / "labels" / "000001.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"000001.parquet: row 2 cannot be read.*label the pool again"):
        LabelledPool(dense_pool, digit_spec()).unlabelled[7]


def test_an_image_for_validation_in_the_pool_is_an_error(tmp_path: Path) -> None:
    scenes = DigitScenes(1, 1, 3)
    name = scenes.validation[1].name

    class Named:
        spec, labelled, unlabelled = scenes.spec, scenes.labelled, scenes.unlabelled

        class validation:  # noqa: N801
            @staticmethod
            def entry(index: int) -> Any:
                from residual_ssl.data import ListEntry

                return ListEntry(scenes.validation[index].name, None)

            def __len__(self) -> int:
                return 3

    Named.validation = Named.validation()  # type: ignore[assignment,misc]
    rows = [row._replace(id=name if i == 2 else row.id) for i, row in enumerate(dense_rows(pictures(4)))]
    pool = written_pool(tmp_path / "pool", tmp_path, rows, CLASSES, 4)
    with pytest.raises(DataError, match=f"1 images are both in the validation set and in the labelled pool: {name}"):
        WithLabelledPool(Named, pool)


def test_images_that_have_moved_are_found_below_another_root(tmp_path: Path) -> None:
    train(tiny_digits(tmp_path / "run", "algorithm=supervised"))
    image_folder(tmp_path / "old", pictures(3, (8, 8)))
    label(tmp_path / "run", tmp_path / "old", tmp_path / "pool", device="cpu")
    (tmp_path / "old").rename(tmp_path / "new")
    classes = [str(i) for i in range(10)]
    with pytest.raises(MissingDataError):
        LabelledPool(tmp_path / "pool", classes).unlabelled[0]
    moved = LabelledPool(tmp_path / "pool", classes, images_root=tmp_path / "new")
    assert moved.unlabelled[0].image.shape == (3, 8, 8)
