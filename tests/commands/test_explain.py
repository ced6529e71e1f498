"""What is said of a key: checked against the composed configuration, the files and the docstrings themselves."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from residual_ssl import compose
from residual_ssl.cli import main
from residual_ssl.commands.catalogue import GROUPS, explain, explanation_text
from residual_ssl.commands.catalogue.explain import explained
from residual_ssl.config.docstrings import argument_text, first_sentence
from residual_ssl.config.layers import Layers, compose_layers
from residual_ssl.config.settings import Settings
from residual_ssl.config.yaml_comments import key_comment
from residual_ssl.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"
RUNS = {
    "scenes": ["experiment=digits", "algorithm=csl"],
    "published": ["experiment=pascal", "split=366", "algorithm=csl", "dataset.root=/x", "dataset.splits=/y"],
    "classes": ["experiment=cifar10", "split=40", "algorithm=fixmatch", "dataset.root=/x"],
    "domains": ["experiment=adapt_digit_scenes", "algorithm=dacs"],
}


@cache
def layers_of(run: str) -> Layers:
    return compose_layers(RUNS[run])


def leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and node:
        for name, value in node.items():
            yield from leaves(value, f"{path}.{name}".lstrip("."))
    else:
        yield path, node


@pytest.mark.parametrize("run", RUNS)
def test_the_last_who_sets_a_key_sets_it_to_its_value(run: str) -> None:
    layers = layers_of(run)
    composed = {**layers.values, **{key: value for key, value in compose(RUNS[run]).items() if key != "run_dir"}}
    seen = 0
    for key, value in leaves(composed):
        name = key.rpartition(".")[2]
        if name.startswith("_") or ".." in key or ("." not in key and key in layers.choices):
            continue
        found = explained(key, layers)
        assert found.value == value, key
        if not found.follows and found.set_by and not isinstance(value, dict):
            who, last = found.set_by[-1]
            # Numbers of an override are text.
            assert str(last) == str(value) or (last is None and value is None) or "${" in str(last), (key, who)
            seen += 1
    assert seen > 20


def test_a_published_rule_is_named_with_its_conditions() -> None:
    found = explained("model.output_stride", layers_of("published"))
    assert found.set_by[0] == ("model/deeplabv3plus_r101.yaml", 16)
    assert found.set_by[-1][0].startswith("experiment/pascal.yaml, published, where algorithm=csl*|covar")
    assert found.value == found.set_by[-1][1] == 8


def test_what_the_user_says_wins_and_is_named() -> None:
    found = explain("steps", ["experiment=digits", "steps=17"])
    assert (found.value, found.set_by[-1]) == (17, ("you", 17))


def test_a_key_that_no_file_sets_has_the_default_of_its_class() -> None:
    found = explain("selector.alpha", ["selector=csl"])
    assert (found.value, found.set_by) == (None, (("default of ConvexSelector", None),))
    assert found.takes == "a number > 0 or null"
    assert found.about[0].startswith("ConvexSelector: width of the decay")


def test_a_key_that_another_one_takes_says_what_that_one_does() -> None:
    found = explain("dataset.labelled", ["dataset=folders"])
    assert any(text.startswith("ImageFolders: how many training images") for text in found.about)
    assert any("all, or a text file" in text for text in found.about)  # the file's own comment
    assert found.value == "???"
    through = explain("task.source.labelled", ["dataset=folders"])
    assert through.follows == "dataset.source.labelled"
    assert through.set_by[-1] == ("dataset/folders.yaml", "${dataset.labelled}")


@pytest.mark.parametrize("group", GROUPS.values())
def test_a_group_has_all_its_choices_and_says_who_chose(group: str) -> None:
    layers = layers_of("published")
    found = explained(group, layers)
    assert set(found.choices) == {path.stem for path in (CONFIGS / group).glob("*.yaml")}
    assert found.set_by[-1][1] == found.value == layers.choices[group]


def test_every_setting_is_explained() -> None:
    layers = layers_of("scenes")
    for key in yaml.safe_load((CONFIGS / "train.yaml").read_text()):
        if key != "defaults":
            assert explained(key, layers).about, key


def test_comments_are_found_beside_and_above_a_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    first = "# The file.\n\na: 1   # beside\nb:\n  # above c\n  c: '#no' # of c\n  d: [1]\n"
    path.write_text(f"{first}# above e,\n# in two lines\ne: 2\n")
    keys = (("a",), ("b", "c"), ("b", "d"), ("e",), ("b",), ("f",))
    assert [key_comment(path, key) for key in keys] == ["beside", "of c", "", "above e, in two lines", "", ""]


def test_docstrings_of_arguments_are_read_whole() -> None:
    for name in Settings.__dataclass_fields__:
        assert len(argument_text(Settings, name)) > 15, name
    assert argument_text(Settings, "steps") == argument_text(Settings, "epochs")
    assert "residual_ssl" not in argument_text(Settings, "task")  # the name alone of what is referred to
    assert first_sentence(Settings).startswith("Everything that train needs")


def test_unknown_keys_are_refused_with_close_ones() -> None:
    with pytest.raises(
        ConfigError, match=r"dataset\.geometry\.crob: no such key; did you mean 'dataset.geometry.crop'"
    ):
        explain("dataset.geometry.crob")


def test_the_command_prints_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "optimizer.lr", "experiment=pascal"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("optimizer.lr = 0.001\n")
    assert "experiment/pascal.yaml: 0.001" in text
    assert main(["explain", "optimizer.lr", "experiment=pascal", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["value"] == 0.001
    assert max(map(len, explanation_text(explain("selector"), 80).splitlines())) <= 80
