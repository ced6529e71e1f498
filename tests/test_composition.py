"""Named choices and overrides."""

from pathlib import Path

import pytest

from residual_ssl import compose
from residual_ssl.composition import compose_choice
from residual_ssl.engine.settings import Settings
from residual_ssl.errors import ConfigError, MissingDataError

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("algorithm", [path.stem for path in sorted((CONFIGS / "algorithm").glob("*.yaml"))])
@pytest.mark.parametrize("experiment", [path.stem for path in sorted((CONFIGS / "experiment").glob("*.yaml"))])
def test_every_experiment_composes_with_every_algorithm_and_passes_the_check(experiment: str, algorithm: str) -> None:
    place = ["dataset.root=/somewhere"] if experiment != "digits" else []
    Settings.from_config(compose([f"experiment={experiment}", f"algorithm={algorithm}", *place]))


@pytest.mark.parametrize("name", [path.stem for path in sorted((CONFIGS / "model").glob("*.yaml"))])
def test_every_model_passes_the_check(name: str) -> None:
    Settings.from_config(compose([f"model={name}"]))


@pytest.mark.parametrize(
    ("experiment", "crop", "epochs", "unlabelled", "lr", "head"),
    [
        ("pascal", 321, 80, 10216, 0.001, 10),
        ("cityscapes", 801, 240, 2789, 0.005, 1),
        ("coco", 513, 30, 118287 - 925, 0.004, 10),
        ("ade20k", 518, 60, 20210 - 2526, 0.004, 10),
    ],
)
def test_experiments_have_the_published_settings(
    experiment: str, crop: int, epochs: int, unlabelled: int, lr: float, head: float
) -> None:
    config = compose([f"experiment={experiment}", "dataset.root=/somewhere"])
    assert config["task"]["geometry"]["crop"] == crop
    assert (config["labelled_batch"], config["unlabelled_batch"], config["warmup_steps"], config["power"]) == (
        8,
        8,
        0,
        0.9,
    )
    assert config["steps"] == epochs * unlabelled // 8
    optimizer = config["optimizer"]
    assert (optimizer["_target_"], optimizer["momentum"], optimizer["weight_decay"]) == ("torch.optim.SGD", 0.9, 0.0001)
    assert (optimizer["lr"], config["head_lr_multiplier"]) == (lr, head)


def test_an_algorithm_brings_its_selector_and_the_user_may_choose_another() -> None:
    def selector(*overrides: str) -> str:
        return str(compose([*overrides])["algorithm"]["selector"]["_target_"])

    assert selector("algorithm=unimatch") == "residual_ssl.FixedThreshold"
    assert selector("algorithm=csl") == "residual_ssl.ConvexSelector"
    assert selector("experiment=digits", "algorithm=unimatch", "selector=csl") == "residual_ssl.ConvexSelector"
    assert selector("algorithm=unimatch", "selector=none") == "residual_ssl.selection.NoSelection"


def test_the_run_directory_follows_from_the_choices() -> None:
    assert compose(["algorithm=unimatch", "seed=3"])["run_dir"] == "runs/digit_scenes/unimatch-fixed_threshold-3"
    assert compose(["algorithm=supervised"])["run_dir"] == "runs/digit_scenes/supervised-0"
    assert compose(["run_dir=here"])["run_dir"] == "here"


@pytest.mark.parametrize("split", ["1_16", "366", "u2pl_1_8", "mine"])
def test_a_split_is_named_as_published_and_leads_to_its_two_lists(split: str) -> None:
    place = ["dataset.root=/voc", "dataset.splits=/lists", f"dataset.split={split}"]
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
        ("algorithm=cls", r"algorithm: got 'cls', expected one of csl, fixmatch, supervised, unimatch"),
        ("dataset=camvid", r"dataset.root: has no default; give it, dataset.root=VALUE"),
        ("steps=", r"steps"),
    ],
)
def test_a_wrong_override_gives_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        Settings.from_config(compose([override]))
    assert len(str(caught.value).splitlines()) == 1


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
