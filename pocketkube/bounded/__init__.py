"""Reads archives and compressed data, which may come from anywhere, in bounded memory.

What is refused is told by `Unreadable`, whose text the caller completes with the file's name. Nothing
else in PocketKube opens them, but for what tests/bounded/test_one_place.py lists: files that have been
through here before, and those that a run has written for itself.
"""
