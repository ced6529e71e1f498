"""Named choices and overrides."""

from pathlib import Path
from typing import Any

import pytest

from residual_ssl import compose
from residual_ssl.config.composition import compose_choice
from residual_ssl.config.settings import Settings
from residual_ssl.engine import stages_of
from residual_ssl.errors import ConfigError, MissingDataError

CONFIGS = Path(__file__).parents[1] / "configs"
# Embedded, or of the hub.
WITHOUT_FOLDER = (
    *("adapt_digit_scenes", "change_digits", "detection_digits", "digits", "digit_rows", "digits_classification"),
    *("digits_multi_label", "eurosat_vit", "open_digits", "regression", "texts", "volumes"),
)
PAIRS_OF_FOLDERS = ("cityscapes_to", "gta5_to", "synthia_to")


ALGORITHMS = [path.stem for path in sorted((CONFIGS / "algorithm").glob("*.yaml"))]
EXPERIMENTS = [path.stem for path in sorted((CONFIGS / "experiment").glob("*.yaml"))]
# Experiments of a kind bring the same task: what an algorithm refers to is there in all of them or in none.
KINDS = {
    "segmentation": ("ade20k", "camvid", "camvid_frozen", "cityscapes", "coco", "digits", "pascal"),
    "classification": (
        *("cifar10", "cifar100", "cifar100_vit", "cifar10_lt", "digits_classification", "eurosat_vit"),
        *("open_digits", "stl10", "stl10_vit", "svhn"),
    ),
    "detection": ("detection_digits",),
    "multi-label classification": ("digits_multi_label",),
    "change": ("change_digits", "levir_cd", "whu_cd"),
    "volumes": ("volumes",),
    "regression": ("regression",),
    "rows": ("digit_rows", "texts"),
    "adaptation of segmentation": (
        *("adapt_digit_scenes", "cityscapes_to_acdc", "cityscapes_to_dark_zurich"),
        *("gta5_to_cityscapes", "synthia_to_cityscapes"),
    ),
    "adaptation of classification": ("domainnet", "mnist_to_mnist_m", "office31", "office_home", "pacs", "visda"),
}
# Every pair of a kind and an algorithm, and every experiment: no kind has more of them than there are algorithms.
PAIRS = [(kind[i % len(kind)], algorithm) for kind in KINDS.values() for i, algorithm in enumerate(ALGORITHMS)]


def assert_composes_and_passes(experiment: str, algorithm: str) -> None:
    roots = [] if experiment in WITHOUT_FOLDER else ["dataset.root=/somewhere"]
    roots += ["dataset.source_root=/elsewhere"] if experiment.startswith(PAIRS_OF_FOLDERS) else []
    roots += ["init_from=run/last.pt"] if algorithm == "source_free" else []
    config = compose([f"experiment={experiment}", f"algorithm={algorithm}", *roots])
    if "Segmentation" not in config["task"]["_target_"] and algorithm in ("daformer", "mic"):
        with pytest.raises(ConfigError, match=r"task.sampling: .*Task takes no such key"):
            Settings.from_config(config)
        return
    if not stages_of(config):
        Settings.from_config(config)


def test_every_experiment_is_of_one_kind() -> None:
    assert sorted(experiment for kind in KINDS.values() for experiment in kind) == EXPERIMENTS
    assert {experiment for experiment, _ in PAIRS} == set(EXPERIMENTS)


@pytest.mark.parametrize(("experiment", "algorithm"), PAIRS)
def test_every_kind_of_experiment_composes_with_every_algorithm_and_passes_the_check(
    experiment: str, algorithm: str
) -> None:
    assert_composes_and_passes(experiment, algorithm)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("experiment", "algorithm"), [(e, a) for e in EXPERIMENTS for a in ALGORITHMS if (e, a) not in PAIRS]
)
def test_every_other_experiment_composes_with_every_algorithm_and_passes_the_check(
    experiment: str, algorithm: str
) -> None:
    assert_composes_and_passes(experiment, algorithm)


