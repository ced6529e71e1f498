"""Change detection, from pairs of files to predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from residual_ssl import compose, load, predict, train
from residual_ssl.commands.report import write_report
from residual_ssl.config.components import build
from residual_ssl.errors import ConfigError, DataError, IncompleteError, InvalidInputError, MissingDataError
from residual_ssl.models import FeatureDifference, SmallSegmenter
from residual_ssl.perturbations import Photometric
from residual_ssl.task import Task
from residual_ssl.tasks.change import DigitChanges, EachImage
from residual_ssl.testing import TaskContract

SHORT = ["device=cpu", "steps=2", "warmup_steps=0", "labelled_batch=2", "unlabelled_batch=2", "evaluate_every=2",
         "+model.widths=[8,8]"]  # fmt: skip
SIZES = ["dataset.source.labelled=6", "dataset.source.unlabelled=6", "dataset.source.validation=6"]


def tiny(run_dir: Path, *overrides: str) -> dict[str, Any]:
    return compose(["experiment=change_digits", f"run_dir={run_dir}", *SIZES, *SHORT, *overrides])


class TestChange(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        made: Task = build(tiny(tmp_path)["task"], "task")
        return made


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """LEVIR-CD's layout: a bright square appears in B; masks say 255."""
    root = tmp_path / "levir"
    for subset in ("train", "test"):
        for kind in ("A", "B", "label"):
            (root / subset / kind).mkdir(parents=True)
        for i in range(6):
            mask = np.zeros((32, 32), np.uint8)
            mask[i : i + 10, 8:20] = 255
            before = np.random.default_rng(i).integers(0, 90, (32, 32, 3), np.uint8)
            Image.fromarray(before).save(root / subset / "A" / f"{i}.png")
            Image.fromarray(np.where(mask[..., None] > 0, 250, before).astype(np.uint8)).save(
                root / subset / "B" / f"{i}.png"
            )
            Image.fromarray(mask).save(root / subset / "label" / f"{i}.png")
    return root


@pytest.mark.parametrize("choice", ["algorithm=csl", "algorithm=unimatch_v2 selector=freematch", "algorithm=supervised",
                                    "algorithm=csl task.one_logit=true"])  # fmt: skip
def test_it_trains_with_any_algorithm(choice: str, tmp_path: Path) -> None:
    result = train(tiny(tmp_path / "run", *choice.split()))
    assert 0 <= result.last["miou"] < 100
    assert result.last["f1"] == pytest.approx(200 * result.last["iou"] / (100 + result.last["iou"]), abs=1e-4)


def test_what_is_the_same_has_no_difference_at_any_level_and_the_order_does_not_matter() -> None:
    torch.manual_seed(0)
    network = SmallSegmenter(2, widths=(8, 8))
    model = FeatureDifference(network).eval()
    a, b = torch.rand(2, 3, 3, 16, 16)
    assert not any(feature.any() for feature in model.encode(torch.cat([a, a], 1)))
    apart = [(x - y).abs() for x, y in zip(network.encode(a), network.encode(b), strict=True)]
    together = model.encode(torch.cat([a, b], 1))
    for found, expected in zip(together, apart, strict=True):
        torch.testing.assert_close(found, expected)
    torch.testing.assert_close(model(torch.cat([a, b], 1)), model(torch.cat([b, a], 1)))
    assert set(model.state_dict()) == {f"network.{name}" for name in network.state_dict()}
    with pytest.raises(InvalidInputError, match=r"x: got shape \(3, 3, 16, 16\), expected pairs"):
        model(a)


def test_each_image_of_a_pair_has_colours_of_its_own() -> None:
    torch.manual_seed(0)
    image = torch.rand(4, 3, 8, 8)
    first, second = EachImage(Photometric(jitter_probability=1.0))(torch.cat([image, image], 1)).chunk(2, 1)
    assert not torch.allclose(first, second)
    assert torch.equal(EachImage(nn.Identity())(torch.cat([image, 1 - image], 1)), torch.cat([image, 1 - image], 1))


