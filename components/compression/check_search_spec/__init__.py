"""Checks what the form of a search asks for, and tells each task its part of it."""

from components.compression.check_search_spec.component import check_search_spec

__all__ = ["check_search_spec"]
