"""Frozen segmentation: maps are those of the network, computed once; masks stay in register; runs predict on images."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import residual_ssl
from residual_ssl import compose, train
from residual_ssl.commands.pools import label
from residual_ssl.commands.report import write_report
from residual_ssl.config.components import build
from residual_ssl.data import read_image, resize_image
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import ConfigError, InvalidInputError, MissingDataError
from residual_ssl.runtime import checkpoint
from residual_ssl.task import Task
from residual_ssl.tasks.segmentation import FrozenMaps, FrozenSegmentationTask
from residual_ssl.tasks.segmentation.frozen_maps import MapViews
from residual_ssl.testing import TaskContract

SIZE = (32, 48)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RESIDUAL_SSL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def images(root: Path, train: int = 6) -> Path:
    """A bright square on dark ground, another place in each image; the mask is where it is bright."""
    rng = np.random.default_rng(3)
    for part, count in (("train", train), ("val", 4)):
        for kind in ("images", "masks"):
            (root / part / kind).mkdir(parents=True, exist_ok=True)
        for i in range(count):
            mask = np.zeros((64, 96), np.uint8)
            top, left = rng.integers(0, 32), rng.integers(0, 56)
            mask[top : top + 32, left : left + 40] = 1
            pixels = (40 + 150 * mask[..., None] + rng.integers(0, 30, (64, 96, 3))).astype(np.uint8)
            Image.fromarray(pixels).save(root / part / "images" / f"{i}.png")
            Image.fromarray(mask).save(root / part / "masks" / f"{i}.png")
    return root


def config(tmp_path: Path, *overrides: str) -> dict[str, Any]:
    root = tmp_path / "data"
    if not root.exists():
        images(root)
    return compose(
        [
            *("dataset=folders", f"dataset.root='{root}'", "dataset.classes=[ground,square]", "dataset.labelled=2"),
            *("task=frozen_segmentation", "task.maps.name=resnet10t", "task.maps.weights=null", "task.views=3"),
            *(f"task.maps.size={list(SIZE)}", "task.maps.stride=4", "dataset.mask_block=4", "device=cpu"),
            *("steps=40", "warmup_steps=0", "evaluate_every=40", "optimizer=adamw", "optimizer.lr=0.01"),
            *("labelled_batch=2", "unlabelled_batch=4", f"run_dir='{tmp_path / 'run'}'", *overrides),
        ]
    )


def built(tmp_path: Path, *overrides: str) -> Any:
    return build(config(tmp_path, *overrides)["task"], "task")


class TestFrozenSegmentationTaskContract(TaskContract):
    @pytest.fixture
    def task(self, tmp_path: Path) -> Task:
        made: Task = built(tmp_path, "dataset.labelled=4", "dataset.unlabelled_truth=true")
        return made

    @pytest.fixture(autouse=True)
    def enough(self, tmp_path: Path) -> None:
        images(tmp_path / "data", train=8)


def test_maps_are_all_levels_from_the_stride_on_at_one_resolution() -> None:
    maps = FrozenMaps("resnet10t", SIZE, stride=8, mean=[0.5] * 3, std=[0.25] * 3)
    picture = torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(0))
    shrunk = F.interpolate(picture, SIZE, mode="bilinear", antialias=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = timm.create_model("resnet10t", features_only=True).eval()
    with torch.no_grad():
        levels = network((shrunk - 0.5) / 0.25)[-3:]
    expected = [F.interpolate(level, (4, 6), mode="bilinear", align_corners=True) for level in levels]
    torch.testing.assert_close(maps.encode(picture), torch.cat(expected, 1))
    assert (maps.num_features, maps.grid) == (sum(level.shape[1] for level in levels), (4, 6))


def test_maps_of_a_transformer_are_the_tokens_of_its_last_block_in_place() -> None:
    options = {"depth": 2, "embed_dim": 24, "num_heads": 3}
    maps = FrozenMaps("vit_small_patch16_224", (32, 64), backbone_options=options)
    picture = torch.rand(1, 3, 32, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        tokens = maps.network.forward_features(maps.normalised(picture))[0, 1:]  # type: ignore[operator]
    torch.testing.assert_close(maps.encode(picture)[0], tokens.T.reshape(24, 2, 4))


@pytest.mark.parametrize(
    ("name", "size", "stride", "told"),
    [
        ("resnet10t", SIZE, 3, r"stride: got 3, and resnet10t has features of strides \[2, 4, 8, 16, 32\]"),
        ("vit_small_patch16_224", (32, 50), 8, r"size: got \(32, 50\) for vit_small_patch16_224, expected multiples"),
    ],
)
def test_sizes_that_do_not_fit_the_network_are_refused(
    name: str, size: tuple[int, int], stride: int, told: str
) -> None:
    options = {"depth": 1, "embed_dim": 24, "num_heads": 3} if name.startswith("vit") else {}
    with pytest.raises(InvalidInputError, match=told):
        _ = FrozenMaps(name, size, stride, backbone_options=options).grid


def test_maps_are_computed_once_for_an_image_whatever_the_split(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = built(tmp_path).unlabelled(0)[1, 5]["input"]
    built(tmp_path).labelled(0)
    computed: list[int] = []
    encode = FrozenMaps.encode
    monkeypatch.setattr(FrozenMaps, "encode", lambda self, x: computed.append(len(x)) or encode(self, x))
    again = built(tmp_path)
    assert torch.equal(again.unlabelled(0)[1, 5]["input"], first)
    assert computed == [1], "the shape of the maps, from an empty image, and nothing else"
    other = built(tmp_path, "dataset.labelled=4", "seed=1")
    other.labelled(0), other.unlabelled(0)
    assert computed == [1, 1]

    changed = tmp_path / "data" / "train" / "images" / "0.png"
    pixels = read_image(changed).permute(1, 2, 0).numpy().copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(changed)
    other.labelled(0), other.unlabelled(0)
    assert computed == [1, 1, 3]
    assert len(list(cache.rglob("*.safetensors"))) == 7


def test_a_computation_that_was_cut_off_continues(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, calls = FrozenMaps.encode, []

    def cut(self: FrozenMaps, x: Tensor) -> Tensor:
        calls.append(len(x))
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(self, x)

    monkeypatch.setattr(FrozenMaps, "encode", cut)
    with pytest.raises(KeyboardInterrupt):
        built(tmp_path).unlabelled(0)
    assert len(list(cache.rglob("*.safetensors"))) == 2
    built(tmp_path).unlabelled(0)
    assert len(calls) == 4 + 1 + 2, "again the shape, and the two images that were missing of four"


def test_other_settings_have_maps_of_their_own(tmp_path: Path, cache: Path) -> None:
    for overrides in ([], ["task.views=2"], ["task.photometric.blur=1.0"], ["task.geometry.flip=0.0"]):
        built(tmp_path, *overrides).labelled(0)
    assert len(list(cache.iterdir())) == 4


def test_masks_are_in_register_with_the_maps_of_every_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Maps that are the mean brightness of each cell: bright where the target is the square, but at its edges."""

    def brightness(_: FrozenMaps, pixels: Tensor) -> Tensor:
        return F.avg_pool2d(F.interpolate(pixels, SIZE).mean(1, keepdim=True), 4)

    monkeypatch.setattr(FrozenMaps, "encode", brightness)
    task = built(tmp_path, "task.views=6", "~task.photometric", "task.geometry.scale=[0.5,1.5]")
    seen = set()
    for draw in range(30):
        sample = task.labelled(0)[0, draw]
        bright, known = sample["input"][0] > 0.45, sample["target"] != task.ignore_index
        agree = (bright == (sample["target"] == 1))[known].float().mean()
        assert agree > 0.9
        seen.add((known.all().item(), int(bright.sum())))
    assert {whole for whole, _ in seen} == {True, False}, "some views have padding, which is ignored"
    assert len(seen) > 3


