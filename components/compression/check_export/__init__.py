"""Tries the conversions that a job ends in, before anything is trained."""

from components.compression.check_export.component import check_export

__all__ = ["check_export"]