@pytest.mark.parametrize(
    ("algorithm", "steps", "optimizer", "lr", "warmup", "power"),
    [
        ("dacs", 250_000, "SGD", 2.5e-4, 0, 0.9),  # arXiv 2007.08702
        ("daformer", 40_000, "AdamW", 6e-5, 1500, 1.0),  # arXiv 2111.14887
        ("mic", 40_000, "AdamW", 6e-5, 1500, 1.0),  # arXiv 2212.01322
    ],
)
def test_published_settings_of_adaptation(
    algorithm: str, steps: int, optimizer: str, lr: float, warmup: int, power: float
) -> None:
    roots = ["dataset.root=/t", "dataset.source_root=/s"]
    config = compose(["experiment=gta5_to_cityscapes", f"algorithm={algorithm}", *roots])
    assert config["optimizer"]["_target_"] == f"torch.optim.{optimizer}"
    assert [config["steps"], config["optimizer"]["lr"]] == [steps, lr]
    assert [config["warmup_steps"], config["power"]] == [warmup, power]
    assert [config["labelled_batch"], config["unlabelled_batch"], config["head_lr_multiplier"]] == [2, 2, 10]
    assert config["task"]["geometry"]["crop"] == config["task"]["labelled_geometry"]["crop"] == 512
    sampling = config["task"].get("sampling")
    assert (sampling is None) == (algorithm == "dacs")
    assert sampling is None or (sampling["temperature"], sampling["min_points"]) == (0.01, 3000)


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONFIGS / "model").glob("*.yaml"))])
def test_every_model_passes_the_check(name: str) -> None:
    target = ["model.target=residual_ssl.models:SmallSegmenter"] if name == "own" else []
    Settings.from_config(compose([f"model={name}", *target]))


@pytest.mark.parametrize(
    ("choices", "epochs", "batch", "crop", "optimizer", "lr", "head", "further"),
    [
        # UniMatch, arXiv 2208.09910, and CSL, arXiv 2509.16704
        ("experiment=pascal algorithm=unimatch", 80, 8, 321, "SGD", 0.001, 10, {"model.output_stride": 16}),
        ("experiment=pascal algorithm=csl", 80, 8, 321, "SGD", 0.001, 10, {"model.output_stride": 8}),
        ("experiment=pascal algorithm=covar model=deeplabv3plus_r50", 80, 8, 321, "SGD", 0.001, 10,
         {"model.output_stride": 8, "model.backbone": "resnet50"}),
        ("experiment=pascal split=u2pl_1_8 algorithm=unimatch", 80, 8, 513, "SGD", 0.001, 10, {}),
        ("experiment=cityscapes algorithm=csl", 240, 8, 801, "SGD", 0.005, 1,
         {"model.output_stride": 8, "inference.window": 801, "inference.stride": 534,
          "supervised_loss._target_": "residual_ssl.losses.OHEMCrossEntropy"}),
        ("experiment=coco algorithm=unimatch", 30, 8, 513, "SGD", 0.004, 10, {"model.backbone": "xception65"}),
        # UniMatch V2, arXiv 2410.10777
        ("experiment=pascal algorithm=unimatch_v2 model=dpt_dinov2_b", 60, 16, 518, "AdamW", 5e-6, 40, {}),
        ("experiment=cityscapes algorithm=unimatch_v2 model=dpt_dinov2_s", 180, 8, 798, "AdamW", 5e-6, 40,
         {"inference.window": 798}),
        ("experiment=coco algorithm=unimatch_v2 model=dpt_dinov2_b", 20, 16, 518, "AdamW", 5e-6, 40, {}),
        ("experiment=ade20k algorithm=unimatch_v2", 60, 8, 518, "AdamW", 5e-6, 40,
         {"model._target_": "residual_ssl.models.DPT"}),
        ("experiment=ade20k algorithm=fixmatch model=deeplabv3plus_r101", 60, 8, 518, "SGD", 0.004, 10, {}),
    ],
)  # fmt: skip
def test_experiments_have_the_published_settings(
    choices: str, epochs: int, batch: int, crop: int, optimizer: str, lr: float, head: float, further: dict[str, object]
) -> None:
    config = compose([*choices.split(), "dataset.root=/somewhere"])
    assert config["steps"] is None
    assert config["epochs"] == epochs
    assert (config["labelled_batch"], config["unlabelled_batch"], config["reference_batch"]) == (batch, batch, batch)
    assert (config["warmup_steps"], config["power"]) == (0, 0.9)
    assert config["task"]["geometry"]["crop"] == crop
    assert config["optimizer"]["_target_"] == f"torch.optim.{optimizer}"
    assert (config["optimizer"]["lr"], config["head_lr_multiplier"]) == (lr, head)
    for place, value in further.items():
        part = config["task"]
        for key in place.split("."):
            part = part[key]
        assert part == value, place


