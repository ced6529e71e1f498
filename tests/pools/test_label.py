"""Pools in every form are labelled as their images are predicted one by one; each image once, whatever happens."""

import errno
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from helpers.pools import image_folder, parquet_file, pictures, rows_of, summary_of, tar_file
from helpers.tiny_runs import tiny_config, tiny_digits
from PIL import Image

from residual_ssl import load, train
from residual_ssl.cli import main
from residual_ssl.commands.pools import PoolLabeller, label
from residual_ssl.data.pools import quantised, weight_of
from residual_ssl.errors import (
    ConfigError,
    DataError,
    IncompleteError,
    MissingDataError,
    ResidualSSLError,
    ResidualSSLWarning,
)
from residual_ssl.selection.pool import PoolStatistics

COUNT = 23


@pytest.fixture(scope="module")
def pixels_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dense") / "run"
    train(tiny_config(folder, "algorithm=fixmatch", "selector=csl", "steps=2", "evaluate_every=2"))
    return folder


@pytest.fixture(scope="module")
def classes_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(tiny_digits(folder, "algorithm=fixmatch", "selector.threshold=0.15"))
    return folder


def decoded(cell: dict[str, Any]) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(cell["bytes"])))


def test_weights_come_back_within_half_a_step_and_zero_and_one_as_they_are() -> None:
    weight = torch.cat([torch.linspace(0, 1, 5001), torch.tensor([1e-12, 1 - 1e-7])])
    back = weight_of(quantised(weight))
    assert (back - weight).abs()[weight >= 1 / 510].max() <= 1 / 510 + 1e-6
    assert (back - weight).abs().max() <= 1 / 255
    assert ((back == 0) == (weight == 0)).all()
    assert back[0] == 0
    assert back[5000] == 1


def test_maps_are_those_of_predict(pixels_run: Path, tmp_path: Path) -> None:
    contents = pictures(COUNT)
    image_folder(tmp_path / "pool", contents)
    report = label(pixels_run, tmp_path / "pool", tmp_path / "out", shard_size=10, batch=4, device="cpu")
    rows = rows_of(tmp_path / "out")
    assert report.images == len(rows) == COUNT
    assert sorted(row["id"] for row in rows) == sorted(f"{'ab'[i % 2]}/{i:03d}.png" for i in range(COUNT))
    model = load(pixels_run, device="cpu")
    for row in rows[::5]:
        assert row["image"] == {"bytes": None, "path": row["id"]}
        expected = model.predict(tmp_path / "pool" / row["id"])
        assert (decoded(row["label"]) == expected.label.numpy()).all()
        # Another number of images in a batch moves the last bits of a convolution.
        weight = decoded(row["weight"]).astype(int)
        assert abs(weight - quantised(expected.trust).numpy().astype(int)).max() <= 1
        assert (decoded(row["trusted"]) == expected._selection.trusted[0].numpy()).mean() > 0.99
        assert (weight[decoded(row["trusted"])] == 255).all()
        assert row["confidence"] == pytest.approx(float(expected.confidence.mean()), abs=1e-4)
        assert row["coverage"] == pytest.approx(float(expected.trust.mean()), abs=1e-3)
    counts = np.bincount(np.concatenate([decoded(r["label"])[decoded(r["weight"]) > 0] for r in rows]), minlength=11)
    assert list(report.label_counts.values()) == counts.tolist()
    assert report.coverage == pytest.approx(np.mean([row["coverage"] for row in rows]), abs=1e-6)
    assert not list((tmp_path / "out").rglob(".*"))