@pytest.mark.parametrize("algorithm", ["csl", "fixmatch", "unimatch"])
def test_a_run_learns_the_same_from_new_and_from_cached_maps_and_predicts_on_images(
    tmp_path: Path, cache: Path, algorithm: str
) -> None:
    logs = []
    for run in ("new", "cached"):
        run_dir = tmp_path / run
        train(config(tmp_path, f"algorithm={algorithm}", f"run_dir='{run_dir}'"))
        logs.append([json.loads(line) for line in (run_dir / "log.jsonl").read_text().splitlines()])
        assert len(list(cache.rglob("*.safetensors"))) == 6 + 4
    losses = [[line["train/loss"] for line in log if "train/loss" in line] for log in logs]
    assert losses[0] == losses[1]
    assert len(losses[0]) >= 4
    assert json.loads((tmp_path / "new" / "result.json").read_text())["last"]["miou"] > 70
    state = checkpoint.load(tmp_path / "new" / "last.pt")["model"]
    assert not any("layer1" in name for name in state), "the frozen network is saved"

    photo = tmp_path / "data" / "val" / "images" / "2.png"
    write_report([tmp_path / "new"], tmp_path / "report.html")
    assert (tmp_path / "report.html").read_text().count("<img") > 10
    run = load_run(tmp_path / "new")
    prediction = residual_ssl.load(tmp_path / "new").predict(photo)
    truth = np.asarray(Image.open(tmp_path / "data" / "val" / "masks" / "2.png"))
    assert prediction.label.shape == truth.shape
    assert (prediction.label.numpy() == truth).mean() > 0.85
    assert not run.task.tiled
    again = residual_ssl.load(tmp_path / "new").predict(photo, tile=16)
    assert torch.equal(again.label, prediction.label), "the network has seen whole images alone"


