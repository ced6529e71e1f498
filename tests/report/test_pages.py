"""Pages of HTML: what strangers write stays text, charts are where their numbers say, nothing comes from outside."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from helpers.tiny_runs import tiny_config

from residual_ssl import train
from residual_ssl.commands.report import write_report
from residual_ssl.commands.report.seeds import over_seeds
from residual_ssl.engine.pages import chart, training_charts
from residual_ssl.engine.pages.chart import ticks
from residual_ssl.engine.pages.run_page import PAGE_NAME, RunRecord, run_page, write_run_page
from residual_ssl.errors import ResidualSSLWarning

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}</title>'


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of six steps, made without anyone asking for a page."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    train(tiny_config(folder, "algorithm=csl"))
    return folder


class Elements(HTMLParser):
    """Tags with their attributes, and whether every tag that must be closed is, in order."""

    VOID = frozenset({"meta", "img", "br", "link", "input"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def names(self) -> set[str]:
        return {tag for tag, _ in self.found}


def test_every_run_leaves_a_page_that_is_whole_html(run: Path) -> None:
    page = (run / PAGE_NAME).read_text(encoding="utf-8")
    elements = Elements(page)
    assert [tag for tag, _ in elements.found].count("svg") == 4  # metric, loss, coverage, purity
    last = json.loads((run / "result.json").read_text())["last"]
    assert f"<td>{last['miou']:.2f}</td>" in page
    assert "Finished after 6 steps." in page
    assert "refresh" not in page


def test_the_only_script_is_the_one_that_the_policy_names(run: Path) -> None:
    page = (run / PAGE_NAME).read_text(encoding="utf-8")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.S)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', page)
    assert f"script-src 'sha256-{digest}';" in policy
    assert "default-src 'none'" in policy


def test_hostile_names_errors_and_settings_stay_text(run: Path, tmp_path: Path) -> None:
    record = RunRecord.read(run)
    result = {
        **(record.result or {}),
        "note": HOSTILE,
        "unreadable": [{"set": HOSTILE, "name": HOSTILE, "reason": HOSTILE}],
        "commit": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
    }
    log = [{**row, f"validation/iou/{HOSTILE}": 1.0} for row in record.log]
    page = run_page([RunRecord(HOSTILE, Path(HOSTILE), {HOSTILE: HOSTILE}, {"steps": 6, "x": HOSTILE}, log, result)])
    plain = Elements((run / PAGE_NAME).read_text(encoding="utf-8"))
    hostile = Elements(page)
    assert hostile.names() <= plain.names() | {"details", "summary", "ul", "li"}
    assert [tag for tag, _ in hostile.found].count("script") == 1
    assert all(not name.startswith("on") for _, attributes in hostile.found for name in attributes)
    assert "{{ 7*7 }}" in page
    assert page.count("alert(1)") == page.count("&lt;script&gt;alert(1)") > 5


def test_a_hostile_name_of_a_run_stays_text_in_a_report(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "<b onclick=alert(1)>x"
    folder.mkdir()
    for name in ("last.pt", "log.jsonl", "result.json"):
        (folder / name).write_bytes((run / name).read_bytes())
    write_report([folder], tmp_path / "page.html")
    elements = Elements((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert all("onclick" not in attributes for _, attributes in elements.found)


def test_a_page_that_cannot_be_written_ends_no_run(tmp_path: Path) -> None:
    (tmp_path / "run" / PAGE_NAME).mkdir(parents=True)  # in the place of the page
    with pytest.warns(ResidualSSLWarning, match=r"report\.html: not written .*; the run is whole"):
        result = train(tiny_config(tmp_path / "run", "algorithm=supervised"))
    assert result.last["step"] == 6


def test_a_damaged_log_is_no_fault_of_the_page(tmp_path: Path) -> None:
    (tmp_path / "log.jsonl").write_text('{"step": 1, "train/loss": NaN}\n{"step": 2, "train/loss": 1e999}\nnonsense')
    (tmp_path / "result.json").write_text("[1, 2")
    write_run_page(tmp_path)
    assert "Step 2." in (tmp_path / PAGE_NAME).read_text()


def test_points_of_a_chart_lie_where_their_numbers_say() -> None:
    drawn = chart("t", [("a", [(0, 0.0), (50, 5.0), (100, 10.0)]), ("b", [(100, float("nan"))])])
    assert drawn is not None
    (x0, y0), (x1, y1), (x2, y2) = (map(float, pair.split(",")) for pair in drawn.lines[0].points.split())
    assert (x0, y0, x2, y2) == (drawn.left, drawn.bottom, drawn.right, drawn.top)
    assert (x1, y1) == ((x0 + x2) / 2, (y0 + y2) / 2)
    assert drawn.lines[0].marks[1].text == "a: 5 at step 50"
    assert drawn.lines[1].points == ""


def test_a_constant_curve_and_one_at_the_most_there_can_be_have_an_axis() -> None:
    drawn = chart("t", [("a", [(1, 100.0), (2, 100.0)])], most=100)
    assert drawn is not None
    assert drawn.y_ticks[-1].text == "100"
    assert chart("t", [("a", [(1, 0.0)])]) is not None
    assert chart("t", [("a", [(1, float("inf"))])]) is None


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-3.7, 12), (0.0012, 0.0013), (1e-12, 3e9), (99.5, 100)])
def test_ticks_are_few_ordered_and_enclose_the_range(low: float, high: float) -> None:
    found = ticks(low, high)
    assert found == sorted(set(found))
    assert found[0] <= low + 1e-9 * abs(high)
    assert found[-1] >= high * (1 - 1e-9)
    assert 3 <= len(found) <= 8


def test_long_logs_are_thinned_and_keep_their_last_value() -> None:
    log = [{"step": step, "train/loss": 1 / step} for step in range(1, 20_001)]
    (loss,) = training_charts([("a", log)], "miou")
    assert len(loss.lines[0].points.split()) <= 400
    assert loss.lines[0].marks[-1].text == "a: 5e-05 at step 20,000"


def finished(name: str, seed: int, score: float, **config: object) -> SimpleNamespace:
    settings = {"seed": seed, "run_dir": name, "init_from": f"warm-{seed}", "task": {"seed": seed}, **config}
    return SimpleNamespace(
        name=name, config=settings, result={"last": {"miou": score}}, task=SimpleNamespace(main_metric="miou")
    )


def test_runs_over_seeds_have_mean_deviation_and_paired_differences() -> None:
    a = [finished(f"a-{seed}", seed, score, steps=5) for seed, score in ((0, 50.0), (1, 52.0), (2, 57.0))]
    b = [finished(f"b-{seed}", seed, score, steps=6) for seed, score in ((1, 55.0), (2, 59.0))]
    table = over_seeds([*a, *b])
    assert table is not None
    assert table.rows == (
        ("a", "53.00 ± 3.61", "3", "–", "–"),
        ("b", "57.00 ± 2.83", "2", "+2.50 ± 0.71", "2 of 2"),
    )


def test_runs_of_one_seed_have_no_table_over_seeds() -> None:
    assert over_seeds([finished("a", 0, 1.0, steps=5), finished("b", 0, 2.0, steps=6)]) is None
