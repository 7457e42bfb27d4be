"""The samplers by their names.

Each is imported when it is asked for: some bring Optuna, SciPy or scikit-learn, and the suggestion
service has little memory.
"""

from collections.abc import Mapping
from importlib import import_module

from pocketkube.errors import UserError
from pocketkube.search.sampler import Sampler

# The module of each, which calls it SAMPLER.
SAMPLERS: Mapping[str, str] = {
    "ddpg": "pocketkube.search.ddpg",
    "milp": "pocketkube.search.samplers.milp",
    "tpe": "pocketkube.search.samplers.tpe",
    "gp": "pocketkube.search.samplers.gp",
    "cmaes": "pocketkube.search.samplers.cmaes",
    "random": "pocketkube.search.samplers.random_points",
    "uniform": "pocketkube.search.samplers.uniform",
    "nsga2": "pocketkube.search.samplers.nsga2",
    "motpe": "pocketkube.search.samplers.motpe",
}


def sampler_named(name: str) -> Sampler:
    """A sampler.

    Raises:
        UserError: If there is none of this name.
    """
    if name not in SAMPLERS:
        raise UserError(f"There is no sampler {name}; there are: {', '.join(SAMPLERS)}.")
    sampler: Sampler = import_module(SAMPLERS[name]).SAMPLER
    return sampler
