"""How right a model's outputs are for its task, and how that is said.

NumPy alone, so that a benchmark on a phone-class board judges as training does. Each output is judged
by a measure of its own kind: a kind more is a measure here and a head in pocketkube.training.heads.
"""

from pocketkube.measures.classes import Classes
from pocketkube.measures.kinds import measure_of, task_measure_of, wording_of
from pocketkube.measures.maps import MAP_RANK, Maps
from pocketkube.measures.measure import Judgement, Measure
from pocketkube.measures.multi_label import MultiLabel
from pocketkube.measures.output_heads import (
    HeadMeasure,
    HeadScore,
    TaskMeasure,
    TaskScore,
    label_places,
    measure_of_labels,
)
from pocketkube.measures.points import Points
from pocketkube.measures.values import Values
from pocketkube.measures.wording import Wording

__all__ = [
    "MAP_RANK",
    "Classes",
    "HeadMeasure",
    "HeadScore",
    "Judgement",
    "Maps",
    "Measure",
    "MultiLabel",
    "Points",
    "TaskMeasure",
    "TaskScore",
    "Values",
    "Wording",
    "label_places",
    "measure_of",
    "measure_of_labels",
    "task_measure_of",
    "wording_of",
]
