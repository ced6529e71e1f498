"""A page on runs while they train, served to this machine alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from residual_ssl.commands.report.runs import distinct_names
from residual_ssl.engine.pages.run_page import RunRecord, run_page
from residual_ssl.engine.records.run_log import LOG_NAME
from residual_ssl.errors import ConfigError, MissingDataError

_ADDRESS = "127.0.0.1"
_REFRESH = 5
# A page of another site that has its name point to this machine sends that name as the host.
_HOSTS = {_ADDRESS, "localhost"}


def watch_server(runs: Sequence[Path], port: int = 0) -> ThreadingHTTPServer:
    """A server on 127.0.0.1 whose one page shows runs as their logs are at the moment; read only.

    The page asks for itself anew every five seconds. Whatever else is asked for is not found, and a request under
    another name than that of this machine is refused. To see it from elsewhere: ``ssh -L PORT:127.0.0.1:PORT HOST``.

    Args:
        runs: run directories, finished or not; for a training in stages, the folder of all stages shows each.
        port: 0 for one that is free; ``server_address`` tells which.

    Raises:
        ConfigError: no run, a run given twice, a port that cannot be had.
        MissingDataError: a run that is not there.
    """
    if not runs:
        raise ConfigError("runs: got none, expected at least one run directory")
    if away := [str(run) for run in runs if not run.is_dir()]:
        raise MissingDataError(f"run {', '.join(away)}: no such run directory; a run makes it when it begins")
    distinct_names(runs)

    def page() -> str:
        folders = [folder for run in runs for folder in _folders(run)]
        names = distinct_names(folders)
        records = [RunRecord.read(folder, name) for folder, name in zip(folders, names, strict=True)]
        return run_page(records, refresh=_REFRESH)

    try:
        return ThreadingHTTPServer((_ADDRESS, port), _handler(page))
    except (OSError, OverflowError) as error:
        raise ConfigError(f"port: got {port}, which cannot be had ({error}); give another one, or 0") from error


def _folders(run: Path) -> list[Path]:
    """The run itself, or the stages in it while there are only these."""
    if (run / LOG_NAME).is_file():
        return [run]
    return sorted(log.parent for log in run.glob(f"*/{LOG_NAME}")) or [run]


def _handler(page: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rsplit(":", 1)[0]
            if host not in _HOSTS:
                self.send_error(HTTPStatus.FORBIDDEN)
            elif self.path != "/":
                self.send_error(HTTPStatus.NOT_FOUND)
            else:
                content = page().encode("utf-8", "replace")
                self.send_response(HTTPStatus.OK)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.send_header("Content-Length", str(len(content)))
                self.send_header("Cache-Control", "no-store")
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing of requests."""

    return Handler
