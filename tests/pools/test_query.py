"""What to label next: unreliable, unlike each other, of every class; the same however the pool is divided."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.pools import image_folder, pictures
from helpers.tiny_runs import tiny_config, tiny_digits
from PIL import Image

from residual_ssl import load, train
from residual_ssl.cli import main
from residual_ssl.commands.pools import query
from residual_ssl.commands.pools.candidates import OF_A_CLASS, Candidates, choose
from residual_ssl.data import read_list


def candidates(count: int, seed: int = 0, classes: int = 3, first: int = 0) -> Candidates:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(classes), count).astype(np.float32)
    return Candidates(
        np.array([f"{first + i:04d}.png" for i in range(count)]),
        np.zeros(count, np.int64),
        rng.random(count, np.float32),
        rng.random(count, np.float32),
        shares,
        rng.normal(size=(count, 4)).astype(np.float32),
        shares.sum(0).astype(np.float64),
        count,
    )


def part_of(whole: Candidates, places: range) -> Candidates:
    some = whole.taken(places)
    values = {
        name: getattr(some, name) for name in ("ids", "shard", "unreliability", "confidence", "classes", "features")
    }
    return Candidates(**values, pool_classes=some.classes.sum(0).astype(np.float64), images=len(some))


@pytest.mark.parametrize("size", [1, 7, 50, 200])
def test_parts_merge_to_the_best_of_the_whole(size: int) -> None:
    whole = candidates(200)
    parts = [part_of(whole, range(i, min(i + size, 200))).best(20) for i in range(0, 200, size)]
    merged = Candidates.together(reversed(parts), 20)
    best = whole.best(20)
    assert merged.ids.tolist()[:20] == best.ids.tolist()[:20]
    assert set(merged.ids.tolist()) == set(best.ids.tolist())
    assert len(merged) <= 20 + 3 * OF_A_CLASS
    np.testing.assert_allclose(merged.pool_classes, whole.pool_classes, rtol=1e-6)
    assert merged.images == 200
    most = np.argsort(-whole.unreliability)[:20]
    assert set(whole.ids[most].tolist()) <= set(merged.ids.tolist())


def test_each_chosen_centre_is_the_farthest_from_those_before() -> None:
    whole = candidates(40, classes=1)
    chosen = choose(whole, 8, wide=10)
    x = whole.features / np.linalg.norm(whole.features, axis=1, keepdims=True)
    assert [why for _, why in chosen] == ["class 0", *["centre"] * 7]
    for step in range(1, 8):
        before = [place for place, _ in chosen[:step]]
        distance = np.linalg.norm(x[:, None] - x[before], axis=2).min(1)
        free = [i for i in range(40) if i not in before]
        assert distance[chosen[step][0]] == pytest.approx(max(distance[free]), abs=1e-6)


def test_the_cover_is_at_most_twice_the_best() -> None:
    whole = candidates(12, seed=3, classes=1)
    x = whole.features / np.linalg.norm(whole.features, axis=1, keepdims=True)
    distance = np.linalg.norm(x[:, None] - x, axis=2)

    def radius(places: Any) -> float:
        return float(distance[:, list(places)].min(1).max())

    best = min(radius(places) for places in itertools.combinations(range(12), 4))
    assert radius([place for place, _ in choose(whole, 4)]) <= 2 * best + 1e-6


def test_centres_are_among_the_most_unreliable() -> None:
    whole = candidates(100, classes=1)
    order = np.argsort(-whole.unreliability)
    assert {place for place, why in choose(whole, 5, wide=4) if why == "centre"} <= set(order[:21].tolist())


def test_a_rare_class_is_shown_though_all_that_show_it_are_reliable() -> None:
    whole = candidates(60)
    classes = np.zeros((60, 3), np.float32)
    classes[:, 0] = 1
    classes[5], classes[6] = (0, 1, 0), (0.5, 0.5, 0)
    unreliability = np.linspace(1, 0.5, 60, dtype=np.float32)
    unreliability[[5, 6]] = 0.01, 0.02
    values = {**whole.__dict__, "classes": classes, "unreliability": unreliability}
    found = Candidates(**{**values, "pool_classes": classes.sum(0).astype(np.float64)})
    chosen = choose(found, 6)
    # The third class is nowhere predicted, and asks for nothing.
    assert chosen[0] == (6, "class 1")
    assert [why for _, why in chosen[1:]] == ["centre"] * 5 or chosen[1][1] == "class 0"
    assert len({place for place, _ in chosen}) == 6


def test_a_budget_beyond_the_pool_takes_all_of_it_once() -> None:
    chosen = choose(candidates(7), 50)
    assert sorted(place for place, _ in chosen) == list(range(7))


def test_a_list_of_a_query_is_the_labelled_of_the_next_run(tmp_path: Path) -> None:
    train(tiny_digits(tmp_path / "run", "algorithm=supervised", "split=20"))
    found = query(tmp_path / "run", "run:unlabelled", tmp_path / "out", 10, device="cpu", shard_size=300)
    assert found.looked_at == 1380
    assert len(set(found.images)) == 10
    before = load(tmp_path / "run", device="cpu").task.source.labelled  # type: ignore[attr-defined]
    listed = [entry.image for entry in read_list(tmp_path / "out" / "labelled.txt")]
    assert listed == [*(before.entry(i).image for i in range(20)), *found.images]
    config = tiny_digits(
        tmp_path / "next", "algorithm=supervised", f"dataset.labelled={tmp_path / 'out' / 'labelled.txt'}"
    )
    assert train(config).last["step"] == 2
    labelled = load(tmp_path / "next", device="cpu").task.source.labelled  # type: ignore[attr-defined]
    assert sorted(labelled.entry(i).image for i in range(30)) == sorted(listed)


def test_division_of_the_pool_and_of_the_work_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(tiny_config(tmp_path / "run", "algorithm=supervised", "steps=1", "evaluate_every=1"))
    image_folder(tmp_path / "pool", pictures(30))
    (tmp_path / "pool" / "a" / "bad.png").write_bytes(b"no image")
    said = ["query", str(tmp_path / "run"), str(tmp_path / "pool"), "--budget", "6", "--device", "cpu"]
    assert main([*said, "--out", str(tmp_path / "one")]) == 0
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*said, "--out", str(tmp_path / "two"), "--shard-size", "4"]) == 0
    lists = [(tmp_path / name / "query.txt").read_text() for name in ("one", "two")]
    assert lists[0] == lists[1]
    told = json.loads((tmp_path / "two" / "query.json").read_text())
    assert told["looked_at"] == 30
    for row in told["images"]:
        assert sum(row["classes"].values()) == pytest.approx(1, abs=0.01)
        assert 0 <= row["unreliability"] <= 1
    with Image.open(tmp_path / "two" / "contact_sheet.png") as sheet:
        assert sheet.width > 300
        assert len(sheet.getcolors(1 << 20) or []) > 100
    # Again: nothing is looked at anew.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "two" / "candidates").iterdir()}
    assert main([*said, "--out", str(tmp_path / "two"), "--shard-size", "4"]) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "two" / "candidates").iterdir()} == before


def test_a_query_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["query", str(tmp_path), "x", "--out", str(tmp_path / "out"), "--budget", "0"]) == 2
    assert "budget: got 0, expected a number of images ≥ 1" in capsys.readouterr().err
