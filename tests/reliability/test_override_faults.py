"""Overrides as people type them: any path, any name of a class, every misspelt key at once."""

from pathlib import Path
from typing import Any

import pytest

from residual_ssl import compose
from residual_ssl.errors import ConfigError

FOLDERS = ("dataset=folders", "dataset.labelled=2")
ROOTS = [
    "/data/plain", "/data/日本", "/data/Zürich", "/data/work (2)", "/data/R&D", "/data/a,b", "/data/a=b", "/it's",
    "/data/[1]", "/data/{x}", "C:\\new\\", "\\\\server\\share\\", "100", "1e3", "true", " leading", "a:b", "~/photos",
    "/p/*/x", "/a#b", "/50%", "/tab\there", "/back\\'slash",
]  # fmt: skip


def said(*overrides: str) -> str:
    with pytest.raises(ConfigError) as fault:
        compose(overrides)
    return str(fault.value)


@pytest.mark.parametrize("root", ROOTS)
def test_a_path_is_taken_as_the_file_system_has_it(root: str) -> None:
    config = compose([*FOLDERS, f"dataset.root={root}", "dataset.classes=[a,b]", f"run_dir={root}"])
    assert (config["task"]["source"]["root"], config["run_dir"]) == (root, root)


@pytest.mark.parametrize("text", ["Straße (alt)", "木, 林", "R&D", "it's"])
def test_any_other_text_is_taken_as_text_too(text: str) -> None:
    config = compose([*FOLDERS, "dataset.root=x", "dataset.classes=[a,b]", f"+dataset.source.note={text}"])
    assert config["task"]["source"]["note"] == text


def test_what_has_a_meaning_keeps_it() -> None:
    config = compose(["experiment=digits", "init_from=null", "steps=3", "+model.widths=[4,8]"])
    assert (config["init_from"], config["steps"], config["task"]["model"]["widths"]) == (None, 3, [4, 8])


@pytest.mark.parametrize("folder", ["用户", "a b", "x,y", "it's", "R&D (2)", "a=b", "[1]"])
def test_a_configuration_folder_may_have_any_name(folder: str, tmp_path: Path) -> None:
    place = tmp_path / folder
    (place / "selector").mkdir(parents=True)
    (place / "selector" / "mine.yaml").write_text("_target_: residual_ssl.FixedThreshold\nthreshold: 0.5\n")
    config = compose(["algorithm=fixmatch", "selector=mine"], config_dir=place)
    assert config["algorithm"]["selector"]["threshold"] == 0.5


def test_a_list_that_cannot_be_read_shows_its_quoting_and_the_quoting_works() -> None:
    given = "dataset.classes=[Straße,木 (alt)]"
    message = said(*FOLDERS, "dataset.root=x", given)
    assert message.startswith("dataset.classes: got [Straße,木 (alt)], which cannot be read")
    shown = message.rpartition(' as "')[2].removesuffix('"')
    assert compose([*FOLDERS, "dataset.root=x", shown])["task"]["spec"]["classes"] == ["Straße", "木 (alt)"]


def test_all_misspelt_keys_are_named_at_once() -> None:
    lines = said("stesp=3", "sede=1", "labeled_batch=2", "dataset.sauce=4").splitlines()
    assert lines[:3] == [
        "stesp: no such key; did you mean 'steps'?",
        "sede: no such key; did you mean 'seed'?",
        "labeled_batch: no such key; did you mean 'labelled_batch'?",
    ]
    assert lines[3] == "dataset.sauce: no such key; did you mean 'dataset.source'?"


FAULTS: dict[str, tuple[list[str], str]] = {
    "inner key of an algorithm": (
        ["algorithm.branches.strong.wieght=3"],
        "algorithm.branches.strong.wieght: no such key; did you mean 'algorithm.branches.strong.weight'?",
    ),
    "argument that is not set": (["selector.alpha=4"], "selector takes it: add it as +selector.alpha=VALUE"),
    "key of another group": (["threshold=0.9", "algorithm=fixmatch"], "did you mean 'selector.threshold'?"),
    "key inside a mapping": (
        ["dataset=table", "dataset.data_files=a.csv", "dataset.columns=[x]", "dataset.num_features=1",
         "dataset.classes=[a,b]", "dataset.transform={max_features: 12}"],
        "dataset.transform.max_features: no such key; dataset.transform takes copy",
    ),
    "key of the data set": (["dataset=camvid", "dataset.rooot=x"], "did you mean 'dataset.root'?"),
    "no key": (["=5"], "=5: got no key before the sign ="),
    "group as a list": (["dataset=[a,b]"], "dataset"),
    "unknown choice": (["algorithm=cls"], "algorithm: got 'cls', expected one of"),
    "interpolation of nothing": (["run_dir=${nowhere}"], "nowhere"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_key_that_is_wrong_is_named_with_what_would_be_right(fault: str) -> None:
    overrides, message = FAULTS[fault]
    assert message in said(*overrides)


def test_no_message_denies_a_key_that_exists() -> None:
    config: dict[str, Any] = compose(["experiment=digits", "algorithm=fixmatch"])
    assert "threshold" in config["algorithm"]["selector"]
    assert "selector.threshold: no such key" not in said("selector.treshold=1", "algorithm=fixmatch")


def test_another_component_in_place_of_one_takes_none_of_its_arguments() -> None:
    threshold = "{_target_:residual_ssl.FixedThreshold,threshold:0.9}"
    config = compose(["selector=softmatch", f"selector.rule={threshold}", "selector.rule.threshold=0.8"])
    assert config["algorithm"]["selector"]["rule"] == {"_target_": "residual_ssl.FixedThreshold", "threshold": 0.8}
    view = "{_target_:residual_ssl.perturbations.CutMix}"
    assert compose([f"algorithm.branches.strong.mix={view}"])["algorithm"]["branches"]["strong"]["mix"] == {
        "_target_": "residual_ssl.perturbations.CutMix"
    }
    with pytest.raises(ConfigError, match=r"selector\.ruler: no such key"):
        compose(["selector=softmatch", f"selector.ruler={threshold}"])
