"""SeriesTask: the contract of all tasks, views, files, training, prediction."""

import csv
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from residual_ssl_series import DrawnHeartbeats, SeriesFile, SeriesResNet, Shift, TimeWarp

from residual_ssl import TrustedMask, compose, predict, train
from residual_ssl.config.components import build
from residual_ssl.errors import ConfigError, DataError, MissingDataError
from residual_ssl.testing import TaskContract

SHORT = ["device=cpu", "trackers=[]", "steps=2", "warmup_steps=0", "labelled_batch=4", "unlabelled_batch=4",
         "evaluate_every=2", "model.widths=[8,8]", "dataset.count=24", "dataset.validation_count=8",
         "dataset.labelled=8"]  # fmt: skip


@cache
def tiny(experiment: str, *overrides: str) -> dict[str, Any]:
    return compose([f"experiment={experiment}", *SHORT, *overrides])


class TestSeries(TaskContract):
    @pytest.fixture
    def task(self) -> Any:
        return build(tiny("series")["task"], "task")


class TestSeriesLabels(TaskContract):
    @pytest.fixture
    def task(self) -> Any:
        return build(tiny("series_labels")["task"], "task")


@pytest.mark.parametrize(
    "choice", ["series algorithm=csl", "series algorithm=fixmatch selector=freematch", "series_labels algorithm=csl"]
)
def test_it_trains_with_any_algorithm(choice: str, tmp_path: Path) -> None:
    result = train(tiny(*choice.split(), f"run_dir={tmp_path / 'run'}"))
    assert 0 < result.last["map" if "labels" in choice else "accuracy"] <= 100


def test_a_mask_hides_stretches_of_time() -> None:
    x = torch.ones(2, 3, 100)
    masked, mask = TrustedMask(ratio=1.0, block=20, probability=1.0)(x, torch.tensor([True, False]))
    assert mask.tolist() == [[True] * 100, [False] * 100]
    assert not masked[0].any()


def test_time_warps_keep_the_ends_and_the_order() -> None:
    torch.manual_seed(0)
    x = torch.linspace(0, 1, 200).expand(4, 2, 200)
    warped = TimeWarp(0.5)(x)
    torch.testing.assert_close(warped[..., [0, -1]], x[..., [0, -1]], atol=1e-5, rtol=0)
    assert (warped.diff() >= -1e-6).all()
    assert 0.01 < (warped - x).abs().max() < 0.5
    assert not torch.allclose(warped[0], warped[1])
    torch.testing.assert_close(TimeWarp(0.0)(x), x, atol=1e-5, rtol=0)


def test_the_weak_view_goes_round() -> None:
    recording = torch.randn(2, 50)
    plain = Shift(2, 50, 20).plain(recording)
    torch.testing.assert_close(plain.std(1, correction=0), torch.ones(2))
    places = set()
    for seed in range(20):
        view = Shift(2, 50, 20)(recording, torch.Generator().manual_seed(seed))
        place = next(steps for steps in range(-20, 21) if torch.equal(view, plain.roll(steps, 1)))
        places.add(place)
    assert len(places) > 5


def test_drawn_beats_have_the_rate_of_their_class() -> None:
    beats = DrawnHeartbeats("train", 40)
    peaks = {}
    for kind in range(2):  # normal and fast
        signals = [beats[i].image[0] for i in range(40) if beats.labels[i] == kind]
        counts = []
        for signal in signals:
            high = signal > signal.min() + 0.6 * (signal.max() - signal.min())
            counts.append(int((high[1:] & ~high[:-1]).sum()))
        peaks[kind] = float(np.median(counts))
    assert 4 <= peaks[0] <= 7
    assert peaks[1] > 1.5 * peaks[0]


@pytest.mark.parametrize("ending", [".npz", ".parquet", ".csv"])
def test_files_train_and_recordings_are_predicted(ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("train", "val"):
        signals = rng.standard_normal((12, 40)).astype(np.float32)
        labels = ["low", "high"] * 6
        path = tmp_path / f"{name}{ending}"
        if ending == ".npz":
            np.savez(path, signals=signals[:, None], labels=np.array(labels))
        elif ending == ".parquet":
            import pyarrow as pa
            import pyarrow.parquet as pq

            pq.write_table(pa.table({"signal": signals.tolist(), "label": labels}), path)
        else:
            with path.open("w", newline="") as file:
                csv.writer(file).writerows([label, *row] for label, row in zip(labels, signals.tolist(), strict=True))
        torch.testing.assert_close(SeriesFile(path, ["low", "high"])[3].image[0], torch.from_numpy(signals[3]))
        assert SeriesFile(path, ["low", "high"]).labels[:2] == (0, 1)
    if ending == ".csv":
        return
    data = [f"dataset.train={tmp_path / f'train{ending}'}", f"dataset.validation={tmp_path / f'val{ending}'}"]
    data += ["dataset=series_files", "dataset.classes=[low,high]", "dataset.labelled=4", "dataset.length=40"]
    train(compose([*data, *SHORT[:-3], "algorithm=fixmatch", f"run_dir={tmp_path / 'run'}"]))
    np.save(tmp_path / "one.npy", np.zeros((1, 40), np.float32))
    (table,) = predict(tmp_path / "run", tmp_path / "one.npy", tmp_path / "out")
    assert table.read_text().startswith("file,label,confidence,trust")


def test_faults_are_named(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match="is not a file"):
        SeriesFile(tmp_path / "none.npz", ["a", "b"])
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"bad\.npz: the recordings cannot be read"):
        SeriesFile(tmp_path / "bad.npz", ["a", "b"])
    np.savez(tmp_path / "many.npz", signals=np.zeros((2, 1, 5)), labels=np.zeros((2, 3)))
    with pytest.raises(ConfigError, match=r"has labels of shape \(2, 3\), expected one of each"):
        SeriesFile(tmp_path / "many.npz", ["a", "b"], several=True)
    with pytest.raises(DataError, match=r"recording: got shape \(1, 5\), expected finite numbers of shape \(1, 6\)"):
        Shift(1, 6).plain(torch.zeros(1, 5))


def test_a_network_of_any_length() -> None:
    assert SeriesResNet(3, in_channels=2, widths=(8, 8))(torch.randn(4, 2, 77)).shape == (4, 3)
