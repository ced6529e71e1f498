"""Labels that mean nothing are said before the first step."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folder_sets import folder_config, write_folders

from residual_ssl import train
from residual_ssl.errors import DataError, ResidualSSLWarning


def test_a_binary_mask_of_0_and_255_is_no_silent_success(tmp_path: Path) -> None:
    write_folders(tmp_path, mask=lambda ids: 255 * ids)
    with pytest.warns(ResidualSSLWarning, match=r"labelled set: no labelled point of box.*ignore_index 255.*label_map"):
        result = train(folder_config(tmp_path, "algorithm=supervised"))
    assert result.last["classes_in_miou"] == 1


def test_the_label_map_that_the_warning_names_mends_it(tmp_path: Path) -> None:
    write_folders(tmp_path, mask=lambda ids: 255 * ids)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResidualSSLWarning)
        result = train(
            folder_config(
                tmp_path, "algorithm=supervised", "dataset.ignore_index=254", "dataset.label_map={0: 0, 255: 1}"
            )
        )
    assert {"iou/ground", "iou/box"} <= result.last.keys()
    assert "classes_in_miou" not in result.last


def test_a_class_that_no_mask_has_is_named_for_each_set(tmp_path: Path) -> None:
    write_folders(tmp_path)
    with pytest.warns(ResidualSSLWarning) as said:
        train(folder_config(tmp_path, "dataset.classes=[ground,box,crack]", "algorithm=supervised"))
    texts = [str(warning.message) for warning in said]
    assert any("labelled set: no labelled point of crack; such a class cannot be learned" in text for text in texts)
    assert any("validation set: no labelled point of crack" in text for text in texts)


@pytest.mark.parametrize("part", ["train", "val"])
def test_a_set_of_ignored_points_alone_is_refused_before_training(part: str, tmp_path: Path) -> None:
    write_folders(tmp_path)
    other = tmp_path / "other"
    write_folders(other, mask=lambda ids: np.full_like(ids, 255))
    masks = tmp_path / part / "masks"
    for file in masks.iterdir():
        file.write_bytes((other / part / "masks" / file.name).read_bytes())
    subset = {"train": "labelled", "val": "validation"}[part]
    with pytest.raises(DataError, match=rf"{subset} set: has no labelled point; all are ignore_index 255"):
        train(folder_config(tmp_path, "algorithm=supervised"))
    assert not list(tmp_path.glob("run/*.pt"))


def test_a_class_with_one_label_among_many_is_not_called_missing(tmp_path: Path) -> None:
    from helpers.tiny_runs import tiny_digits

    from residual_ssl.config.components import build
    from residual_ssl.engine.setup.label_check import count_labels

    task = build(tiny_digits(tmp_path / "run", "algorithm=supervised")["task"], "task")
    task.targets = lambda subset: (1000, lambda index: torch.tensor(int(index == 999)))
    assert count_labels(task, "labelled").per_class[:2].tolist() == [999, 1]


def test_a_class_of_few_labels_is_named_in_classification_too(tmp_path: Path) -> None:
    from helpers.tiny_runs import tiny_digits

    config = tiny_digits(tmp_path / "run", "algorithm=supervised")
    config["task"]["classes"] = [*config["task"]["classes"][:9], "nine"]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ResidualSSLWarning)
        train(config)  # all ten have labels: nothing is said
