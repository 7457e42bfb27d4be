"""LiteRT files: conversion from Keras, and the check that the file still does what the model does."""

from pocketkube.deploy.agreement import Agreement, check_agreement, notes_on_components
from pocketkube.deploy.contents import notes_on
from pocketkube.deploy.convert import SPARSE_FORMATS, convert_litert
from pocketkube.deploy.recurrent import notes_on_steps
from pocketkube.deploy.sparse_kernels import SparseKernels, sparse_kernels

__all__ = [
    "SPARSE_FORMATS",
    "Agreement",
    "SparseKernels",
    "check_agreement",
    "convert_litert",
    "notes_on",
    "notes_on_components",
    "notes_on_steps",
    "sparse_kernels",
]
