"""Segmentation of volumes, from files to predictions."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from residual_ssl import TrustedMask, compose, load, predict, train
from residual_ssl.commands.report import write_report
from residual_ssl.config.components import build
from residual_ssl.errors import ConfigError, DataError, InvalidInputError, MissingDataError
from residual_ssl.models import UNet3d
from residual_ssl.perturbations import ClassMix, CutMix, FeatureDropout, FeatureNoise, Intensity
from residual_ssl.task import Task
from residual_ssl.tasks.segmentation.inference import sliding_window
from residual_ssl.tasks.volumes import DrawnHearts, Patches, VolumeTask, read_volume
from residual_ssl.testing import TaskContract

SHORT = ["device=cpu", "steps=2", "warmup_steps=0", "labelled_batch=2", "unlabelled_batch=2", "evaluate_every=2",
         "model.widths=[4,8]", "dataset.patches.size=[4,16,16]"]  # fmt: skip
SIZES = ["dataset.source.labelled=4", "dataset.source.unlabelled=4", "dataset.source.validation=4"]


def tiny(run_dir: Path, *overrides: str) -> dict[str, Any]:
    size = "dataset.source.size=[8,16,24]"
    return compose(["experiment=volumes", f"run_dir={run_dir}", *SIZES, size, *SHORT, *overrides])


class TestVolumes(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        whole = ["dataset.patches.size=[8,16,24]"]  # predicted in one window
        made: Task = build(tiny(tmp_path, *whole)["task"], "task")
        return made


@pytest.mark.parametrize(
    "choice", ["algorithm=csl", "algorithm=unimatch_v2 selector=freematch", "algorithm=mean_teacher"]
)
def test_it_trains_with_any_algorithm(choice: str, tmp_path: Path) -> None:
    result = train(tiny(tmp_path / "run", *choice.split()))
    assert 0 <= result.last["dice"] < 100
    assert {"miou", "dice/myocardium"} <= set(result.last)


def test_dice_is_the_mean_over_volumes_and_over_classes_that_occur(tmp_path: Path) -> None:
    task = build(tiny(tmp_path)["task"], "task")
    generator = torch.Generator().manual_seed(0)
    target = torch.randint(0, 4, (3, 2, 4, 4), generator=generator)
    target[1][target[1] == 2] = 0  # the second volume has no myocardium, and none is predicted
    target[:, 0, 0, 0] = task.ignore_index
    predicted = torch.randint(0, 4, target.shape, generator=generator)
    predicted[1][predicted[1] == 2] = 0
    metric = task.metric()
    metric.update(torch.nn.functional.one_hot(predicted, 4).movedim(-1, 1).float(), target)
    found = task.summary(metric.compute())
    known, expected = (target != task.ignore_index), {}
    for name, k in (("right ventricle", 1), ("myocardium", 2), ("left ventricle", 3)):
        of_volumes = []
        for p, t, seen in zip(predicted, target, known, strict=True):
            a, b = (p == k) & seen, (t == k) & seen
            if a.any() or b.any():
                of_volumes.append(2 * (a & b).sum() / (a.sum() + b.sum()))
        expected[f"dice/{name}"] = 100 * torch.stack(of_volumes).mean().item()
    assert {name: found[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert found["dice"] == pytest.approx(np.mean(list(expected.values())))


def test_windows_over_a_volume_average_what_they_see() -> None:
    generator = torch.Generator().manual_seed(0)
    volume = torch.rand(1, 1, 5, 7, 6, generator=generator)

    def network(parts: Tensor) -> Tensor:  # sees its window: the mean of it is in every logit
        return torch.cat([parts, parts.mean((2, 3, 4), keepdim=True).expand_as(parts)], 1)

    found = sliding_window(network, volume, (4, 4, 4), (1, 3, 2), window_batch=3).exp()
    total, seen = torch.zeros(1, 2, 5, 7, 6), torch.zeros(5, 7, 6)
    for z in (0, 1):
        for y in (0, 3):
            for x in (0, 2):
                part = (..., slice(z, z + 4), slice(y, y + 4), slice(x, x + 4))
                total[part] += network(volume[part]).softmax(1)
                seen[part] += 1
    torch.testing.assert_close(found, total / seen)


def test_patches_move_volume_and_mask_alike() -> None:
    mask = torch.arange(6 * 5 * 4).reshape(6, 5, 4)
    volume = mask.double().unsqueeze(0)
    plain = Patches([4, 4, 8]).plain(volume)
    assert plain.mean().abs() < 1e-6
    assert plain.std(correction=0) == pytest.approx(1)
    values = dict(zip(mask.flatten().tolist(), plain.flatten().tolist(), strict=True))
    places = set()
    for seed in range(20):
        patch, ids, valid = Patches([4, 4, 8])(volume, mask, torch.Generator().manual_seed(seed))
        assert patch.shape == (1, 4, 4, 8)
        assert int(valid.sum()) == 4 * 4 * 4
        assert not patch[0][~valid].any()
        assert patch[0][valid].tolist() == [values[i] for i in ids[valid].tolist()]
        places.add(tuple(ids[valid].tolist()))
    assert len(places) > 10


@pytest.mark.parametrize(
    "perturbation",
    [Intensity(), FeatureDropout(), FeatureNoise(deviation=0.1)],
    ids=lambda perturbation: type(perturbation).__name__,
)
def test_perturbations_that_know_only_channels_and_points_take_volumes(perturbation: torch.nn.Module) -> None:
    x = torch.rand(2, 3, 4, 5, 6)
    assert perturbation(x).shape == x.shape
    assert not torch.equal(perturbation(x), x)


def test_masks_and_mixes_cut_blocks_out_of_volumes() -> None:
    x, trusted = torch.ones(2, 1, 4, 8, 8), torch.zeros(2, 4, 8, 8, dtype=torch.bool)
    trusted[:, :2] = True
    masked, mask = TrustedMask(ratio=1.0, block=2, probability=1.0)(x, trusted)
    assert torch.equal(mask, trusted)
    assert torch.equal(masked[:, 0] == 0, trusted)
    box = CutMix(probability=1.0)(2, (4, 8, 8), torch.device("cpu"))
    assert 0 < box[0].sum() < box[0].numel()
    target = torch.randint(0, 3, (2, 4, 8, 8))
    partners, pasted = ClassMix()(target, 3, 255, 2)
    assert (partners.tolist(), pasted.shape) == ([0, 1], target.shape)


def test_a_network_of_any_size_of_volume() -> None:
    model = UNet3d(3, widths=(4, 8, 8)).eval()
    assert model(torch.rand(2, 1, 5, 9, 7)).shape == (2, 3, 5, 9, 7)
    with pytest.raises(InvalidInputError, match=r"x: got torch.float32 of shape \(2, 2, 4, 4, 4\), expected floating"):
        model(torch.rand(2, 2, 4, 4, 4))
    with pytest.raises(InvalidInputError, match="widths: got"):
        UNet3d(3, widths=(4,))


def write(path: Path, image: Any, label: Any) -> None:
    """A volume as a file of the kind that its ending says; the mask inside, or beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(".npz"):
        np.savez(path, image=image, label=label)
    elif path.name.endswith(".h5"):
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["image"], file["label"] = image, label
    else:
        nibabel = pytest.importorskip("nibabel")
        for values, place in ((image, path), (label, path.with_name(path.name.replace(".nii.gz", "_gt.nii.gz")))):
            nibabel.save(nibabel.Nifti1Image(values.transpose(2, 1, 0).astype(np.float32), np.eye(4)), place)


