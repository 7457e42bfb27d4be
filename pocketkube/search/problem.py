"""A search as plain data: what may be chosen, what it costs, and how much may be spent.

It travels compressed in an experiment's algorithm settings: the suggestion service needs nothing else.
"""

import base64
import json
import zlib
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from pocketkube.bounded.streams import inflated
from pocketkube.errors import UserError
from pocketkube.graph.cost_model import CostModel
from pocketkube.graph.file_bytes import FileBytes, FileForm
from pocketkube.search.space import Decides, Parameter, Space

if TYPE_CHECKING:
    from pocketkube.latency_table.budget import Latency

# "mean_bits" counts over all weights that have a parameter of bits; "bytes" are the file's; "latency"
# is in nanoseconds, from a latency table.
CostName = Literal["macs", "parameters", "mean_bits", "bytes", "latency"]

SCHEMA_VERSION = 1
# A problem's JSON is some hundred kilobytes; a setting that grows beyond this is none of ours.
MOST_JSON_BYTES = 64 << 20
# So many choices are priced at once: what that takes of memory stays small.
CHUNK = 1024


@dataclass(frozen=True)
class Limit:
    """The most that may be spent.

    Attributes:
        cost: Of what.
        most: How much, in the cost's unit.
    """

    cost: CostName
    most: float


@dataclass(frozen=True)
class Front:
    """Where a search looks for the best score at each of many budgets, and not at one.

    They lie between `least` and the limit's `most`.

    Attributes:
        least: The lowest budget, in the limit's unit.
        target: The budget of what the job goes on with.
    """

    least: float
    target: float


