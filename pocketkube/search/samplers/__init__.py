"""The samplers by their names.

Each is imported when it is asked for: some bring Optuna, SciPy or scikit-learn, and the suggestion
service has little memory.
"""

from collections.abc import Mapping
from importlib import import_module

from pocketkube.errors import UserError
from pocketkube.search.sampler import Sampler

# The module and the class of each.
SAMPLERS: Mapping[str, str] = {
    "ddpg": "pocketkube.search.ddpg:DDPG",
    "milp": "pocketkube.search.samplers.milp:Milp",
    "tpe": "pocketkube.search.samplers.tpe:Tpe",
    "gp": "pocketkube.search.samplers.gp:Gp",
    "cmaes": "pocketkube.search.samplers.cmaes:CmaEs",
    "random": "pocketkube.search.samplers.random_points:RandomPoints",
    "uniform": "pocketkube.search.samplers.uniform:Uniform",
}


def sampler_named(name: str) -> Sampler:
    """A sampler.

    Raises:
        UserError: If there is none of this name.
    """
    if name not in SAMPLERS:
        raise UserError(f"There is no sampler {name}; there are: {', '.join(SAMPLERS)}.")
    module, kind = SAMPLERS[name].split(":")
    sampler: Sampler = getattr(import_module(module), kind)()
    return sampler