@pytest.mark.parametrize("ending", [".npz", ".h5", ".nii.gz"])
def test_files_of_each_kind_train_and_are_predicted(ending: str, tmp_path: Path) -> None:
    hearts = DrawnHearts(labelled=4, unlabelled=0, validation=2, size=(8, 16, 24))
    for subset, samples in (("training", hearts.labelled), ("testing", hearts.validation)):
        for i, sample in enumerate(samples):
            place = tmp_path / subset / f"patient{i:03d}" / f"patient{i:03d}_frame01{ending}"
            write(place, sample.image[0].numpy(), sample.mask.numpy())
    data = ["dataset=acdc_volumes", f"dataset.root={tmp_path}", "dataset.labelled=2", "dataset.unlabelled_truth=true"]
    if ending != ".nii.gz":
        pattern = f"patient*/patient*_frame[0-9][0-9]{ending}"
        data += [
            f"dataset.train=training/{pattern}",
            f"dataset.validation=testing/{pattern}",
            "dataset.mask_paths=null",
        ]
    config = compose([*data, *SHORT, "algorithm=csl", "dataset.mask_block=4", f"run_dir={tmp_path / 'run'}"])
    source = build(config["task"]["source"], "source")()
    assert [len(part) for part in (source.labelled, source.unlabelled, source.validation)] == [2, 2, 2]
    by_name = {f"training/patient{i:03d}/patient{i:03d}_frame01{ending}": s for i, s in enumerate(hearts.labelled)}
    for part in (source.labelled, source.unlabelled):
        for i in range(2):
            torch.testing.assert_close(part[i].image, by_name[part[i].name].image)
            assert torch.equal(part[i].mask, by_name[part[i].name].mask)
    if ending == ".h5":
        return
    assert train(config).last["dice"] >= 0
    volume = tmp_path / "testing" / "patient000" / f"patient000_frame01{ending}"
    written = predict(tmp_path / "run", volume, tmp_path / "out")
    kinds = {path.stem.rpartition("_")[2] for path in written}
    assert kinds == {"label", "overlay", "confidence", "trust"}
    assert load(tmp_path / "run").predict(volume).label.shape == (8, 16, 24)
    write_report([tmp_path / "run"], tmp_path / "report.html")
    assert "right or wrong" in (tmp_path / "report.html").read_text()


