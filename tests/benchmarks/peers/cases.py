"""What is measured: methods at targets, for each seed, on a network."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pocketkube.errors import UserError
from tests.benchmarks.peers.environments import OURS

CHANNELS, LATENCY, SEARCH = "channels", "latency", "search"
BITS, SPARSITY = "bits", "sparsity"
# By family its targets: a speed-up, bits, or the part of the weights that becomes zero.
TARGETS: dict[str, tuple[float, ...]] = {
    CHANNELS: (2.0, 2.5, 3.3, 5.0, 10.0),
    LATENCY: (2.0, 3.3),
    SEARCH: (3.3, 5.0),
    BITS: (8.0, 4.0),
    SPARSITY: (0.5, 0.75, 0.9, 0.95),
}
SEEDS = (0, 1, 2)


@dataclass(frozen=True, eq=False)
class Method:
    """One way to compress.

    Attributes:
        name: What tables call it.
        family: What it does.
        module: Its module in `methods`.
        settings: What this is told.
        environment: What it runs in.
        targets: Those that it is asked for; the family's if empty.
        as_long_as: A method of the family whose seconds its search may take, instead of its trials.
    """

    name: str
    family: str
    module: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: str = OURS
    targets: tuple[float, ...] = ()
    as_long_as: str = ""


def _torch_pruning(importance: str, scope: str) -> Method:
    return Method(
        f"Torch-Pruning, group {importance}, {scope}",
        CHANNELS,
        "torch_pruning",
        {"importance": importance, "scope": scope},
        "torch-pruning",
    )


def _fastnas(family: str, divisor: int) -> Method:
    told = f"multiples of {divisor}" if divisor > 1 else "steps of 5 %"
    return Method(
        f"Model Optimizer, FastNAS, {told}", family, "fastnas", {"divisor": divisor}, "modelopt"
    )


def _ai_edge(name: str, recipe: str, bits: float, algorithm: str = "MIN_MAX_UNIFORM_QUANT") -> Method:
    settings, environment = {"recipe": recipe, "algorithm": algorithm}, "ai-edge-quantizer"
    return Method(f"{environment}, {name}", BITS, "ai_edge", settings, environment, (bits,))


_UNIFORM = {"criterion": "l1", "scope": "uniform", "reconstruct": False}
METHODS = (
    Method("PocketKube", CHANNELS, "channels"),
    Method("PocketKube, milp search", CHANNELS, "searched", {"sampler": "milp"}),
    Method(
        "PocketKube, milp search of trained trials",
        CHANNELS,
        "searched",
        {"sampler": "milp", "trained": True},
    ),
    *(
        _torch_pruning(importance, scope)
        for importance in ("norm", "taylor")
        for scope in ("global", "local", "isomorphic")
    ),
    _fastnas(CHANNELS, 4),
    Method(
        "model-compression-toolkit, Label-Free Hessian", CHANNELS, "mct_pruning", {"divisor": 8}, "mct"
    ),
    Method("uniform L1", CHANNELS, "channels", _UNIFORM),
    Method("nothing, trained on as others are", CHANNELS, "nothing", targets=(1.0,)),
    Method("PocketKube, by the latency table", LATENCY, "by_latency"),
    Method("PocketKube, milp", SEARCH, "searched", {"sampler": "milp"}),
    Method("PocketKube, tpe", SEARCH, "searched", {"sampler": "tpe"}),
    Method("Optuna alone, equal trials", SEARCH, "searched", {"sampler": "optuna"}),
    Method(
        "Optuna alone, equal time",
        SEARCH,
        "searched",
        {"sampler": "optuna"},
        as_long_as="PocketKube, milp",
    ),
    _fastnas(SEARCH, 1),
    Method("PocketKube", BITS, "bits"),
    Method("PocketKube, labels alone", BITS, "bits", {"taught": False}),
    Method("PocketKube, searched for each layer", BITS, "bits", {"search": "milp"}, targets=(4.0,)),
    Method("PocketKube, after training", BITS, "bits", {"epochs": 0}),
    Method("LiteRT after training, int8", BITS, "litert", {"numbers": "int8"}, targets=(8.0,)),
    Method("LiteRT after training, dynamic", BITS, "litert", {"numbers": "dynamic"}, targets=(8.0,)),
    _ai_edge("static int8", "static_wi8_ai8", 8.0),
    _ai_edge("4-bit weights alone", "weight_only_wi4_afp32", 4.0),
    _ai_edge("4-bit weights alone, OCTAV", "weight_only_wi4_afp32", 4.0, "OCTAV"),
    _ai_edge("dynamic, 4-bit weights", "dynamic_wi4_afp32", 4.0),
    Method('Keras, quantize("int8")', BITS, "keras_int8", targets=(8.0,)),
    *(
        Method(
            f"tfmot, quantisation-aware training{told}",
            BITS,
            "tfmot_qat",
            {"rate": rate},
            "tfmot",
            (8.0,),
        )
        for told, rate in (("", 0.1), (" at three tenths of the rate", 0.3), (" at the full rate", 1.0))
    ),
    Method("model-compression-toolkit, after training", BITS, "mct_bits", {}, "mct"),
    Method("model-compression-toolkit, gradient-based", BITS, "mct_bits", {"tuned": True}, "mct"),
    Method("PocketKube", SPARSITY, "sparsity"),
    Method("PocketKube, labels alone", SPARSITY, "sparsity", {"taught": False}),
    Method("tfmot, magnitude pruning", SPARSITY, "tfmot_sparsity", {}, "tfmot"),
)


@dataclass(frozen=True)
class Case:
    """A method at a target, on the network of a seed."""

    network: str
    seed: int
    target: float
    method: Method

    @property
    def told(self) -> str:
        """What people read."""
        return f"{self.network} seed {self.seed}, {self.method.name} at {self.target:g}"

    @property
    def place(self) -> str:
        """The folder's name, below the network's and the seed's."""
        words = "".join(c if c.isalnum() else "-" for c in self.method.name.lower()).split("-")
        return f"{self.method.family}-{self.target:g}-{'-'.join(filter(None, words))}"

    def named(self, name: str) -> "Case":
        """The same case of another method of its family."""
        return Case(self.network, self.seed, self.target, method_named(name, self.method.family))


def method_named(name: str, family: str) -> Method:
    """A family's method by its name."""
    return next(m for m in METHODS if (m.name, m.family) == (name, family))


def cases(
    networks: Iterable[str],
    seeds: Iterable[int],
    *,
    only: Iterable[str] = (),
    targets: Iterable[float] = (),
) -> list[Case]:
    """All cases, one seed after the other; within a seed, methods take turns at each target.

    Args:
        networks: Names of networks.
        seeds: Seeds.
        only: Parts of the names of methods or families, in any case; all if none.
        targets: Only these.

    Raises:
        UserError: If a part of a name is in none.
    """
    wanted = [part.lower() for part in only]
    names = {method: f"{method.family} {method.name}".lower() for method in METHODS}
    for part in wanted:
        if not any(part in name for name in names.values()):
            known = "; ".join(dict.fromkeys(method.name for method in METHODS))
            raise UserError(
                f"--only: {part} is in no name; families are {', '.join(TARGETS)}, methods {known}."
            )
    chosen = [m for m in METHODS if not wanted or any(part in names[m] for part in wanted)]
    few = set(targets)
    return [
        Case(network, seed, target, method)
        for seed in seeds
        for network in networks
        for family, known in TARGETS.items()
        for target in dict.fromkeys([*known, *(t for m in chosen for t in m.targets)])
        if not few or target in few
        for method in chosen
        if method.family == family and target in (method.targets or known)
    ]