def test_every_form_of_a_pool_gives_the_same_labels(classes_run: Path, tmp_path: Path) -> None:
    contents = pictures(COUNT, (8, 8))
    image_folder(tmp_path / "images", contents, ("x",))
    parquet_file(tmp_path / "tables" / "a.parquet", contents[:9])
    parquet_file(tmp_path / "tables" / "b.parquet", contents[9:])
    tar_file(tmp_path / "shards" / "0.tar", contents[:9])
    tar_file(tmp_path / "shards" / "1.tar", contents[9:])
    (tmp_path / "list.txt").write_text("".join(f"x/{i:03d}.png\n" for i in range(COUNT)))
    forms = {
        "images": [tmp_path / "images"],
        "pattern": [f"{tmp_path}/images/**/*.png"],
        "list": [tmp_path / "list.txt"],
        "tables": [tmp_path / "tables"],
        "shards": [tmp_path / "shards" / "0.tar", tmp_path / "shards" / "1.tar"],
    }
    predictions = load(classes_run, device="cpu").predict(
        [tmp_path / "images" / "x" / f"{i:03d}.png" for i in range(COUNT)]
    )
    median = torch.stack([one.confidence for one in predictions]).median() + 1e-6
    chosen = f"fixed_threshold:threshold={median:.6f}"
    found = {}
    for name, pool in forms.items():
        root = tmp_path / "images" if name == "list" else None
        settings: dict[str, Any] = {"selector": chosen, "root": root, "shard_size": 7, "device": "cpu"}
        report = label(classes_run, pool, tmp_path / "out" / name, **settings)
        assert report.images == COUNT
        rows = rows_of(tmp_path / "out" / name)
        assert len({row["id"] for row in rows}) == COUNT
        found[name] = [(row["label"], row["weight"], row["trusted"]) for row in rows]
    assert all(rows == found["images"] for rows in found.values())
    assert {weight for _, weight, _ in found["images"]} == {0, 255}
    tables = rows_of(tmp_path / "out" / "tables")
    assert [row["id"] for row in tables][8:10] == ["a.parquet/000008", "b.parquet/000000"]
    assert tables[9]["image"]["bytes"] == contents[9]
    shards = rows_of(tmp_path / "out" / "shards")
    assert shards[0]["id"] == "0.tar/000.png"
    # A shard of a table is whole row groups, of at least so many rows.
    assert summary_of(tmp_path / "out" / "tables")["rows"] == [8, 1, 8, 6]


