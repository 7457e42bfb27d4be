"""Processes: those that one starts, those that share its work, and the cores that they have."""
