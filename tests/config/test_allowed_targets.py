"""What configurations may name: nothing runs that was not asked for."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.tiny_runs import tiny_config

from residual_ssl import compose, evaluate, predict, train
from residual_ssl.commands.report import write_report
from residual_ssl.config.allowed_targets import VARIABLE, locate
from residual_ssl.config.components import build, faults
from residual_ssl.data.tables.table import load_table
from residual_ssl.errors import ConfigError, ResidualSSLError
from residual_ssl.runtime import checkpoint

COMMANDS = [
    {"_target_": "os.system", "command": "touch {flag}"},
    {"_target_": "posix.system", "command": "touch {flag}"},
    {"_target_": "subprocess.check_call", "args": ["touch", "{flag}"]},
    {"_target_": "builtins.open", "file": "{flag}", "mode": "w"},
    {"_target_": "builtins.exec", "_partial_": True},
    {"_target_": "pathlib.Path.touch", "self": "{flag}"},
    {"_target_": "shutil.copyfile", "src": "/dev/null", "dst": "{flag}"},
    {"_target_": "pandas.read_pickle", "filepath_or_buffer": "{flag}"},
    {"_target_": "torch.load", "f": "{flag}", "weights_only": False},
    {"_target_": "torch.save", "obj": 1, "f": "{flag}"},
    {"_target_": "torch.hub.load", "repo_or_dir": "{flag}", "model": "x"},
    {"_target_": "numpy.load", "file": "{flag}", "allow_pickle": True},
]
# The same objects, reached through modules that are allowed.
DETOURS = [
    "residual_ssl.runtime.checkpoint.os.system",
    "residual_ssl.config.allowed_targets.importlib.import_module",
    "residual_ssl.runtime.checkpoint.torch.load",
    "torch.nn.modules.module.warnings.warn",
    "torch.optim.optimizer.functools.partial",
    "torchmetrics.metric.functools.partial",
    "timm.models._hub.torch.load",
]
# What of this library writes files or starts work.
OF_OURS = [
    "residual_ssl.train",
    "residual_ssl.runtime.checkpoint.save",
    "residual_ssl.config.components.build",
    "residual_ssl.config.allowed_targets.allow",
    "residual_ssl.data.make_split",
    "residual_ssl.cli.main",
]


def _with_flag(value: Any, flag: Path) -> Any:
    if isinstance(value, dict):
        return {key: _with_flag(item, flag) for key, item in value.items()}
    if isinstance(value, list):
        return [_with_flag(item, flag) for item in value]
    return value.format(flag=flag) if isinstance(value, str) else value


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "run"
    train(tiny_config(folder, "steps=1", "algorithm=csl"))
    return folder


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command["_target_"]))
def test_a_configuration_calls_nothing_outside_the_list(command: dict[str, Any], tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    with pytest.raises(ConfigError, match=r"part\._target_: got .* may not call"):
        build({"part": _with_flag(command, flag)})
    assert not flag.exists()


@pytest.mark.parametrize("dotted", DETOURS + OF_OURS)
def test_what_counts_is_the_object_and_not_its_spelling(dotted: str) -> None:
    with pytest.raises(ConfigError, match=r"may not call|expected the dotted path"):
        locate(dotted)


@pytest.mark.parametrize(
    "dotted",
    [
        "torch.nn.Linear", "torch.optim.AdamW", "torch.optim.lr_scheduler.CosineAnnealingLR", "timm.create_model",
        "torchvision.transforms.v2.RandomErasing", "torchmetrics.JaccardIndex",
        "sklearn.preprocessing.StandardScaler", "residual_ssl.ConvexSelector",
        "residual_ssl.losses.selected_cross_entropy",
    ],
)  # fmt: skip
def test_components_may_be_named(dotted: str) -> None:
    assert callable(locate(dotted))


def test_nothing_is_imported_while_faults_are_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "strange_module.py").write_text(f"open({str(tmp_path / 'flag')!r}, 'w')\ndef make(): return 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    found = faults({"_target_": "strange_module.make"}, "model")
    assert "--allow strange_module" in found[0]
    assert not (tmp_path / "flag").exists()
    assert "strange_module" not in sys.modules
    monkeypatch.setenv(VARIABLE, "other, strange_module")
    assert build({"_target_": "strange_module.make"}, "model") == 1


@pytest.mark.parametrize("command", COMMANDS[:4], ids=lambda command: str(command["_target_"]))
@pytest.mark.parametrize("place", ["light", "source", "algorithm"])
def test_a_checkpoint_runs_nothing(run: Path, command: dict[str, Any], place: str, tmp_path: Path) -> None:
    flag, foreign = tmp_path / "flag", tmp_path / "foreign"
    foreign.mkdir()
    for name in ("best.pt", "last.pt"):
        stored = torch.load(run / name, weights_only=True)
        where = stored["config"]["algorithm"] if place == "algorithm" else stored["config"]["task"]
        where["selector" if place == "algorithm" else place] = _with_flag(command, flag)
        torch.save(stored, foreign / name)
        checkpoint.load(foreign / name)
    for name in ("log.jsonl", "config.json", "effective.json", "result.json"):
        (foreign / name).write_text((run / name).read_text())
    picture = tmp_path / "photo.png"
    picture.write_bytes(b"")
    for use in (
        lambda: evaluate(foreign, device="cpu"),
        lambda: predict(foreign, picture, tmp_path / "out", device="cpu"),
        lambda: write_report([foreign], tmp_path / "report.html"),
    ):
        with pytest.raises(ResidualSSLError, match="may not call"):
            use()
    assert not flag.exists()


@pytest.mark.parametrize("value", ["${oc.env:HOME}", "a/${oc.env:HOME,x}/b", "${hydra:runtime.cwd}"])
def test_what_is_outside_a_configuration_reaches_no_file(value: str, tmp_path: Path) -> None:
    (tmp_path / "dataset").mkdir()
    (tmp_path / "dataset" / "mine.yaml").write_text(f"defaults: [folders]\nroot: {value}\nclasses: [a, b]\n")
    with pytest.raises(ConfigError, match=r"root: got .* outside the configuration"):
        compose(["dataset=mine", "dataset.labelled=2"], config_dir=tmp_path)


def test_pickles_are_no_tables() -> None:
    with pytest.raises(ConfigError, match="path: got 'pandas'"):
        load_table("pandas", "train", {"data_files": "rows.pkl"})


def test_the_command_allows_packages(tmp_path: Path) -> None:
    (tmp_path / "mynet.py").write_text(
        "import torch\ndef make(num_classes):\n    return torch.nn.Conv2d(3, num_classes, 3, padding=1)\n"
    )
    command = [
        sys.executable, "-m", "residual_ssl.cli", "train", "experiment=digits", "algorithm=supervised", "steps=1",
        "device=cpu", "labelled_batch=2",
        *(f"dataset.source.{part}=4" for part in ("labelled", "unlabelled", "validation")),
        "model={_target_: mynet.make, _partial_: true}", f"run_dir={tmp_path / 'run'}",
    ]  # fmt: skip
    refused = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.strip().splitlines()[-1].endswith("RESIDUAL_SSL_ALLOW=mynet")
    allowed = subprocess.run([*command, "--allow", "mynet"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert allowed.returncode == 0, allowed.stderr
