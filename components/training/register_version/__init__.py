"""Judges a new version beside the deployed one, keeps it, and deploys it if it passed."""

from components.training.register_version.component import register_version

__all__ = ["register_version"]
