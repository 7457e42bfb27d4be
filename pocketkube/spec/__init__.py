"""What the user asks for: one YAML file, read, checked and completed with defaults."""

from pocketkube.spec.explain import explain, json_schema
from pocketkube.spec.loading import load_spec, parse_spec, resolve_paths
from pocketkube.spec.schema import Spec

__all__ = ["Spec", "explain", "json_schema", "load_spec", "parse_spec", "resolve_paths"]
