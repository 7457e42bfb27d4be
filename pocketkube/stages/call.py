"""A call of a stage as one value, which can be written as a command line."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from pocketkube.errors import UserError, repeatable
from pocketkube.spec import parse_settings, settings_document
from pocketkube.stages.configs import StageConfig
from pocketkube.stages.registry import StageDefinition, stage_named


@dataclass(frozen=True)
class StageCall:
    """Which stage, on what, with which settings, and where its output goes.

    Attributes:
        stage: Its name.
        config: Its settings, and the parts of the spec that it depends on.
        inputs: By its inputs' names, a folder or s3:// address each.
        output: The folder or address to write; complete or absent.
        checkpoints: An s3:// address of this call's own, where checkpoints of its training are copied
            to: the same call goes on from them on another machine. None are if it is empty.
    """

    stage: str
    config: StageConfig
    inputs: Mapping[str, str]
    output: str
    checkpoints: str = ""

    def __post_init__(self) -> None:
        """Refuses what no stage can be asked for.

        Raises:
            UserError: If there is no such stage, or it takes other inputs.
        """
        definition = self.definition
        received = sorted(self.inputs)
        if not set(definition.inputs) <= set(received) <= {*definition.inputs, *definition.optional}:
            needed = _listed(definition.inputs)
            more = f", and may take {_listed(definition.optional)}" if definition.optional else ""
            raise UserError(
                f"{self.stage} needs {needed} as its inputs{more}; received {_listed(received)}."
            )

    @property
    def definition(self) -> StageDefinition:
        """How the stage is run."""
        return stage_named(self.stage)

    @property
    def shared(self) -> bool:
        """Whether several processes can share the stage's work."""
        return self.definition.shared

    def argv(self) -> list[str]:
        """The call as the words after `pocketkube`; it holds all of the config, and no file."""
        return [
            "stage",
            self.stage,
            "--config",
            json.dumps(settings_document(self.config)),
            *(f"--input={name}={place}" for name, place in self.inputs.items()),
            "--output",
            self.output,
            *(["--checkpoints", self.checkpoints] if self.checkpoints else []),
        ]


def config_of(stage: str, document: Mapping[str, object]) -> StageConfig:
    """Reads a stage's config, as `StageCall.argv` and a pipeline's task write it.

    Raises:
        UserError: If there is no such stage, or its config is wrong.
    """
    return parse_settings(stage_named(stage).config, document, stage)


def _listed(names: Collection[str]) -> str:
    return ", ".join(map(repeatable, names)) or "nothing"
