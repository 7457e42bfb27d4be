"""LiteRT files: conversion from Keras, and the check that the file still does what the model does."""

from pocketkube.deploy.agreement import Agreement, check_agreement
from pocketkube.deploy.contents import notes_on
from pocketkube.deploy.convert import convert_litert

__all__ = ["Agreement", "check_agreement", "convert_litert", "notes_on"]
