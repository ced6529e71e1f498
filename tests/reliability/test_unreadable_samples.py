"""Training samples that cannot be read: replaced by the draw alone, counted, named; too many stop the run."""

import warnings
from pathlib import Path

import pytest
import torch
from helpers.folder_sets import folder_config, write_folders
from helpers.power_cuts import PowerCutError, stop_after

from residual_ssl import RunResult, train
from residual_ssl.engine.records.run_log import read_log
from residual_ssl.engine.setup.unreadable import ReadableSamples
from residual_ssl.errors import ConfigError, DataError, ResidualSSLWarning

pytestmark = pytest.mark.filterwarnings("ignore::residual_ssl.errors.ResidualSSLWarning")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:200])


def weights(run: Path) -> dict[str, torch.Tensor]:
    return torch.load(run / "last.pt", weights_only=True)["model"]  # type: ignore[no-any-return]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve images, four of them labelled; two of the others cannot be read."""
    write_folders(tmp_path, train=12)
    labelled = {path.stem for path in labelled_files(tmp_path)}
    bad = sorted({str(i) for i in range(12)} - labelled)[:2]
    for stem in bad:
        cut(tmp_path / f"train/images/{stem}.png")
    return tmp_path


def labelled_files(root: Path) -> list[Path]:
    from residual_ssl.config.components import build

    source = build(folder_config(root, "algorithm=fixmatch")["task"], "task").source
    return [root / source.labelled.entry(index).image for index in range(4)]


def bad_names(root: Path) -> set[str]:
    return {f"train/images/{p.name}" for p in (root / "train/images").iterdir() if p.stat().st_size == 200}


def test_skipped_samples_are_counted_and_named_in_the_result_and_the_log(data: Path) -> None:
    with pytest.warns(ResidualSSLWarning, match=r"unlabelled sample left out, another takes its place: .*\.png"):
        result = train(folder_config(data, "algorithm=fixmatch", "steps=6", "evaluate_every=6"))
    assert result.skipped_samples == 2
    assert {row["name"] for row in result.unreadable} == bad_names(data)
    assert all(row["set"] == "unlabelled" and "cannot be read" in row["reason"] for row in result.unreadable)
    assert read_log(data / "run")[-2]["train/skipped_samples"] == 2


def test_a_sample_is_warned_of_once(data: Path) -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        train(folder_config(data, "algorithm=fixmatch", "steps=12", "evaluate_every=12"))
    assert sum("left out" in str(warning.message) for warning in said) == 2


def test_substitutes_are_the_same_for_workers_and_after_a_stop(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(name: str, *overrides: str) -> RunResult:
        return train(folder_config(data, "algorithm=fixmatch", "steps=6", f"run_dir={data / name}", *overrides))

    whole = run("whole")
    run("workers", "workers=2")
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        with pytest.raises(PowerCutError):
            run("cut")
    assert run("cut").unreadable == whole.unreadable
    expected = weights(data / "whole")
    for name in ("workers", "cut"):
        assert all(torch.equal(expected[key], value) for key, value in weights(data / name).items())


def test_a_substitute_follows_from_seed_and_draw(data: Path) -> None:
    class Set(torch.utils.data.Dataset[dict[str, torch.Tensor]]):
        def __len__(self) -> int:
            return 9

        def __getitem__(self, key: tuple[int, int]) -> dict[str, torch.Tensor]:
            if key[0] in (2, 5):
                raise DataError(f"{key[0]}: torn")
            return {"input": torch.tensor(key)}

    samples, again, other = ReadableSamples(Set(), 3), ReadableSamples(Set(), 3), ReadableSamples(Set(), 4)
    assert samples[1, 7][0]["input"].tolist() == [1, 7]
    found, faults = samples[2, 7]
    assert faults[0] == (2, "2: torn")
    assert found["input"][0] not in (2, 5)
    assert torch.equal(again[2, 7][0]["input"], found["input"])
    assert len({tuple(x[2, draw][0]["input"].tolist()) for x in (samples, other) for draw in range(5)}) > 5


def test_stop_stops_at_the_first_and_names_it(data: Path) -> None:
    with pytest.raises(DataError, match=r"train/images/\d+\.png: the image cannot be read"):
        train(folder_config(data, "algorithm=fixmatch", "steps=6", "on_error=stop"))


def test_too_many_stop_the_run_and_it_continues_with_a_higher_limit(data: Path) -> None:
    with pytest.raises(DataError, match=r"max_errors: 2 training samples cannot be read, expected at most 1.*doctor"):
        train(folder_config(data, "algorithm=fixmatch", "steps=6", "max_errors=1"))
    assert train(folder_config(data, "algorithm=fixmatch", "steps=6", "max_errors=2")).last["step"] == 6


@pytest.mark.parametrize("part", ["images", "masks"])
def test_a_labelled_sample_is_skipped_only_where_that_is_asked_for(tmp_path: Path, part: str) -> None:
    write_folders(tmp_path, train=12)
    bad = labelled_files(tmp_path)[1].name
    cut(tmp_path / "train" / part / bad) if part == "images" else (tmp_path / "train/masks" / bad).write_bytes(b"")
    with pytest.raises(DataError, match=rf"{bad}: the (image|mask) cannot be read"):
        train(folder_config(tmp_path, "algorithm=supervised", "steps=6"))
    result = train(folder_config(tmp_path, "algorithm=supervised", "steps=6", "on_error=skip"))
    assert result.unreadable[0]["name"] == f"train/images/{bad}"
    assert result.unreadable[0]["set"] == "labelled"


def test_a_run_continues_when_a_bad_file_was_removed(data: Path) -> None:
    config = folder_config(data, "algorithm=fixmatch", "steps=6", "max_errors=1")
    with pytest.raises(DataError, match="max_errors"):
        train(config)
    for name in bad_names(data):
        (data / name).unlink()
        (data / name.replace("images", "masks")).unlink()
    assert train(config).last["step"] == 6


def test_other_words_and_numbers_are_refused(data: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        train(folder_config(data, "on_error=ignore", "max_errors=-1"))
    assert "on_error: got 'ignore', expected one of skip_unlabelled, skip, stop" in str(raised.value)
    assert "max_errors: got -1, expected a number ≥ 0" in str(raised.value)
