"""Gathers all figures of a job into one HTML report."""

from components.compression.build_report.component import build_report

__all__ = ["build_report"]