@pytest.mark.parametrize(
    ("choices", "steps", "batches", "optimizer", "model", "further"),
    [
        # USB's classic setting and its setting of pretrained transformers, arXiv 2208.07204
        ("cifar10 split=250", 2**20, (64, 448), ("SGD", 0.03, 5e-4), {"depth": 28, "width": 2}, {}),
        ("cifar100", 2**20, (64, 448), ("SGD", 0.03, 1e-3), {"depth": 28, "width": 8}, {}),
        ("svhn", 2**20, (64, 448), ("SGD", 0.03, 5e-4), {"depth": 28, "width": 2}, {}),
        ("stl10", 2**20, (64, 448), ("SGD", 0.03, 5e-4), {"depth": 28, "width": 2, "stages": 4}, {}),
        ("cifar10_lt", 2**18, (64, 128), ("SGD", 0.03, 5e-4), {"depth": 28, "width": 2}, {}),
        ("cifar100_vit", 204800, (8, 8), ("AdamW", 5e-4, 5e-4), {}, {"layer_decay": 0.5, "warmup_steps": 5120}),
        ("stl10_vit", 204800, (8, 8), ("AdamW", 1e-4, 5e-4), {}, {"layer_decay": 0.65, "warmup_steps": 5120}),
        ("eurosat_vit", 204800, (8, 8), ("AdamW", 5e-5, 5e-4), {}, {"layer_decay": 1, "warmup_steps": 5120}),
    ],
)
def test_classification_has_the_published_settings(
    choices: str,
    steps: int,
    batches: tuple[int, int],
    optimizer: tuple[str, float, float],
    model: dict[str, int],
    further: dict[str, float],
) -> None:
    place = [] if choices in WITHOUT_FOLDER else ["dataset.root=/somewhere"]
    config = compose([*f"experiment={choices}".split(), "algorithm=fixmatch", *place])
    assert (config["steps"], config["schedule"]) == (steps, "cosine")
    assert (config["labelled_batch"], config["unlabelled_batch"]) == batches
    own = config["optimizer"]
    assert (own["_target_"], own["lr"], own["weight_decay"]) == (f"torch.optim.{optimizer[0]}", *optimizer[1:])
    assert model.items() <= config["task"]["model"].items()
    assert further.items() <= config.items()
    algorithm = config["algorithm"]
    strong = algorithm["branches"]["strong"]
    assert (algorithm["labelled_weight"], strong["weight"], strong["mix"]) == (1, 1, None)
    assert algorithm["selector"]["threshold"] == 0.95
    teaches = (algorithm.get("ema_decay"), algorithm.get("ema_teaches"))
    assert teaches == ((None, None) if "vit" in choices else (0.999, False))


def test_a_data_set_brings_its_task_and_a_model_and_the_user_may_choose_another() -> None:
    config = compose(["dataset=handwritten_digits", "split=50"])
    assert config["task"]["_target_"].endswith("ClassificationTask")
    assert config["task"]["model"]["_target_"].endswith("SmallClassifier")
    assert config["task"]["source"]["labelled"] == 50
    assert config["run_dir"] == "runs/handwritten_digits/50/csl-csl-0"
    config = compose(["dataset=handwritten_digits", "model=wrn_28_2"])
    assert config["task"]["model"]["_target_"].endswith("WideResNet")
    assert compose([])["task"]["_target_"].endswith("SegmentationTask")
    assert compose(["algorithm=fixmatch"])["algorithm"]["branches"]["strong"]["mix"]["_target_"].endswith("CutMix")


def test_losses_and_thresholds_follow_the_data_set_too() -> None:
    def algorithm(*choices: str) -> dict[str, Any]:
        return dict(compose([*choices, "dataset.root=/somewhere"])["algorithm"])

    assert algorithm("experiment=cityscapes", "algorithm=unimatch")["selector"]["threshold"] == 0
    assert algorithm("experiment=pascal", "algorithm=unimatch")["selector"]["threshold"] == 0.95
    assert algorithm("experiment=cityscapes", "algorithm=unimatch_v2")["selector"]["threshold"] == 0.95
    assert "threshold" not in algorithm("experiment=cityscapes", "algorithm=unimatch", "selector=csl")["selector"]
    assert algorithm("experiment=cityscapes", "algorithm=cps")["weight"] == 6
    assert algorithm("experiment=pascal", "algorithm=cps")["weight"] == 1.5


def test_what_the_user_says_wins_over_what_is_published() -> None:
    config = compose(["experiment=pascal", "algorithm=csl", "model.output_stride=16", "steps=7", "dataset.root=/x"])
    assert config["task"]["model"]["output_stride"] == 16
    assert (config["steps"], config["epochs"]) == (7, None)
    config = compose(["experiment=pascal", "model=dpt_dinov2_s", "optimizer=sgd", "optimizer.lr=3", "dataset.root=/x"])
    assert config["optimizer"]["_target_"] == "torch.optim.SGD"
    assert config["optimizer"]["lr"] == 3
    assert config["epochs"] == 60


def test_an_algorithm_brings_its_selector_and_the_user_may_choose_another() -> None:
    def selector(*overrides: str) -> str:
        return str(compose([*overrides])["algorithm"]["selector"]["_target_"])

    assert selector("algorithm=unimatch") == "residual_ssl.FixedThreshold"
    assert selector("algorithm=csl") == "residual_ssl.ConvexSelector"
    assert selector("experiment=digits", "algorithm=unimatch", "selector=csl") == "residual_ssl.ConvexSelector"
    assert selector("algorithm=unimatch", "selector=none") == "residual_ssl.selection.TrustAll"


