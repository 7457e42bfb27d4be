"""Reads archives and compressed data, which may come from anywhere, in bounded memory.

Nothing else in PocketKube opens them. What is refused is told by `Unreadable`, whose text the caller
completes with the file's name.
"""
