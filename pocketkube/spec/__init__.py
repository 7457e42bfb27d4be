"""What the user asks for: one YAML file, read, checked and completed with defaults."""

from pocketkube.spec.explain import explain, json_schema
from pocketkube.spec.reading import (
    load_settings,
    load_spec,
    parse_settings,
    parse_spec,
    resolve_paths,
    with_imports,
    with_texts,
)
from pocketkube.spec.spec import Spec
from pocketkube.spec.writing import document_of, settings_document, yaml_of

__all__ = [
    "Spec",
    "document_of",
    "explain",
    "json_schema",
    "load_settings",
    "load_spec",
    "parse_settings",
    "parse_spec",
    "resolve_paths",
    "settings_document",
    "with_imports",
    "with_texts",
    "yaml_of",
]
