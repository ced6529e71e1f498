"""Work is divided without a word between processes: all of it is done, little of it twice, whoever is missing."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from residual_ssl.data.pools import Manifest, Shard, own_then_others, remove_left_behind
from residual_ssl.errors import ConfigError, DataError, MissingDataError


def manifest(folder: Path, count: int) -> Manifest:
    return Manifest.written(folder, {"a": 1}, lambda: (Shard("tar", f"{i}.tar") for i in range(count)))


def rounds(work: Manifest, processes: int, missing: set[int]) -> tuple[int, int]:
    """Rounds in which every process that is there makes one shard, and shards made in all."""
    turns = {p: own_then_others(work, "done", ".x", p, processes) for p in range(processes) if p not in missing}
    count = made = 0
    (work.folder / "done").mkdir(exist_ok=True)
    while turns:
        taken: dict[int, int] = {}
        for process, turn in list(turns.items()):
            number = next(turn, None)
            if number is None:
                turns.pop(process)
            else:
                taken[process] = number
        for number in taken.values():
            work.file("done", number, ".x").touch()
        made += len(taken)
        count += bool(taken)
    return count, made


@pytest.mark.parametrize(("processes", "missing"), [(1, set()), (3, set()), (8, {6, 7}), (8, {0}), (16, {*range(8)})])
def test_all_is_done_in_about_the_time_that_the_processes_need(
    tmp_path: Path, processes: int, missing: set[int]
) -> None:
    work = manifest(tmp_path, 400)
    count, made = rounds(work, processes, missing)
    assert work.left("done", ".x") == []
    there = processes - len(missing)
    assert made <= (400 + processes if not missing else 480)
    assert count <= 400 / there * (1.02 if not missing else 1.25) + 1


def test_another_number_of_processes_does_the_rest(tmp_path: Path) -> None:
    work = manifest(tmp_path, 50)
    (tmp_path / "done").mkdir()
    for number in range(0, 50, 3):
        work.file("done", number, ".x").touch()
    order = own_then_others(work, "done", ".x", 1, 2)
    assert sorted(order) == [number for number in range(50) if number % 3]


def test_the_first_manifest_stays_whoever_else_writes_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def another_is_first() -> Iterator[Shard]:
        yield Shard("tar", "mine.tar")
        (tmp_path / "manifest.jsonl").write_text('{"a": 1}\n["tar", "theirs.tar", []]\n')

    found = Manifest.written(tmp_path, {"a": 1}, another_is_first)
    assert found.shard(0).source == "theirs.tar"
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.jsonl"]

    def no_links(*arguments: object) -> None:
        raise OSError("operation not supported")

    monkeypatch.setattr(os, "link", no_links)
    other = Manifest.written(tmp_path / "new", {"a": 1}, lambda: [Shard("images", "", ("b/ä.png", "c.png"))])
    assert other.shard(0) == Shard("images", "", ("b/ä.png", "c.png"))


def test_other_settings_and_what_is_no_manifest_are_named(tmp_path: Path) -> None:
    manifest(tmp_path, 2)
    with pytest.raises(ConfigError, match="other settings, a 1 there, 2 now; b None there, 'x' now"):
        Manifest.written(tmp_path, {"a": 2, "b": "x"}, list)
    with pytest.raises(MissingDataError, match="no manifest"):
        Manifest(tmp_path / "none")
    (tmp_path / "manifest.jsonl").write_text("no JSON\n")
    with pytest.raises(DataError, match="cannot be read"):
        Manifest(tmp_path)


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    for name in (".000001.x.12-ab.partial", "000000.x", ".hidden"):
        (tmp_path / name).touch()
    remove_left_behind(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "000000.x"]


def test_lines_hold_what_shards_are(tmp_path: Path) -> None:
    work = manifest(tmp_path, 3)
    lines = (tmp_path / "manifest.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {"a": 1}
    assert [work.shard(i).source for i in (2, 0, 1)] == ["2.tar", "0.tar", "1.tar"]