def test_a_run_equals_one_whose_maps_are_computed_anew_at_every_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    short = ["algorithm=csl", "steps=6", "evaluate_every=6", "log_every=1"]
    train(config(tmp_path, *short, f"run_dir='{tmp_path / 'cached'}'"))
    task: FrozenSegmentationTask = built(tmp_path)
    images = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in (tmp_path / "data").rglob("images/*.png")}

    def computed(views: MapViews, view: int) -> Tensor:
        name, count = views.path.stem, 3 if images[views.path.stem].parts[-3] == "train" else 1
        image = resize_image(read_image(images[name]), SIZE)
        pixels = [task.augmentation(image, None, int(name[:15], 16), number)[0] for number in range(count)]
        return task.maps.encode(torch.stack(pixels)).half()[view].float()

    monkeypatch.setattr(MapViews, "maps", computed)
    train(config(tmp_path, *short, f"run_dir='{tmp_path / 'computed'}'"))
    logs = [(tmp_path / run / "log.jsonl").read_text().splitlines() for run in ("cached", "computed")]
    assert logs[0] == logs[1]


def test_an_image_that_cannot_be_read_is_skipped_in_the_pool_and_named(tmp_path: Path) -> None:
    settings = config(tmp_path, "algorithm=fixmatch", "steps=6", "evaluate_every=6")
    pool = build(settings["task"], "task").source.unlabelled
    broken = pool.files(0)[0]
    broken.write_bytes(broken.read_bytes()[:200])
    train(settings)
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert broken.name in json.dumps(result)


def test_three_components_of_the_maps_are_shown_as_colours(tmp_path: Path) -> None:
    task: FrozenSegmentationTask = built(tmp_path)
    inputs = torch.stack([task.unlabelled(0)[i, i]["input"] for i in range(3)])
    shown = task.display(inputs)
    assert shown.shape == (3, 3, *task.maps.grid)
    assert 0 <= shown.min() < shown.max() <= 1
    assert torch.equal(shown, task.display(inputs))


def test_a_crop_of_another_size_than_the_maps_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"geometry.crop: got \(20, 20\), expected \(32, 48\)"):
        built(tmp_path, "task.geometry.crop=20")


def test_weights_that_are_not_there_are_named_by_their_key(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"^task\.maps\.weights: no file missing\.safetensors"):
        built(tmp_path, "task.maps.weights=missing.safetensors")


def test_fewer_than_one_view_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="views: got 0"):
        built(tmp_path, "task.views=0").labelled(0)


def test_labels_of_a_labelled_pool_are_in_register_with_the_maps_and_teach(tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    train(config(tmp_path, "algorithm=supervised", f"run_dir='{teacher}'"))
    label(teacher, "run:unlabelled", tmp_path / "labels", selector="none")
    pool = [f"dataset.pool='{tmp_path / 'labels'}'", "pool=labelled", "selector=stored"]
    settings = config(tmp_path, "algorithm=fixmatch", *pool)
    task = build(settings["task"], "task")
    network = load_run(teacher).model
    for index in range(4):
        sample = task.unlabelled(0)[index, 0]
        assert set(sample) == {"input", "valid", "stored"}
        label_of, weight = sample["stored"]
        assert torch.equal(weight, sample["valid"].float())
        with torch.no_grad():
            own = network(sample["input"][None])[0].argmax(0)
        assert (own == label_of)[sample["valid"]].float().mean() > 0.8
    train(settings)
    assert json.loads((tmp_path / "run" / "result.json").read_text())["last"]["miou"] > 60
