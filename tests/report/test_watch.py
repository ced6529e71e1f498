"""A page on runs while they train: on this machine alone, read only, and nothing but that page."""

import http.client
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from residual_ssl.commands.report.watch import watch_server
from residual_ssl.errors import ConfigError, MissingDataError


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "effective.json").write_text(json.dumps({"steps": 40, "chosen_by": "miou"}))
    (folder / "log.jsonl").write_text('{"step": 10, "train/loss": 1.5}\n')
    return folder


@pytest.fixture
def port(run: Path) -> Iterator[int]:
    with watch_server([run]) as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def asked(port: int, path: str = "/", method: str = "GET", host: str = "127.0.0.1") -> tuple[int, str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": f"{host}:{port}"})
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def test_the_page_follows_the_log_and_asks_for_itself_anew(run: Path, port: int) -> None:
    status, page = asked(port)
    assert status == 200
    assert "Step 10 of 40." in page
    assert '<meta http-equiv="refresh" content="5">' in page
    with (run / "log.jsonl").open("a") as log:
        log.write('{"step": 20, "train/loss": 1.0, "validation/miou": 61.25}\n{"step": 3')
    page = asked(port)[1]
    assert "Step 20 of 40." in page
    assert "<td>61.25</td>" in page


@pytest.mark.parametrize("path", ["/log.jsonl", "/../run/log.jsonl", "/?x", "//etc/passwd", "/favicon.ico"])
def test_nothing_else_is_served(port: int, path: str) -> None:
    assert asked(port, path)[0] == 404


def test_other_names_of_this_machine_and_other_methods_are_refused(port: int) -> None:
    assert asked(port, host="evil.example")[0] == 403
    assert asked(port, host="localhost")[0] == 200
    assert asked(port, method="POST")[0] == 501


def test_stages_are_shown_each_while_there_is_no_whole(tmp_path: Path) -> None:
    for name in ("1-teacher", "2-student"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "log.jsonl").write_text('{"step": 1, "train/loss": 1.0}\n')
    with watch_server([tmp_path]) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        page = asked(server.server_address[1])[1]
        thread.join()
    assert "1-teacher" in page
    assert "2-student" in page


def test_faults_are_said(tmp_path: Path, run: Path) -> None:
    with pytest.raises(MissingDataError, match=r"away: no such run directory"):
        watch_server([tmp_path / "away"])
    with pytest.raises(ConfigError, match="given more than once"):
        watch_server([run, run])
    with pytest.raises(ConfigError, match=r"port: got 99999, which cannot be had"):
        watch_server([run], 99999)