def test_the_run_directory_follows_from_the_choices() -> None:
    assert compose(["algorithm=unimatch", "seed=3"])["run_dir"] == "runs/digit_scenes/unimatch-fixed_threshold-3"
    assert compose(["algorithm=supervised"])["run_dir"] == "runs/digit_scenes/supervised-0"
    place = ["dataset.root=/x", "experiment=pascal", "algorithm=csl"]
    assert compose([*place, "split=1_16"])["run_dir"] == "runs/pascal/1_16/csl-csl-0"
    assert compose(["run_dir=here"])["run_dir"] == "here"


@pytest.mark.parametrize("split", ["1_16", "366", "u2pl_1_8", "mine"])
def test_a_split_is_named_as_published_and_leads_to_its_two_lists(split: str) -> None:
    place = ["dataset.root=/voc", "dataset.splits=/lists", f"split={split}"]
    assert compose(["dataset=pascal", *place]) == compose(["dataset=pascal", *place[:-1], f"dataset.split={split}"])
    source = compose(["dataset=pascal", *place])["task"]["source"]
    assert source["labelled"] == f"/lists/{split}/labeled.txt"
    assert source["unlabelled"] == f"/lists/{split}/unlabeled.txt"


def test_choices_of_the_users_own_are_found(tmp_path: Path) -> None:
    (tmp_path / "selector").mkdir()
    (tmp_path / "selector" / "mine.yaml").write_text("_target_: residual_ssl.FixedThreshold\nthreshold: 0.5\n")
    config = compose(["algorithm=unimatch", "selector=mine"], config_dir=tmp_path)
    assert config["algorithm"]["selector"]["threshold"] == 0.5


def test_a_choice_by_itself_is_what_a_run_gets() -> None:
    for name in ("csl", "fixed_threshold"):
        run = compose(["algorithm=unimatch", f"selector={name}"])["algorithm"]["selector"]
        assert compose_choice("selector", name) == run
    assert compose_choice("selector", "fixed_threshold", ["threshold=0.5"])["threshold"] == 0.5


def test_a_choice_by_itself_that_does_not_exist_is_named_with_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError, match=r"selector: got 'fixed', expected one of .*; did you mean 'fixed_threshold'\?"
    ):
        compose_choice("selector", "fixed")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("stepz=5", r"stepz: no such key; did you mean 'steps'\?"),
        ("algorithm=cls", r"algorithm: got 'cls', expected one of .*csl, csl_cvxpylayers, cutmix_seg, "),
        ("dataset=camvid", r"dataset.root: has no default; give it, dataset.root=VALUE"),
        ("steps=", r"steps"),
    ],
)
def test_a_wrong_override_gives_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Settings.from_config(compose([override]))
    assert len(str(caught.value).splitlines()) == 1


def test_a_key_of_an_empty_mapping_is_told_how_to_be_added() -> None:
    data = ["dataset=frozen_images", "dataset.path=imagefolder", "dataset.classes=[a,b]", "dataset.split=2"]
    data.append("dataset.backbone.name=resnet18")
    with pytest.raises(ConfigError, match=r"backbone_options is empty, and takes it as \+dataset\.\S+\.depth=VALUE$"):
        compose([*data, "dataset.backbone.backbone_options={depth: 1}"])
    made = compose([*data, "+dataset.backbone.backbone_options.depth=1"])
    assert made["task"]["backbone"]["backbone_options"] == {"depth": 1}


def test_a_relative_folder_of_data_is_kept_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.chdir(tmp_path)
    given = ["dataset=folders", "dataset.classes=[a,b]", "dataset.labelled=2"]
    assert compose([*given, "dataset.root=data"])["task"]["source"]["root"] == str(tmp_path / "data")
    assert compose([*given, "dataset.root=nowhere"])["task"]["source"]["root"] == "nowhere"


def test_a_missing_config_folder_is_named() -> None:
    with pytest.raises(MissingDataError, match=r"config_dir: got /nowhere"):
        compose(config_dir="/nowhere")


def test_every_fault_of_the_settings_is_listed() -> None:
    config = compose(["experiment=digits", "algorithm=csl"])
    config |= {"steps": 0, "precision": "bf8", "epoch": 3, "seed": -1}
    config["algorithm"]["branches"]["strong"]["wait"] = 1
    del config["optimizer"]
    with pytest.raises(ConfigError) as caught:
        Settings.from_config(config)
    text = str(caught.value)
    for fault in (
        "epoch: no such setting; did you mean 'epochs'?",
        "optimizer: missing",
        "steps: got 0, expected a number ≥ 1",
        "seed: got -1",
        "precision: got 'bf8'",
        "algorithm.branches.strong.wait: residual_ssl.algorithms.InputBranch takes no such key",
    ):
        assert fault in text
    assert len(text.splitlines()) == 6
