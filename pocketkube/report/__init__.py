"""The report of a run: one HTML page that needs no network, and the table that ends a run."""

from pocketkube.report.page import build_report

__all__ = ["build_report"]
