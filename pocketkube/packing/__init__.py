"""Packed storage: a whole model in one small file, each weight in the form that takes least."""

from pocketkube.packing.archive import load_packed, packs, read_forms, write_packed
from pocketkube.packing.forms import Blocks, Codebook, Form, Grid, decode

__all__ = [
    "Blocks",
    "Codebook",
    "Form",
    "Grid",
    "decode",
    "load_packed",
    "packs",
    "read_forms",
    "write_packed",
]
