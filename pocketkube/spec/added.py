"""How a spec reads what was added from outside: by its name, its settings checked by its own class."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    GetJsonSchemaHandler,
    PlainSerializer,
    PlainValidator,
    ValidationError,
)
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError

from pocketkube.extension import Registry
from pocketkube.spec.settings import Settings


class Choice:
    """A field's names: those that are built in, and those that were added.

    Attributes:
        builtin: The names that are built in.
    """

    def __init__(self, registry: Registry, builtin: tuple[str, ...]) -> None:
        self._registry, self.builtin = registry, builtin

    def __get_pydantic_core_schema__(self, source: Any, handler: Any) -> CoreSchema:
        return handler.generate_schema(Annotated[source, AfterValidator(self._known)])

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"enum": list(self._registry.names(self.builtin)), "type": "string"}

    def _known(self, name: str) -> str:
        if name in self.builtin:
            return name
        # It is not loaded: a spec is read where there is no TensorFlow.
        names = self._registry.names(self.builtin)
        if name not in names:
            # As pydantic says it of a Literal.
            expected = {"expected": repr_of(names)}
            raise PydanticCustomError("literal_error", "must be {expected}", expected)
        return name


def repr_of(names: tuple[str, ...]) -> str:
    """Names in quotes, as pydantic writes the values of a Literal."""
    return ", ".join(map(repr, names))


def checked(kind: type[Settings], name: str, value: Any) -> Settings:
    """Settings of a class of which only the name is known before.

    Args:
        kind: The class.
        name: The name that stands above them in the spec.
        value: What stands there, or settings that are checked already.

    Raises:
        ValidationError: If they are wrong; its locations begin with the name.
    """
    try:
        return kind.model_validate({} if value is None else value, strict=True)
    except ValidationError as error:
        problems = []
        for found in error.errors():
            kept = {key: found[key] for key in ("type", "input", "ctx") if key in found}  # type: ignore[literal-required]
            problems.append(InitErrorDetails(**kept, loc=(name, *found["loc"])))  # type: ignore[typeddict-item]
        raise ValidationError.from_exception_data(kind.__name__, problems) from None


def added_settings(registry: Registry, builtin: tuple[str, ...], base: type[Settings]) -> Any:
    """The annotation of a field that holds the settings of one thing that was added, by its name.

    Args:
        registry: Knows the names.
        builtin: The names that are built in.
        base: What their classes are subclasses of.
    """

    def check(value: Any) -> dict[str, Settings]:
        if not isinstance(value, Mapping) or len(value) != 1:
            raise ValueError(
                f"must be a name with its settings, {{name: {{}}}}; received {value!r:.60}"
            )
        ((name, given),) = value.items()
        kind = registry.find(str(name), builtin, base)
        if kind is None:
            raise PydanticCustomError(
                "literal_error", "must be {expected}", {"expected": repr_of(registry.names())}
            )
        return {name: checked(kind, name, given)}

    def dump(value: Mapping[str, Settings] | None, info: Any) -> Any:
        options = {"mode": info.mode, "exclude_defaults": info.exclude_defaults}
        return value and {name: each.model_dump(**options) for name, each in value.items()}

    return Annotated[
        dict[str, Settings],
        PlainValidator(check, json_schema_input_type=dict[str, Any]),
        PlainSerializer(dump),
    ]


def below_added(value: Any, fields: Mapping[str, Any], registry: Registry) -> Any:
    """Brings {name: settings} of what was added to {added: {name: settings}}.

    Args:
        value: What stands in the spec.
        fields: The section's own fields; all else may be a name.
        registry: Knows the names.
    """
    if not isinstance(value, dict):
        return value
    unknown = [key for key in value if key not in fields]
    if not unknown or len(unknown) > 1 or "added" in value or unknown[0] not in registry.names():
        return value
    (name,) = unknown
    return {**{key: each for key, each in value.items() if key != name}, "added": {name: value[name]}}
