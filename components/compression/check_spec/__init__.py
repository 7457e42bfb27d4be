"""Checks what a pipeline's form asks for, and tells each task its part of it."""

from components.compression.check_spec.component import check_spec

__all__ = ["check_spec"]
