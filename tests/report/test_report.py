"""Reports on finished runs: the table, the page, and what is said where a run cannot be reported on."""

import io
import json
import math
import re
from pathlib import Path

import pytest
import torch

from residual_ssl import ConvexSelector, Selection, compose, prediction_features, train
from residual_ssl.commands.report import write_report
from residual_ssl.commands.report.pictures import OUTCOMES, outcome_map
from residual_ssl.commands.report.plane import affinity, plane
from residual_ssl.commands.report.runs import read_runs
from residual_ssl.commands.report.samples import JudgedSamples, judged_samples, shown_run
from residual_ssl.commands.report.table import ABSENT, comparison
from residual_ssl.errors import ConfigError, MissingDataError

SMALL = [f"dataset.source.{subset}=8" for subset in ("labelled", "unlabelled", "validation")]
SHORT = ["steps=2", "evaluate_every=1", "log_every=1", "labelled_batch=2", "unlabelled_batch=2", "device=cpu"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two finished runs: supervised, and csl with an EMA teacher."""
    folder = tmp_path_factory.mktemp("runs")
    for name, chosen in {"supervised": [], "csl": ["+algorithm.ema_decay=0.5"]}.items():
        overrides = ["experiment=digits", f"algorithm={name}", *chosen, f"run_dir={folder / name}", *SMALL, *SHORT]
        train(compose(overrides))
    return [folder / "supervised", folder / "csl"]


@pytest.fixture(scope="module")
def report(runs: list[Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Table and page."""
    out = tmp_path_factory.mktemp("report") / "made" / "page.html"
    return write_report(runs, out), out.read_text(encoding="utf-8")


def result(run: Path) -> dict:
    return json.loads((run / "result.json").read_text())


def rewritten(run: Path, to: Path, **changes: object) -> Path:
    """A copy of a run with other entries in its result."""
    to.mkdir(parents=True)
    for name in ("last.pt", "log.jsonl"):
        (to / name).write_bytes((run / name).read_bytes())
    (to / "result.json").write_text(json.dumps(result(run) | changes))
    return to


def cells(table: str, row: int) -> list[str]:
    return re.split(r"\s{2,}", table.splitlines()[row].strip())


def test_the_table_holds_the_figures_of_the_results(runs: list[Path], report: tuple[str, str]) -> None:
    table, _ = report
    columns = ["run", "mIoU last", "mIoU best", "coverage %", "purity %", "trusted %", "accuracy %"]
    assert cells(table, 0) == [*columns, "steps", "seconds", "seed"]
    for row, run in enumerate(runs, start=1):
        expected, shown = result(run), dict(zip(cells(table, 0), cells(table, row), strict=True))
        assert shown["run"] == run.name
        assert float(shown["mIoU last"]) == pytest.approx(expected["last"]["miou"], abs=0.005)
        assert float(shown["mIoU best"]) == pytest.approx(expected["best"]["miou"], abs=0.005)
        assert (shown["steps"], shown["seed"]) == ("2", "0")
    training = result(runs[1])["training"]
    for key in ("coverage", "purity", "trusted", "accuracy"):
        assert float(shown[f"{key} %"]) == pytest.approx(100 * training[key], abs=0.05)


def test_a_run_without_pseudo_labels_has_dashes_for_them(report: tuple[str, str]) -> None:
    assert cells(report[0], 1)[3:7] == [ABSENT] * 4


def test_purity_that_is_not_known_is_a_dash(runs: list[Path], tmp_path: Path) -> None:
    training = result(runs[1])["training"] | {"purity": math.nan}
    table = comparison(read_runs([rewritten(runs[1], tmp_path / "unknown", training=training)])).text()
    assert cells(table, 1)[4] == ABSENT
    assert cells(table, 1)[3] != ABSENT


def test_columns_of_the_table_are_aligned(report: tuple[str, str]) -> None:
    assert len({len(line) for line in report[0].splitlines()[:3]}) == 1


def test_the_largest_last_metric_is_bold(runs: list[Path], report: tuple[str, str]) -> None:
    best = max(result(run)["last"]["miou"] for run in runs)
    assert f"<td><b>{best:.2f}</b></td>" in report[1]


def test_one_seed_is_said_to_show_little(report: tuple[str, str]) -> None:
    assert "one run with one seed (seed 0)" in report[0]


def test_a_shared_warm_up_is_named(runs: list[Path], tmp_path: Path) -> None:
    start = {"init_from": "warm/last.pt"}
    warm = [rewritten(run, tmp_path / run.name, config=result(run)["config"] | start) for run in runs]
    assert "All runs continue the same warm-up warm/last.pt." in comparison(read_runs(warm)).text()


def test_the_page_needs_nothing_but_itself(report: tuple[str, str]) -> None:
    page = report[1]
    assert not re.search(r"https?://|<link|url\(|@import", page)
    assert len(re.findall(r"<script", page)) == 1
    sources = re.findall(r'(?:src|href|srcset)\s*=\s*"?([^">\s]{1,30})', page)
    assert len(sources) > 1
    assert all(source.startswith("data:image/png;base64,") or source == "#content" for source in sources)


def test_the_page_shows_four_samples_and_the_predictions_of_every_run(report: tuple[str, str]) -> None:
    described = re.findall(r'alt="([^"]*)"', report[1])
    for name in ("image", "truth", "pseudo-label", "trust", "right or wrong", "masked view"):
        assert [f"sample {i}: {name}" for i in (1, 2, 3, 4)] == [d for d in described if d.endswith(f": {name}")][:4]
    for name in ("supervised", "csl"):
        assert [d for d in described if d.endswith(f": {name}")] == [f"validation {i}: {name}" for i in (0, 2, 4, 6)]


def test_pictures_are_at_least_128_pixels_wide(report: tuple[str, str]) -> None:
    assert min(map(int, re.findall(r'<img width="(\d+)"', report[1]))) >= 128


def test_the_page_says_where_the_runs_come_from(report: tuple[str, str]) -> None:
    assert f"torch {torch.__version__}".split("+")[0] in report[1]


def test_the_run_with_a_masked_branch_is_looked_into(runs: list[Path]) -> None:
    assert shown_run(read_runs(runs)).name == "csl"


def test_the_network_of_a_run_with_a_teacher_is_the_teacher(runs: list[Path]) -> None:
    (run,) = read_runs(runs[1:])
    stored = torch.load(runs[1] / "last.pt", weights_only=True)
    name = next(name for name, _ in run.network.named_parameters())
    taught = run.network.state_dict()[name].cpu()
    assert taught.equal(stored["algorithm"][f"teacher.model.{name}"])
    assert not taught.equal(stored["model"][name])


def test_a_displayed_view_is_the_image_again(runs: list[Path]) -> None:
    (run,) = read_runs(runs[:1])
    images = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(run.task.display(run.task.view(images, "plain")), images)


def test_a_run_without_pseudo_labels_is_judged_by_csl(runs: list[Path], tmp_path: Path) -> None:
    write_report(runs[:1], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "this run itself uses no pseudo-labels" in page
    assert "masked view" not in page


def test_the_masked_view_hides_trusted_points_only(runs: list[Path]) -> None:
    (run,) = read_runs(runs[1:])
    judged = judged_samples(run)
    assert judged is not None
    assert judged.masked is not None
    hidden = (judged.masked == 0).all(1)
    assert hidden.any()
    assert not (hidden & judged.selection.valid & ~judged.selection.trusted).any()


def test_the_drawn_boundary_is_that_of_the_partition() -> None:
    logits = 3 * torch.randn(2, 7, 16, 16, generator=torch.Generator().manual_seed(0)).double()
    partition = ConvexSelector().partition(logits)
    features = prediction_features(logits)
    points = torch.stack([features.confidence.flatten(1), features.residual.flatten(1)], -1)
    for group in range(2):
        side = affinity(partition.program[group], partition.gram[group], points[group]) > 0
        reliable = partition.reliable[group].bool()
        assert side.equal(reliable) or side.equal(~reliable)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("valid", [True, False], ids=["two classes", "no valid point"])
def test_the_plane_is_drawn_where_there_is_nothing_to_separate(valid: bool) -> None:
    logits = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0))
    points = torch.full((1, 8, 8), valid)
    selector = ConvexSelector()
    judged = JudgedSamples(logits, logits, selector(logits, points), None, None, selector, of_run=True)
    figure = plane(judged, selector.partition(logits, points), ignore_index=255)
    figure.savefig(io.BytesIO(), format="png")
    assert ("trusted" in figure.axes[0].get_title()) == valid


