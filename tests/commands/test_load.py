"""A trained run as an object."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.tiny_runs import tiny_config, tiny_digits
from PIL import Image

from residual_ssl import load, train
from residual_ssl.errors import InvalidInputError, MissingDataError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense") / "run"
    train(tiny_config(folder, "algorithm=supervised", "steps=1", "evaluate_every=1"))
    return folder


def test_every_kind_of_image_gives_the_same_prediction(run: Path, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    model = load(run, device="cpu")
    first = model.predict(tmp_path / "a.png")
    assert first.label.shape == first.confidence.shape == first.trust.shape == (40, 56)
    tensor = torch.from_numpy(pixels).movedim(-1, 0)
    for other in (str(tmp_path / "a.png"), Image.fromarray(pixels), pixels, tensor, tensor / 255):
        again = model.predict(other)
        assert torch.equal(again.label, first.label)
        torch.testing.assert_close(again.trust, first.trust)
    (of_folder,) = model.predict(tmp_path)
    assert torch.equal(of_folder.label, first.label)


def test_a_prediction_is_drawn_saved_and_shown(run: Path, tmp_path: Path) -> None:
    prediction = load(run, device="cpu").predict(np.zeros((32, 32, 3), np.uint8))
    names = [path.name for path in prediction.save(tmp_path / "out", "photo")]
    assert names == [f"photo_{kind}.png" for kind in ("label", "overlay", "confidence", "trust")]
    assert len(prediction.plot().axes) == 3
    assert prediction._repr_html_().count("<img") == 3
    assert set(prediction.names) <= set(prediction.class_names)
    assert prediction.plot()._repr_png_().startswith(b"\x89PNG")  # notebooks ask for it
    assert repr(prediction).startswith("Prediction(32×32, ")


def test_whole_images_have_one_class_each(tmp_path: Path) -> None:
    result = train(tiny_digits(tmp_path / "run", "algorithm=supervised", "steps=1", "evaluate_every=1"))
    model = load(result, device="cpu")
    both = model.predict([np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 200, np.uint8)])
    assert [prediction.label.shape for prediction in both] == [(), ()]
    assert both[0].names in model.class_names
    assert both[0].save(tmp_path / "out")[0].name == "prediction.json"
    assert "confidence" in both[0]._repr_html_()
    assert len(both[0].plot().axes) == 1
    assert repr(both[0]).startswith(f"Prediction({both[0].names}: confidence 0.")


def test_what_is_no_run_and_no_image_is_named(run: Path) -> None:
    with pytest.raises(MissingDataError, match="run: got user/model, no such run directory"):
        load("user/model")
    with pytest.raises(InvalidInputError, match="inputs: got int"):
        load(run, device="cpu").predict(3)
    with pytest.raises(InvalidInputError, match=r"got an array float64 of shape \(4, 4\)"):
        load(run, device="cpu").predict(np.zeros((4, 4)))