def test_lists_name_volumes_by_their_stem(tmp_path: Path) -> None:
    for i in range(4):
        write(tmp_path / "data" / f"patient00{i}_frame01.npz", np.zeros((8, 8, 8)), np.zeros((8, 8, 8)))
    write(tmp_path / "val" / "a.npz", np.zeros((8, 8, 8)), np.zeros((8, 8, 8)))
    (tmp_path / "train.list").write_text("patient001_frame01\npatient003_frame01\n")
    given = ["dataset=volume_files", f"dataset.root={tmp_path}", "dataset.classes=[a,b]", "dataset.train=data/*.npz",
             "dataset.validation=val/*.npz"]  # fmt: skip
    source = build(compose([*given, "dataset.labelled=train.list"])["task"]["source"], "source")()
    assert [source.labelled[i].name for i in range(2)] == [f"data/patient00{i}_frame01.npz" for i in (1, 3)]
    assert source.unlabelled[0].mask is None
    (tmp_path / "train.list").write_text("patient009_frame01\n")
    with pytest.raises(DataError, match=r"no such volumes: patient009_frame01"):
        build(compose([*given, "dataset.labelled=train.list"])["task"]["source"], "source")()
    with pytest.raises(ConfigError, match="labelled"):
        build(compose([*given, "dataset.labelled=9"])["task"]["source"], "source")()
    with pytest.raises(MissingDataError, match=r"'other/\*' matches no file"):
        build(compose([*given, "dataset.labelled=1", "dataset.train=other/*"])["task"]["source"], "source")()


def test_damaged_files_are_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "flat.npz", image=np.zeros((4, 4)))
    with pytest.raises(DataError, match=r"flat.npz: got a volume of shape \(4, 4\), expected \(D, H, W\)"):
        read_volume(tmp_path / "flat.npz")
    (tmp_path / "bad.npz").write_bytes(b"not a file")
    with pytest.raises(DataError, match=r"bad.npz: the volume cannot be read"):
        read_volume(tmp_path / "bad.npz")
    np.save(tmp_path / "nan.npy", np.full((2, 2, 2), np.nan))
    with pytest.raises(DataError, match=r"nan.npy: the volume has values that are no numbers"):
        read_volume(tmp_path / "nan.npy")
    np.save(tmp_path / "code.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match=r"code.npy: the volume cannot be read"):
        read_volume(tmp_path / "code.npy")
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(DataError, match=r"x.txt: got a file of another kind, expected one of .h5, .nii"):
        read_volume(tmp_path / "x.txt")


def test_slices_are_laid_out_in_rows(tmp_path: Path) -> None:
    task = build(tiny(tmp_path)["task"], "task")
    assert isinstance(task, VolumeTask)
    flat = task.plane(torch.arange(5 * 2 * 3).reshape(5, 2, 3))
    assert flat.shape == (4, 9)
    assert torch.equal(flat[:2, :3], torch.arange(6).reshape(2, 3))
    assert torch.equal(flat[2:, 3:6], torch.arange(24, 30).reshape(2, 3))
    assert not flat[2:, 6:].any()
    assert task.plane(torch.zeros(40, 2, 2)).shape == (8, 8)