def test_strangers_have_a_name_of_their_own_in_the_legend(tmp_path: Path) -> None:
    strange = ["algorithm=csl", "dataset.source.letters=1.0", f"run_dir={tmp_path / 'run'}"]
    train(compose(["experiment=digits", *strange, *SMALL, *SHORT]))
    write_report([tmp_path / "run"], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    unlabelled, validation = re.findall(r'<p class="legend"><b>classes</b>.*?</p>', page, re.S)
    assert "none of the classes" in unlabelled
    assert "none of the classes" not in validation


def test_the_four_outcomes_have_their_colours() -> None:
    label = torch.tensor([[1, 1, 2, 2]])
    trusted = torch.tensor([[True, False, True, False]])
    plain = torch.ones(1, 4)
    selection = Selection(label, plain, trusted, trusted | True, plain, plain)
    drawn = outcome_map(selection, torch.tensor([[1, 1, 1, 1]]), known=torch.ones(1, 4, dtype=torch.bool))
    colours = ["#" + bytes((255 * drawn[:, 0, i]).round().to(torch.uint8).tolist()).hex().upper() for i in range(4)]
    assert colours == [colour for _, colour in OUTCOMES]


def test_unfinished_runs_are_all_named(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "begun").mkdir()
    with pytest.raises(MissingDataError, match=r"begun: has no result\.json.*not finished(.|\n)*away: no such run"):
        write_report([runs[0], tmp_path / "begun", tmp_path / "away"], tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_runs_with_other_classes_are_refused(runs: list[Path], tmp_path: Path) -> None:
    stored = torch.load(runs[0] / "last.pt", weights_only=True)
    config = stored["config"]
    names = [f"kind {i}" for i in range(11)]
    config["task"]["spec"] = {"_target_": "residual_ssl.data.DatasetSpec", "classes": names}
    other = rewritten(runs[0], tmp_path / "other")
    torch.save(stored | {"config": config, "class_names": names}, other / "last.pt")
    with pytest.raises(ConfigError, match=r"supervised has the 11 classes background, .* other the 11 classes kind 0"):
        write_report([runs[0], other], tmp_path / "page.html")


def test_no_run_and_a_run_given_twice_are_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="got none"):
        write_report([], tmp_path / "page.html")
    with pytest.raises(ConfigError, match="supervised given more than once"):
        write_report([runs[0], runs[0]], tmp_path / "page.html")


def test_a_folder_in_place_of_the_page_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"out: got the folder .*, expected an HTML file"):
        write_report(runs, tmp_path)


def test_runs_of_one_name_are_told_apart_by_their_folders(runs: list[Path], tmp_path: Path) -> None:
    copies = [rewritten(run, tmp_path / run.name / "0") for run in runs]
    assert [run.name for run in read_runs(copies)] == ["supervised/0", "csl/0"]