def test_embedded_pairs_differ_where_their_mask_says() -> None:
    for sample in DigitChanges(labelled=4, unlabelled=0, validation=1).labelled:
        before, after = sample.image.float().div(255).chunk(2)
        changed = sample.mask.bool()
        assert 0.01 < changed.float().mean() < 0.5
        # The light differs by up to a quarter; digits by .3 and more at their ink.
        difference = (before - after).abs().amax(0)
        assert difference[changed].quantile(0.9) > 2 * difference[~changed].median()
    again = DigitChanges(labelled=2, unlabelled=3, validation=1).labelled[1]
    assert torch.equal(again.image, DigitChanges(labelled=4, unlabelled=0, validation=1).labelled[1].image)
    with pytest.raises(ConfigError, match=r"size: got 8, expected an integer ≥ 32"):
        DigitChanges(size=8)


def test_folders_train_and_pairs_of_files_are_predicted(folders: Path, tmp_path: Path) -> None:
    data = ["dataset=levir_cd", f"dataset.root={folders}", "dataset.labelled=3", "dataset.geometry.crop=32"]
    data += ["model=small_segmenter", "dataset.inference={window: 16, stride: 16}", "dataset.unlabelled_truth=true"]
    run = tmp_path / "run"
    result = train(compose([*data, *SHORT, "algorithm=csl", "dataset.mask_block=8", f"run_dir={run}"]))
    assert result.last["miou"] > 0
    written = predict(run, folders / "test" / "A", tmp_path / "out")
    assert len(written) == 24
    assert {path.name for path in written} >= {"0_label.png", "0_overlay.png", "0_confidence.png", "0_trust.png"}
    found = load(run).predict(folders / "test" / "A" / "0.png")
    assert found.label.shape == (32, 32)
    write_report([run], tmp_path / "report.html")
    assert "masked view" in (tmp_path / "report.html").read_text()
    with pytest.raises(IncompleteError, match=r"0.png: is not the first image of a pair, as nothing of A/ stands"):
        predict(run, folders / "test" / "B" / "0.png", tmp_path / "other")


def test_a_pair_is_what_lies_in_both_folders(folders: Path) -> None:
    config = compose(["dataset=levir_cd", f"dataset.root={folders}", "dataset.labelled=all"])
    samples = build(config["task"]["source"], "source")().labelled
    for i in range(6):
        sample = samples[i]
        first, second = (
            torch.from_numpy(np.array(Image.open(folders / "train" / kind / f"{i}.png"))).permute(2, 0, 1)
            for kind in "AB"
        )
        assert torch.equal(sample.image, torch.cat([first, second]))
        assert torch.equal(sample.mask, (first != second).any(0).long())


def test_missing_and_unequal_second_images_are_named(folders: Path) -> None:
    config = compose(["dataset=levir_cd", f"dataset.root={folders}", "dataset.labelled=all"])
    Image.fromarray(np.zeros((8, 16, 3), np.uint8)).save(folders / "train" / "B" / "2.png")
    samples = build(config["task"]["source"], "source")().labelled
    with pytest.raises(DataError, match=r"train/A/2.png is 32×32 and its second image .*B/2.png 16×8"):
        samples[2]
    (folders / "train" / "B" / "3.png").unlink()
    with pytest.raises(MissingDataError, match=r"1 of 6 pairs have no second image: .*B/3.png; second says"):
        build(config["task"]["source"], "source")()


def test_lists_name_the_first_images(folders: Path) -> None:
    root = folders / "train"
    (root / "train.txt").write_text("".join(f"{i}.png\n" for i in range(5)))
    (root / "test.txt").write_text("5.png\n")
    (root / "5%").mkdir()
    (root / "5%" / "labeled.txt").write_text("0.png\n4.png\n")
    (root / "5%" / "unlabeled.txt").write_text("1.png\n2.png\n3.png\n")
    config = compose(["dataset=whu_cd_256", f"dataset.root={root}", "dataset.splits=."])
    source = build(config["task"]["source"], "source")()
    assert [len(part) for part in (source.labelled, source.unlabelled, source.validation)] == [2, 3, 1]
    assert source.labelled[1].mask.sum() == 120
    assert source.unlabelled[0].mask is None