@dataclass(frozen=True)
class Problem:
    """What a sampler knows of a search.

    Attributes:
        space: What may be chosen.
        network: What the network costs with any number of its channels.
        limit: What the whole network may cost; the highest budget of a front.
        losses: Foreseen loss of the score of each parameter at each of its levels, all others whole, as
            the sensitivity analysis measured it: 0 or more, `[levels]` for each parameter; empty where
            nothing was measured.
        file: How the LiteRT file stores what no parameter decides; only "bytes" asks for it.
        latency: The latency of `network`, from a table; None where there is none.
        front: The budgets, where there is more than one.
        ranked: The choice of the stage itself, were there no search; empty where it is not known.
    """

    space: Space
    network: CostModel
    limit: Limit
    losses: tuple[tuple[float, ...], ...] = ()
    file: FileForm = field(default_factory=FileForm)
    latency: "Latency | None" = None
    front: Front | None = None
    ranked: tuple[int, ...] = ()

    @cached_property
    def cost_names(self) -> tuple[CostName, ...]:
        """What can be said of a choice's costs."""
        searched = {each.decides for each in self.space.parameters}
        known: dict[CostName, bool] = {
            "macs": True,
            "parameters": True,
            "mean_bits": "bits" in searched,
            "bytes": True,
            "latency": self.latency is not None,
        }
        return tuple(name for name, is_known in known.items() if is_known)

    @cached_property
    def is_monotone(self) -> bool:
        """Whether a dearer level never makes the limit's cost less, whatever the others are.

        Not so latency, as measured times go up and down; the mean of bits where channels are cut; and
        bytes where zeros are left out, as an index of each other number may take more than they did.
        """
        searched = {each.decides for each in self.space.parameters}
        if self.limit.cost == "bytes":
            return not (self.file.leaves_zeros_out and "sparsity" in searched)
        return self.limit.cost in ("macs", "parameters") or (
            self.limit.cost == "mean_bits" and searched == {"bits"}
        )

    @cached_property
    def cheapest(self) -> tuple[int, ...]:
        """The choice that costs least: the lowest levels of all, unless others may cost less.

        Then of each parameter that level which costs least with all others at their lowest.
        """
        sizes = self.space.sizes
        lowest = np.zeros(len(sizes), int)
        if not self.is_monotone:
            costs = np.split(self.costs(self.space.changes(lowest)), np.cumsum(sizes)[:-1])
            other = np.array([int(each.argmin()) for each in costs])
            lowest = min(lowest, other, key=self.cost)
        return tuple(lowest.tolist())

    def counts(self, choices: np.ndarray) -> np.ndarray:
        """Units that each of the network's groups keeps, `[choices, groups]`.

        A level is the part that is kept of each of a parameter's groups: its size times the level,
        rounded to a multiple of its step, and no less than its least. A group without a parameter keeps
        all.

        Args:
            choices: `[choices, parameters]`.
        """
        choices = np.asarray(choices, int)
        counts = np.tile(self.network.sizes, (len(choices), 1))
        compiled = self._compiled
        if len(compiled.groups):
            chosen = choices[:, compiled.kept]
            counts[:, compiled.groups] = compiled.counts[np.arange(len(compiled.groups)), chosen]
        return counts

    def costs(self, choices: np.ndarray, of: CostName | None = None) -> np.ndarray:
        """What choices cost, `[choices]`.

        - "macs": multiply-adds at batch size 1, whatever is zero and however many bits.
        - "parameters": numbers in all weights that are not zero; zeros are those that sparsity makes.
        - "mean_bits": bits of each weight that has a parameter of bits, on average; zeros count, too.
        - "bytes": of the LiteRT file, as `FileBytes` counts them: 2 to 4 bits take half a byte in a
          file of integers, and zeros are left out only where the export leaves them out.
        - "latency": nanoseconds from the latency table, which follow from the channels alone.

        Args:
            choices: `[choices, parameters]`.
            of: Which cost; that of the limit where it is not said.

        Raises:
            UserError: If the problem does not know this cost.
        """
        of = of or self.limit.cost
        if of not in self.cost_names:
            raise UserError(
                f"The search cannot tell {of}: "
                + (
                    "no parameter decides bits."
                    if of == "mean_bits"
                    else "it has no latency table."
                    if of == "latency"
                    else f"it knows {', '.join(self.cost_names)}."
                )
            )
        choices = np.asarray(choices, int)
        parts = [
            self._costs(of, choices[start : start + CHUNK]) for start in range(0, len(choices), CHUNK)
        ]
        return np.concatenate([np.empty(0), *parts])

    def cost(self, choice: Any, of: CostName | None = None) -> float:
        """What one choice costs; see `costs`.

        Args:
            choice: `[parameters]`.
            of: Which cost; that of the limit where it is not said.
        """
        return float(self.costs(np.asarray(choice, int)[None], of)[0])

    def excess(self, choices: np.ndarray) -> np.ndarray:
        """How far choices go beyond the limit, `[choices]`; 0 or less is within it.

        In the limit's unit, but for the mean of bits, where it is all bits of the weights that are too
        many: a sum over layers.

        Args:
            choices: `[choices, parameters]`.
        """
        if self.limit.cost != "mean_bits":
            return self.costs(choices) - self.limit.most
        choices = np.asarray(choices, int)
        sizes, bits = self._sized_bits(choices)
        return (sizes * (bits - self.limit.most)).sum(axis=1)

    def all_costs(self, choice: Any) -> dict[str, float]:
        """Every cost of one choice that can be told, by its name."""
        return {name: self.cost(choice, name) for name in self.cost_names}

    def limited(self, most: float) -> "Problem":
        """The same search with one budget.

        Args:
            most: How much may be spent, in the limit's unit.
        """
        other = replace(self, limit=Limit(self.limit.cost, most), front=None)
        # No budget plays a part in it, and it takes longer than an answer.
        other.__dict__["_compiled"] = self._compiled
        return other

    def to_json(self) -> str:
        """Everything, as JSON that `from_json` reads."""
        latency = None
        if self.latency is not None:
            table = self.latency.table
            used = {each.kind for each in self.latency.operations}
            form = self.latency.number_format
            smaller = table.model_copy(
                update={
                    "kinds": tuple(each for each in table.kinds if each.kind in used),
                    "calls": {form: table.call(form)},
                    "networks": (),
                    "warnings": (),
                }
            )
            latency = {
                "table": smaller.model_dump(mode="json"),
                "operations": [asdict(each) for each in self.latency.operations],
                "number_format": form,
            }
        return json.dumps(
            {
                "schema_version": SCHEMA_VERSION,
                "parameters": [asdict(each) for each in self.space.parameters],
                "network": json.loads(self.network.to_json()),
                "limit": asdict(self.limit),
                "losses": self.losses,
                "file": asdict(self.file),
                "latency": latency,
                "front": None if self.front is None else asdict(self.front),
                "ranked": self.ranked,
            },
            separators=(",", ":"),
        )

    @classmethod
    def from_json(cls, text: str) -> "Problem":
        """What `to_json` wrote.

        Raises:
            UserError: If the text is none, contradicts itself, or is of a version that this one does
                not know.
        """
        try:
            facts = json.loads(text)
            version = facts["schema_version"]
        except (ValueError, KeyError, TypeError):
            raise UserError(
                "This is no search problem: it has to be JSON with a schema_version."
            ) from None
        if version != SCHEMA_VERSION:
            raise UserError(
                f"The search problem has the schema_version {version}; this version of PocketKube "
                f"reads {SCHEMA_VERSION}."
            )
        try:
            network = CostModel.from_json(json.dumps(facts["network"]))
            problem = cls(
                Space(tuple(map(_parameter, facts["parameters"]))),
                network,
                Limit(facts["limit"]["cost"], float(facts["limit"]["most"])),
                tuple(tuple(map(float, each)) for each in facts["losses"]),
                _file_form(facts),
                None if facts["latency"] is None else _latency(network, facts["latency"]),
                _front(facts.get("front")),
                tuple(map(int, facts.get("ranked", ()))),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(f"The search problem is damaged: {type(error).__name__} {error}.") from None
        problem.check()
        return problem

    def to_setting(self) -> str:
        """Everything as compressed text without spaces, for an experiment's algorithm settings."""
        return base64.urlsafe_b64encode(zlib.compress(self.to_json().encode(), 9)).decode()

    @classmethod
    def from_setting(cls, text: str) -> "Problem":
        """What `to_setting` wrote.

        Raises:
            UserError: If the text is damaged, or as in `from_json`.
        """
        return cls.from_json(unpacked_text(text, "search problem"))

    def check(self) -> None:
        """Sees whether the parts fit together.

        Raises:
            UserError: If they contradict each other.
        """
        for each in self.space.parameters:
            _check_parameter(each)
        double = {name for name in self.space.names if self.space.names.count(name) > 1}
        if double:
            raise UserError(f"Two parameters of the search are called {min(double)}.")
        if not self.space.parameters:
            raise UserError("The search has no parameters: there is nothing to choose.")
        if self.losses and [len(each) for each in self.losses] != self.space.sizes.tolist():
            raise UserError("The losses of the search have to be one for each level of each parameter.")
        if not all(np.isfinite(each).all() for each in self.losses):
            raise UserError("The losses of the search have to be numbers.")
        if self.ranked and not self.space.has(self.ranked):
            raise UserError("The ranked choice of the search has to be one level of each parameter.")
        if self.limit.cost not in self.cost_names:
            raise UserError(
                f"The search cannot be limited in {self.limit.cost}; it knows "
                f"{', '.join(self.cost_names)}."
            )
        if not np.isfinite(self.limit.most):
            raise UserError(f"The search's limit has to be a number; received {self.limit.most}.")
        if self.front and not 0 < self.front.least <= self.front.target <= self.limit.most:
            raise UserError(
                "The budgets of the search's front have to rise from the least above 0 to the most, "
                f"with the target between; received {self.front.least:g}, {self.front.target:g} and "
                f"{self.limit.most:g}."
            )
        self._compiled  # noqa: B018 - names that do not exist are found here

    def _costs(self, of: CostName, choices: np.ndarray) -> np.ndarray:
        counts, compiled = self.counts(choices), self._compiled
        if of == "macs":
            return np.asarray(self.network.macs(counts), float)
        zeros = self._zeros(choices)
        if of == "parameters" and zeros is None:
            return np.asarray(self.network.parameters(counts), float)
        if of == "parameters":
            sizes = self.network.weight_sizes(counts)
            return (sizes - np.rint(zeros * sizes)).sum(axis=1)
        if of == "latency":
            assert self.latency is not None
            return self.latency.costs(counts)
        if of == "bytes":
            return compiled.file.costs_at(counts, self._bits(choices), zeros)
        sizes, bits = self._sized_bits(choices)
        return (sizes * bits).sum(axis=1) / sizes.sum(axis=1)

    def _bits(self, choices: np.ndarray) -> np.ndarray:
        """Bits of each weight, `[choices or 1, weights]`."""
        compiled = self._compiled
        bits = compiled.file.known_bits
        if len(compiled.bits.weights):
            bits = np.repeat(bits, len(choices), axis=0)
            bits[:, compiled.bits.weights] = compiled.bits.chosen(choices)
        return bits

    def _zeros(self, choices: np.ndarray) -> np.ndarray | None:
        """The part of each weight that is zero, `[choices, weights]`; None where none is decided."""
        compiled = self._compiled
        if not len(compiled.sparsity.weights):
            return None
        parts = np.zeros((len(choices), compiled.weights))
        parts[:, compiled.sparsity.weights] = compiled.sparsity.chosen(choices)
        return parts

    def _sized_bits(self, choices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numbers in each weight that has a parameter of bits, and its bits, `[choices, weights]`."""
        decided = self._compiled.bits
        sizes = self.network.weight_sizes(self.counts(choices))
        return sizes[:, decided.weights], decided.chosen(choices)

    @cached_property
    def _compiled(self) -> "_Compiled":
        return _compile(self)


def unpacked_text(setting: str, what: str) -> str:
    """Text that was compressed by zlib and written in url-safe base64.

    Args:
        setting: The compressed text.
        what: What it is, for the message.

    Raises:
        UserError: If it is none, cut off, or grows too large.
    """
    damaged = UserError(f"This is no {what}: it has to be compressed text as PocketKube wrote it.")
    try:
        packed = base64.b64decode(setting.encode("ascii"), altchars=b"-_", validate=True)
        return inflated(packed, MOST_JSON_BYTES).decode()
    except ValueError:
        raise damaged from None


@dataclass(frozen=True)
class _OfWeights:
    """What parameters decide of weights.

    Attributes:
        weights: The numbers of the weights that are decided.
        parameters: The parameter of each of them.
        levels: What each of them gets at each level, `[decided weights, most levels]`.
    """

    weights: np.ndarray
    parameters: np.ndarray
    levels: np.ndarray

    def chosen(self, choices: np.ndarray) -> np.ndarray:
        """What they get, `[choices, decided weights]`."""
        return self.levels[np.arange(len(self.weights)), choices[:, self.parameters]]


@dataclass(frozen=True)
class _Compiled:
    """The same as arrays.

    Attributes:
        groups: The groups that have a parameter.
        kept: The parameter of each of them.
        counts: How many units each of them keeps at each level, `[groups, most levels]`.
        sparsity: What is decided of zeros.
        bits: What is decided of bits.
        weights: How many weights the network has.
        file: The bytes of its file.
    """

    groups: np.ndarray
    kept: np.ndarray
    counts: np.ndarray
    sparsity: _OfWeights
    bits: _OfWeights
    weights: int
    file: FileBytes


def _compile(problem: Problem) -> _Compiled:
    network, parameters = problem.network, problem.space.parameters
    numbers = {group.name: number for number, group in enumerate(network.groups)}
    owner: dict[int, int] = {}
    for place, parameter in enumerate(parameters):
        for target in parameter.targets if parameter.decides == "kept" else ():
            if target not in numbers:
                raise UserError(
                    f"{parameter.name} decides on {target}, which is no group of channels of "
                    f"{network.network}."
                )
            if owner.setdefault(numbers[target], place) != place:
                raise UserError(f"Two parameters of the search decide on the channels of {target}.")
    width = max((len(parameters[place].levels) for place in owner.values()), default=1)
    counts = np.zeros((len(owner), width), int)
    for row, (number, place) in enumerate(owner.items()):
        group, levels = network.groups[number], np.array(parameters[place].levels)
        rounded = np.rint(group.size * levels / group.step) * group.step
        # A level of 1 is all units, whether or not they are a multiple of the step.
        rounded = np.where(levels >= 1, group.size, rounded)
        kept = np.clip(rounded, min(group.least, group.size), group.size)
        counts[row, : len(kept)] = kept
    weights = [
        (f"{layer.name}/{weight.name}", weight.is_matrix)
        for layer in network.layers
        for weight in layer.weights
    ]
    return _Compiled(
        groups=np.array(list(owner), int),
        kept=np.array(list(owner.values()), int),
        counts=counts,
        sparsity=_of_weights(parameters, "sparsity", weights),
        bits=_of_weights(parameters, "bits", weights),
        weights=len(weights),
        file=FileBytes(network, problem.file),
    )


def _of_weights(
    parameters: tuple[Parameter, ...], decides: Decides, weights: list[tuple[str, bool]]
) -> _OfWeights:
    """What parameters decide of the matrices of layers; depthwise ones never get zeros."""
    owner: dict[int, int] = {}
    for place, parameter in enumerate(parameters):
        if parameter.decides != decides:
            continue
        for target in parameter.targets:
            of_target = [
                number
                for number, (path, is_matrix) in enumerate(weights)
                if is_matrix
                and path.startswith(f"{target}/")
                and not (decides == "sparsity" and path.endswith("depthwise_kernel"))
            ]
            if not of_target:
                raise UserError(
                    f"{parameter.name} decides on {target}, which is no layer with a matrix of weights."
                )
            for number in of_target:
                if owner.setdefault(number, place) != place:
                    raise UserError(
                        f"{parameters[owner[number]].name} and {parameter.name} both decide on "
                        f"{weights[number][0]}."
                    )
    width = max((len(parameters[place].levels) for place in owner.values()), default=1)
    levels = np.zeros((len(owner), width))
    for row, place in enumerate(owner.values()):
        levels[row, : len(parameters[place].levels)] = parameters[place].levels
    return _OfWeights(np.array(list(owner), int), np.array(list(owner.values()), int), levels)


def _check_parameter(parameter: Parameter) -> None:
    levels = np.array(parameter.levels, float)
    rising = levels[::-1] if parameter.decides == "sparsity" else levels
    lowest, highest = {"kept": (0, 1), "sparsity": (0, 1), "bits": (1, 32)}[parameter.decides]
    if (
        not len(levels)
        or not np.isfinite(levels).all()
        or levels.min() < lowest
        or levels.max() > highest
        or (np.diff(rising) <= 0).any()
    ):
        shown = ", ".join(f"{each:g}" for each in parameter.levels) or "none"
        raise UserError(
            f"The levels of {parameter.name} have to go from the cheapest to the dearest, and lie from "
            f"{lowest} to {highest}; received {shown}."
        )


def _parameter(facts: Any) -> Parameter:
    if facts["decides"] not in get_args(Decides):
        raise ValueError(f"{facts['decides']!r} is not one of {', '.join(get_args(Decides))}")
    return Parameter(
        str(facts["name"]),
        facts["decides"],
        tuple(facts["targets"]),
        tuple(map(float, facts["levels"])),
    )


def _front(facts: Any) -> Front | None:
    return None if facts is None else Front(float(facts["least"]), float(facts["target"]))


def _file_form(facts: Any) -> FileForm:
    if "file" in facts:
        return FileForm(**facts["file"])
    # An earlier version wrote the bits alone.
    bits = int(facts["default_bits"])
    return FileForm("float32") if bits == 32 else FileForm("float16" if bits == 16 else "int8")


def _latency(network: CostModel, facts: Any) -> "Latency":
    # Pydantic takes some memory: only a search under a latency limit pays for it.
    from pocketkube.graph.cost_model import Extent
    from pocketkube.latency_table.budget import Latency, Length, NetworkOperation
    from pocketkube.latency_table.table import LatencyTable

    def axis(facts: Any) -> Extent | None:
        if facts is None:
            return None
        return Extent(facts["fixed"], {name: tuple(each) for name, each in facts["per_unit"].items()})

    operations = tuple(
        NetworkOperation(
            operation["kind"],
            tuple(
                tuple(Length(length["times"], axis(length["axis"])) for length in size)
                for size in operation["size"]
            ),
        )
        for operation in facts["operations"]
    )
    table = LatencyTable.model_validate(facts["table"])
    return Latency(network, table, operations, str(facts["number_format"]))
