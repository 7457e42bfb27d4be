"""Adds PocketKube to Katib's own configuration: `python -m manifests.register_in_katib < ConfigMap`.

Katib keeps its configuration as the text of one key of a ConfigMap, where kustomize cannot reach.
"""

import sys
from pathlib import Path
from typing import Any

import yaml

from pocketkube.cli.ending import plain_ending
from pocketkube.errors import UserError
from pocketkube.kube.doctor.katib import CONFIG, KEY

ENTRIES = Path(__file__).parent / "katib" / "entries.yaml"


def main() -> None:
    """Reads the ConfigMap from standard input, and writes it with our entries to standard output."""
    sys.stdout.write(registered(sys.stdin.read(), ENTRIES.read_text("utf-8")))


def registered(config_map: str, entries: str) -> str:
    """A ConfigMap of Katib's with our entries in it; comments in its text are lost.

    What is there of ours already is replaced, and all else stays as it is.

    Args:
        config_map: The ConfigMap, as YAML or JSON.
        entries: What is ours, as the same part of a KatibConfig.

    Raises:
        UserError: If it is none of Katib's, or of a form that is not known here.
    """
    try:
        document = yaml.safe_load(config_map)
        config = yaml.safe_load(document["data"][KEY])
        if not isinstance(config, dict) or config["kind"] != "KatibConfig":
            raise KeyError("kind")
        ours = yaml.safe_load(entries)
        _add(config, ours)
    except (yaml.YAMLError, LookupError, TypeError, AttributeError):
        raise UserError(
            f"This is no ConfigMap {CONFIG} with a KatibConfig in {KEY}; kubectl -n kubeflow get "
            f"configmap {CONFIG} -o yaml prints it."
        ) from None
    document["data"][KEY] = yaml.safe_dump(config, sort_keys=False)
    # What the API server alone writes.
    for name in ("creationTimestamp", "managedFields", "uid"):
        document["metadata"].pop(name, None)
    return yaml.safe_dump(document, sort_keys=False)


def _add(config: dict[str, Any], ours: dict[str, Any]) -> None:
    controller = config["init"]["controller"]
    resources = controller.get("trialResources") or []
    wanted = ours["init"]["controller"]["trialResources"]
    controller["trialResources"] = [*resources, *(each for each in wanted if each not in resources)]
    suggestions = config["runtime"].get("suggestions") or []
    names = {each["algorithmName"] for each in ours["runtime"]["suggestions"]}
    config["runtime"]["suggestions"] = [
        *(each for each in suggestions if each["algorithmName"] not in names),
        *ours["runtime"]["suggestions"],
    ]


if __name__ == "__main__":
    with plain_ending():
        main()
