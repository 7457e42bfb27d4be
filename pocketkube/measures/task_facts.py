"""What bundles, results and samples say of a task: which outputs there are and how each is judged."""

from typing import Any

from pydantic import ConfigDict

from pocketkube.files.records import Record


class OutputFacts(Record):
    """One output of a model. What else its kind of measure or of loss needs stands beside these fields.

    Attributes:
        kind: The measure's kind, as in "classification".
        name: The output's; empty where there are only labels to tell by.
        scored: Whether there are labels for it.
        weight: What its loss counts beside those of other outputs.
        loss: The loss as Keras writes it down; None where it is not trained.
    """

    model_config = ConfigDict(extra="allow")

    kind: str
    name: str = ""
    scored: bool = True
    weight: float = 1.0
    loss: Any = None


class OutputsFacts(Record):
    """What is needed to judge a model.

    Attributes:
        heads: One for each output.
    """

    heads: tuple[OutputFacts, ...]


class TaskFacts(OutputsFacts):
    """A task.

    Attributes:
        score_name: What machines call the score of all outputs.
        description: The loss, and how it is known, in a sentence.
        weighted: How many arrays of labels stand before the weights of training examples; None where
            these have none.
    """

    score_name: str
    description: str
    weighted: int | None = None
