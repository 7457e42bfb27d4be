"""What a user has to know of an experiment that runs here: how a cluster would differ."""

import shlex
from collections.abc import Iterator

from pocketkube.search.local_katib.experiment import Experiment
from pocketkube.search.local_katib.template import Command, containers_of

_MPI_V2 = "kubeflow.org/v2beta1"
_LAUNCHER = {"training.kubeflow.org/job-role": "launcher"}
# Katib's collector finds no process that ends sooner.
COLLECTOR_SEES_S = 2.0


def notes_on(experiment: Experiment, command: Command) -> Iterator[str]:
    """Notes on an experiment before it runs.

    Args:
        experiment: The experiment.
        command: That of one of its trials.
    """
    template = experiment.template
    container = next(
        each for each in containers_of(template.spec) if each["name"] == template.container
    )
    image = container.get("image", "")
    yield f"The image {image} is not used: the command runs here, with this Python."
    if container.get("envFrom") or container.get("volumeMounts"):
        yield "Volumes and envFrom of the container are not used."
    if template.spec.get("kind") == "MPIJob":
        yield "The launcher's command runs here, without the MPIJob's workers."
        if template.spec.get("apiVersion") == _MPI_V2 and template.labels != _LAUNCHER:
            label = next(f"{key}: {value}" for key, value in _LAUNCHER.items())
            yield f"On a cluster, the trials never end unless primaryPodLabels are {label}."
    if experiment.max_trials is None and experiment.algorithm.name != "grid":
        yield "There is no maxTrialCount: only the goal, or Ctrl-C, ends the experiment."
    if not is_shell(command) and any(shlex.quote(word) != word for word in command.words):
        yield (
            "Katib joins the command's words by spaces, without quotes, and gives them to a shell, "
            "and so it is done here: some of them have characters that a shell reads."
        )


def is_shell(command: Command) -> bool:
    """Whether a command names a shell itself: then Katib adds none."""
    return len(command.words) > 1 and command.words[0] in ("sh", "bash") and command.words[1] == "-c"


def too_short(seconds: float) -> str:
    """A note on the shortest trial that succeeded; empty where it was long enough.

    Args:
        seconds: How long it ran.
    """
    if seconds >= COLLECTOR_SEES_S:
        return ""
    return (
        f"A trial ended within {seconds:.1f} s: on a cluster, Katib's collector misses the process of "
        "one that ends within a second, and the trial fails; let it live for 3 s."
    )
