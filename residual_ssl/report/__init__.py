"""Reports on finished runs: a table and a page."""

from residual_ssl.report.page import write_report

__all__ = ["write_report"]
