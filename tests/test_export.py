"""ONNX files: the logits of torch for images of any size, checked before anything is written."""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers.tiny_runs import tiny_config
from torch import Tensor, nn

from residual_ssl import train
from residual_ssl.cli import main
from residual_ssl.commands.export import export_onnx
from residual_ssl.engine.records.trained import load_run
from residual_ssl.errors import InvalidInputError, MissingPackageError, ResidualSSLError
from residual_ssl.models import DeepLabV3Plus

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


def run(path: Path, x: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["images"]
    return session.run(["logits"], {"images": x.numpy()})[0]


def images(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(7))


def test_a_trained_run_becomes_a_file_that_takes_images_of_any_size(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(tiny_config(tmp_path / "run", "+model.widths=[8,16]", "+model.blocks=1", "steps=2", "evaluate_every=2"))
    capsys.readouterr()
    path = tmp_path / "made" / "model.onnx"
    assert main(["predict", str(tmp_path / "run"), "--format", "onnx", "--out", str(path)]) == 0
    printed = capsys.readouterr().out
    assert f"{path}: images (batch, 3, height, width), float32 in [0, 1], to logits" in printed
    assert "onnxruntime agrees with torch: " in printed
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]

    trained = load_run(tmp_path / "run", device="cpu")
    for shape in ((1, 3, 64, 64), (2, 3, 45, 70)):
        x = images(*shape)
        expected = trained.task.predict(trained.model, x)  # of images in [0, 1]: the file holds the normalisation
        np.testing.assert_allclose(run(path, x), expected.numpy(), atol=1e-5)

    model = onnx.load(path)
    metadata = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert metadata["classes"] == list(trained.task.class_names)
    assert metadata["palette"] == [list(colour) for colour in trained.task.spec.palette]
    assert metadata["inference"] == repr(trained.task.inference)
    assert [d.dim_param or d.dim_value for d in model.graph.output[0].type.tensor_type.shape.dim] == [
        *("batch", 11, "height", "width")
    ]
    assert str(Path(__file__).parents[1]).encode() not in path.read_bytes()  # no paths of this machine


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["resnet18", "mobilenetv2_100"])
def test_deeplabv3plus_is_exported_for_any_size(backbone: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = DeepLabV3Plus(5, backbone, output_stride=16, decoder_channels=8).eval()
    exported = export_onnx(model, images(3, 33, 49), tmp_path / "m.onnx")
    assert exported.shape == ("batch", 3, "height", "width")
    x = images(1, 3, 50, 41)
    with torch.no_grad():
        np.testing.assert_allclose(run(tmp_path / "m.onnx", x), model(x).numpy(), atol=1e-4 * exported.largest)


def test_a_network_for_one_size_is_exported_for_that_size(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 5, 2)).eval()
    exported = export_onnx(network, images(3, 4, 5), tmp_path / "m.onnx")
    assert exported.shape == ("batch", 3, 4, 5)
    assert exported.compared == ((1, 3, 4, 5), (3, 3, 4, 5))
    np.testing.assert_allclose(run(tmp_path / "m.onnx", images(7, 3, 4, 5)).shape, (7, 2))


def test_a_file_that_disagrees_with_torch_is_an_error_and_is_not_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = nn.Linear(3, 2).eval()
    path = tmp_path / "m.onnx"
    path.write_text("what was there before")

    def other_weights(session: Any, *arguments: Any) -> Any:
        return [original(session, *arguments)[0] + 0.01]

    original = onnxruntime.InferenceSession.run
    monkeypatch.setattr(onnxruntime.InferenceSession, "run", other_weights)
    with pytest.raises(ResidualSSLError, match=r"onnxruntime and torch disagree, logits of up to .* differ by 0.01"):
        export_onnx(network, images(3), path)
    assert path.read_text() == "what was there before"
    assert len(list(tmp_path.iterdir())) == 1


def test_logits_that_are_no_numbers_are_no_agreement(tmp_path: Path) -> None:
    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x / (x - x)

    with pytest.raises(ResidualSSLError, match="disagree"):
        export_onnx(Broken(), images(3), tmp_path / "m.onnx")


def test_a_network_that_cannot_be_exported_is_one_clear_line(tmp_path: Path) -> None:
    class Branching(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ResidualSSLError, match="onnx: Branching cannot be exported") as caught:
        export_onnx(Branching(), images(3), tmp_path / "m.onnx")
    assert len(str(caught.value).splitlines()) == 1


def test_missing_packages_name_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    genuine = importlib.import_module

    def without(name: str, *arguments: Any) -> Any:
        if name in ("onnxscript", "onnxruntime"):
            raise ImportError(name)
        return genuine(name, *arguments)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(MissingPackageError, match=r"onnxscript, onnxruntime cannot .* 'residual-ssl\[onnx\]'"):
        export_onnx(nn.Conv2d(3, 2, 1), images(3, 4, 5), tmp_path / "m.onnx")


def test_an_example_with_a_batch_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"example: got torch.float32 of shape \(1, 3, 4, 5, 6\)"):
        export_onnx(nn.Identity(), images(1, 3, 4, 5, 6), tmp_path / "m.onnx")
