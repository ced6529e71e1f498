"""Models as people exchange them: a folder of safetensors and JSON that predicts as the run does, and runs nothing."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.folder_sets import folder_config, write_folders
from helpers.tiny_runs import tiny_digits
from PIL import Image

import residual_ssl
from residual_ssl import evaluate, load, train
from residual_ssl.cli import main
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import CheckpointError, ConfigError, MissingDataError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of segmentation with a selector that has a memory, on folders with a map of labels."""
    root = tmp_path_factory.mktemp("shared")
    write_folders(root, mask=lambda ids: ids * 7)
    memory = ("selector=freematch", "++selector.momentum=0.1", "steps=6")
    train(folder_config(root, "algorithm=fixmatch", *memory, "dataset.label_map={0: 0, 7: 1}"))
    return root / "run"


@pytest.fixture(scope="module")
def shared(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("given") / "model"
    assert main(["share", str(run), "--out", str(folder)]) == 0
    return folder


def test_a_shared_model_predicts_as_its_run(run: Path, shared: Path) -> None:
    image = np.random.default_rng(0).integers(0, 255, (40, 48, 3), dtype=np.uint8)
    first, second = load(run).predict(image), load(shared).predict(image)
    assert torch.equal(first.label, second.label)
    assert torch.equal(first.confidence, second.confidence)
    assert torch.equal(first.trust, second.trust)
    known = torch.load(run / "best.pt", weights_only=True)["selector"]
    given = load_run(shared).algorithm.selector.state_dict()
    assert known.keys() == given.keys()
    assert all(torch.equal(given[name], value) for name, value in known.items())
    assert (known["mean"] != 0.5).any()  # where it begins, with two classes


def test_the_folder_holds_safetensors_json_and_a_card(run: Path, shared: Path) -> None:
    assert {path.name for path in shared.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    card = (shared / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: residual_ssl\npipeline_tag: image-segmentation\n")
    result = json.loads((run / "result.json").read_text())
    assert f"| miou | {result['best']['miou']:.2f} |" in card
    assert "FreeMatchThreshold" in card
    assert 'residual_ssl.load("FOLDER OR user/model")' in card
    description = json.loads((shared / "config.json").read_text())
    assert description["class_names"] == ["ground", "box"]
    assert description["library"] == f"residual_ssl {residual_ssl.__version__}"


def test_no_folder_of_this_machine_goes_along(run: Path, shared: Path) -> None:
    for path in shared.iterdir():
        assert str(run.parent).encode() not in path.read_bytes(), path


def test_where_the_data_are_can_be_said(run: Path, shared: Path) -> None:
    with pytest.raises(MissingDataError):
        evaluate(shared)
    assert evaluate(shared, changes=[f"dataset.root={run.parent}"]) == evaluate(run)


def test_a_model_of_vectors_or_classes_is_shared_too(tmp_path: Path) -> None:
    train(tiny_digits(tmp_path / "run", "algorithm=csl"))
    folder = load(tmp_path / "run").save_pretrained(tmp_path / "given")
    image = np.zeros((8, 8, 3), np.uint8)
    assert load(folder).predict(image).confidence == load(tmp_path / "run").predict(image).confidence
    assert "pipeline_tag: image-classification" in (folder / "README.md").read_text()


def test_what_a_stranger_sends_runs_no_code(shared: Path, tmp_path: Path) -> None:
    description = json.loads((shared / "config.json").read_text())
    description["config"]["task"]["model"] = {"_target_": "os.system", "command": f"touch {tmp_path / 'ran'}"}
    for name in ("model.safetensors", "README.md"):
        (tmp_path / name).write_bytes((shared / name).read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(description))
    with pytest.raises(ConfigError, match=r"os\.system"):
        load(tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_damaged_folder_is_one_line(shared: Path, tmp_path: Path, name: str) -> None:
    for path in shared.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_bytes((shared / name).read_bytes()[:100])
    with pytest.raises(CheckpointError, match=r"cannot be read"):
        load(tmp_path)


def test_what_is_nowhere_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(MissingDataError, match=r"run: got /no/where, no such run directory, shared folder"):
        load("/no/where")
    with pytest.raises(MissingDataError, match=r"run: got nobody/nothing, .* and the hub does not give it"):
        load("nobody/nothing")
    assert main(["share", str(tmp_path)]) == 2
    assert "expected --out FOLDER or --hub USER/MODEL, one of the two" in capsys.readouterr().err


def test_the_hub_gets_the_same_folder(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    seen: dict[str, object] = {}

    class Hub:
        def __init__(self, token: str | None = None) -> None:
            seen["token"] = token

        def create_repo(self, repository: str, private: bool, exist_ok: bool) -> str:
            return f"https://hub/{repository}"

        def upload_folder(self, repo_id: str, folder_path: str, commit_message: str) -> None:
            seen["files"] = sorted(path.name for path in Path(folder_path).iterdir())

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert load(run).push_to_hub("me/model", token="secret") == "https://hub/me/model"
    assert seen == {"token": "secret", "files": ["README.md", "config.json", "model.safetensors"]}


def test_a_downloaded_folder_is_loaded(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, allow_patterns: str(shared))
    image = Image.fromarray(np.zeros((32, 32, 3), np.uint8))
    assert load("me/model").predict(image).label.shape == (32, 32)
