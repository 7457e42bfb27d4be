"""How right a model's outputs are for its task, and how that is said.

NumPy alone, so that a benchmark on a phone-class board judges as training does. A task more is a
measure here, and its loss in pocketkube.training.task.
"""

from pocketkube.measures.classes import Classes
from pocketkube.measures.measure import Judged, Measure
from pocketkube.measures.points import Points
from pocketkube.measures.told import measure_of, wording_of
from pocketkube.measures.values import Values
from pocketkube.measures.wording import Wording

__all__ = [
    "Classes",
    "Judged",
    "Measure",
    "Points",
    "Values",
    "Wording",
    "measure_of",
    "wording_of",
]