def test_hugging_face_datasets_reads_the_result(classes_run: Path, pixels_run: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    parquet_file(tmp_path / "a.parquet", pictures(5))
    for run in (classes_run, pixels_run):
        out = tmp_path / run.parent.name
        label(run, tmp_path / "a.parquet", out, device="cpu")
        files = str(out / "labels" / "*.parquet")
        table = load_dataset("parquet", data_files=files, split="train", cache_dir=str(tmp_path / "cache"))
        assert table[0]["image"].size == (24, 20)
        if run is pixels_run:
            assert table[0]["label"].size == (24, 20)
        else:
            assert table.features["label"].names == [str(i) for i in range(10)]


def test_the_unlabelled_set_of_the_run_is_a_pool(pixels_run: Path, tmp_path: Path) -> None:
    assert main(["label", str(pixels_run), "run:unlabelled", "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
    source = load(pixels_run, device="cpu").task.source  # type: ignore[attr-defined]
    rows = rows_of(tmp_path / "out")
    assert [row["id"] for row in rows] == [sample.name for sample in source.unlabelled]
    assert (decoded(rows[3]["image"]) == source.unlabelled[3].image.movedim(0, -1).numpy()).all()


def test_a_selector_that_compares_judges_the_pool_as_a_whole(classes_run: Path, tmp_path: Path) -> None:
    parquet_file(tmp_path / "a.parquet", pictures(200, (8, 8)), group=10)
    chosen = "top_fraction:fraction=0.4"
    report = label(classes_run, tmp_path / "a.parquet", tmp_path / "out", selector=chosen, shard_size=20, device="cpu")
    assert len(list((tmp_path / "out" / "statistics").iterdir())) == 10
    rows = rows_of(tmp_path / "out")
    order = sorted(rows, key=lambda row: -row["confidence"])
    kept = sum(row["trusted"] for row in rows)
    assert [row["trusted"] for row in order] == [True] * kept + [False] * (len(rows) - kept)
    # The edge of a bin, 1/256 wide here, that is nearest to 80 of 200.
    at = order[79]["confidence"]
    assert abs(kept - 80) <= sum(abs(row["confidence"] - at) <= 1 / 256 for row in rows)
    assert report.coverage == pytest.approx(kept / 200)
    # Shard by shard each would have kept its own 40 %.
    assert {sum(row["trusted"] for row in rows[i : i + 20]) for i in range(0, 200, 20)} != {8}


def test_an_unreadable_image_is_left_out_counted_and_named(classes_run: Path, tmp_path: Path) -> None:
    contents: list[bytes | None] = [*pictures(10, (8, 8))]
    contents[3], contents[7] = b"no image", None
    parquet_file(tmp_path / "a.parquet", contents)
    with pytest.warns(ResidualSSLWarning, match="image left out: a.parquet/00000"):
        report = label(classes_run, tmp_path / "a.parquet", tmp_path / "out", shard_size=4, device="cpu")
    assert (report.images, report.skipped) == (8, 2)
    named = summary_of(tmp_path / "out")["skipped_images"]
    assert [one["id"] for one in named] == ["a.parquet/000003", "a.parquet/000007"]
    assert "cannot be read" in named[0]["reason"]
    assert "the cell is empty" in named[1]["reason"]
    assert "BytesIO" not in json.dumps(named)


def test_too_many_unreadable_images_stop_the_work_and_more_may_be_allowed(classes_run: Path, tmp_path: Path) -> None:
    contents = [content if i % 3 else b"no image" for i, content in enumerate(pictures(12, (8, 8)))]
    image_folder(tmp_path / "pool", contents)
    call = ["label", str(classes_run), str(tmp_path / "pool"), "--out", str(tmp_path / "out"), "--shard-size", "4"]
    for _ in range(2):  # what was finished counts again
        assert main([*call, "--max-errors", "2"]) == 2
        assert len(list((tmp_path / "out" / "labels").iterdir())) == 1
    assert main([*call, "--max-errors", "4"]) == 0
    assert summary_of(tmp_path / "out")["skipped"] == 4


def test_an_unreadable_shard_is_named_and_done_when_it_is_mended(
    classes_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contents = pictures(12, (8, 8))
    for i, name in enumerate("abc"):
        parquet_file(tmp_path / "pool" / f"{name}.parquet", contents[4 * i : 4 * i + 4])
    tar_file(tmp_path / "pool" / "d.tar", contents)
    whole = {name: (tmp_path / "pool" / name).read_bytes() for name in ("b.parquet", "d.tar")}
    for name, content in whole.items():
        (tmp_path / "pool" / name).write_bytes(content[: len(content) // 2])
    call = ["label", str(classes_run), str(tmp_path / "pool"), "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert main(call) == 1
    said = capsys.readouterr().err.strip().splitlines()
    assert said[0].startswith("residual-ssl: 2 of 4 shards of the pool cannot be read; all others are done")
    assert [line.partition(":")[0] for line in said[1:]] == ["b.parquet", "d.tar"]
    assert not (tmp_path / "out" / "summary.json").exists()
    done = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out" / "labels").iterdir()}
    assert len(done) == 2
    for name, content in whole.items():
        (tmp_path / "pool" / name).write_bytes(content)
    assert main(call) == 0
    assert {name: (tmp_path / "out" / "labels" / name).stat().st_mtime_ns for name in done} == done
    assert summary_of(tmp_path / "out")["images"] == 24


class FullDisk:
    """Writes that fail as on a full disk, from some number of bytes on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
        self.room = room
        disk, opened = self, Path.open

        class Full(io.FileIO):
            def write(self, data: Any) -> int:
                disk.room -= len(bytes(data))
                if disk.room < 0:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().write(data)

        def replacing(path: Path, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
            written = mode == "wb" and path.name.endswith(".partial")
            return Full(path, "w") if written else opened(path, mode, *args, **kwargs)

        monkeypatch.setattr(Path, "open", replacing)


@pytest.mark.parametrize("room", [600, 8000])
def test_a_full_disk_is_one_line_and_loses_nothing(
    classes_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], room: int
) -> None:
    image_folder(tmp_path / "pool", pictures(12, (8, 8)))
    call = ["label", str(classes_run), str(tmp_path / "pool"), "--out", str(tmp_path / "out"), "--shard-size", "3"]
    with pytest.MonkeyPatch.context() as patch:
        FullDisk(patch, room)
        assert main(call) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert "No space left on device" in said[0]
    assert "Free space on that disk" in said[0]
    whole = list((tmp_path / "out").rglob("*.parquet"))
    assert len(whole) == 0 if room == 600 else 0 < len(whole) < 4
    assert not list((tmp_path / "out").rglob("*.partial"))
    assert main(call) == 0
    assert len({row["id"] for row in rows_of(tmp_path / "out")}) == 12


def test_the_same_call_again_does_nothing_and_other_settings_are_refused(classes_run: Path, tmp_path: Path) -> None:
    image_folder(tmp_path / "pool", pictures(6, (8, 8)))
    first = label(classes_run, tmp_path / "pool", tmp_path / "out", device="cpu")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "labels").iterdir()}
    assert label(classes_run, tmp_path / "pool", tmp_path / "out", device="cpu") == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "labels").iterdir()} == before
    with pytest.raises(ConfigError, match=r"other settings, shard_size 1000 there, 2 now. Give another folder"):
        label(classes_run, tmp_path / "pool", tmp_path / "out", shard_size=2, device="cpu")


def test_a_process_takes_its_share_and_what_others_leave(
    classes_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_folder(tmp_path / "pool", pictures(20, (8, 8)))
    order: list[int] = []
    original = PoolLabeller.label

    def noted(self: PoolLabeller, images: Any, skipped: Any) -> Iterator[Any]:
        some = list(images)
        order.append(int(some[0].id[2:5]) // 2)
        return original(self, some, skipped)

    monkeypatch.setattr(PoolLabeller, "label", noted)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "3")
    label(classes_run, [f"{tmp_path}/pool/a", f"{tmp_path}/pool/b"], tmp_path / "out", shard_size=2, device="cpu")
    numbers = [int(path.stem) for path in sorted((tmp_path / "out" / "labels").iterdir())]
    assert numbers == list(range(10))
    assert len(order) == 10  # every shard once


def test_what_cannot_be_done_is_said_before_anything_is_written(
    classes_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    image_folder(tmp_path / "pool", pictures(2, (8, 8)))
    out = ["--out", str(tmp_path / "out"), "--device", "cpu"]
    faults = {
        (str(tmp_path / "empty"),): "holds nothing to predict, expected .parquet, .tar",
        (str(tmp_path / "none"),): "is neither a file nor a folder, and no pattern",
        (): "pool: got none",
        (str(tmp_path / "pool"), "--selector", "oracle"): "selector: oracle needs truth beside a prediction",
        (str(tmp_path / "pool"), "--selector", "label_propagation"): "needs features beside a prediction",
        (str(tmp_path / "pool"), "--selector", "fixed"): "did you mean 'fixed_threshold'",
        (str(tmp_path / "pool"), "--batch", "0"): "batch: got 0",
        (str(tmp_path / "pool"), "--max-errors", "some"): "max_errors: got 'some'",
        (str(tmp_path / "pool"), "--root", "nowhere"): "root: nowhere is not a folder",
    }
    for arguments, said in faults.items():
        assert main(["label", str(classes_run), *arguments, *out]) == 2
        assert said in capsys.readouterr().err
    parquet_file(tmp_path / "table.parquet", pictures(2))
    assert main(["label", str(classes_run), str(tmp_path / "table.parquet"), "--image-column", "photo", *out]) == 2
    assert "image column: got 'photo' for table.parquet, expected one of image" in capsys.readouterr().err


def test_a_failing_network_is_no_fault_of_the_disk(
    classes_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_folder(tmp_path / "pool", pictures(3, (8, 8)))
    labeller = PoolLabeller(classes_run, device="cpu")

    def fails(*arguments: Any) -> Any:
        raise RuntimeError("CUDA out of memory. Tried to allocate 20 GiB")

    monkeypatch.setattr(type(labeller.task), "predict", fails)
    with pytest.raises(ResidualSSLError, match=r"cannot be predicted, CUDA out of memory.*smaller --batch"):
        list(labeller.label([_image(tmp_path / "pool" / "a" / "000.png")], []))


def _image(path: Path) -> Any:
    from residual_ssl.data.pools import PoolImage

    return PoolImage(path.name, path)


def test_the_labeller_is_a_function_of_tables_for_other_engines(classes_run: Path, tmp_path: Path) -> None:
    contents = [*pictures(6, (8, 8)), b"no image"]
    table = pq.read_table(parquet_file(tmp_path / "a.parquet", contents))
    table = table.append_column("id", [[f"a.parquet/{i:06d}" for i in range(7)]])
    label(classes_run, tmp_path / "a.parquet", tmp_path / "out", selector="top_fraction", device="cpu")
    statistics = PoolStatistics.load(tmp_path / "out" / "statistics" / "000000.npz")
    labeller = PoolLabeller(classes_run, selector="top_fraction", statistics=statistics, device="cpu")
    with pytest.warns(ResidualSSLWarning, match="a.parquet/000006"):
        assert labeller(table).to_pylist() == rows_of(tmp_path / "out")
    again = PoolLabeller(classes_run, selector="top_fraction", device="cpu").statistics_of(table)
    assert torch.equal(again.confidence, statistics.confidence)


def test_missing_data_and_broken_results_are_named(classes_run: Path, tmp_path: Path) -> None:
    image_folder(tmp_path / "pool", pictures(2, (8, 8)))
    with pytest.raises(MissingDataError):
        label(tmp_path / "no-run", tmp_path / "pool", tmp_path / "out")
    label(classes_run, tmp_path / "pool", tmp_path / "out", device="cpu")
    (tmp_path / "out" / "labels" / "000000.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match="remove it, and label it again"):
        label(classes_run, tmp_path / "pool", tmp_path / "out", device="cpu")
    (tmp_path / "out" / "labels" / "000000.parquet").unlink()
    (tmp_path / "pool2").mkdir()
    (tmp_path / "pool2" / "x.parquet").write_bytes(b"PAR1")
    with pytest.raises(IncompleteError):
        label(classes_run, tmp_path / "pool2", tmp_path / "other", device="cpu")
