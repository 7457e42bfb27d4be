"""A search whose best answer is known: a chain of convolutions and a loss for each of their levels."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from pocketkube.graph.cost_model import (
    CallShapes,
    ChannelGroup,
    CostModel,
    Extent,
    Layer,
    Product,
    Shape,
    Weight,
)
from pocketkube.graph.file_bytes import FileForm
from pocketkube.search.problem import CostName, Limit, Problem
from pocketkube.search.space import Parameter, Space

LEVELS = (0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1.0)
BITS = (2.0, 3.0, 4.0, 6.0, 8.0)
SPARSITIES = (0.9, 0.75, 0.5, 0.25, 0.0)
KERNEL = 3


@dataclass(frozen=True)
class Synthetic:
    """A problem, and what its choices are really worth.

    The score falls by each parameter's own loss, by a part where two neighbours are both cut, and by
    noise, which is the same each time for the same choice.

    Attributes:
        problem: The search; its `losses` are the parameters' own ones, or a blurred sight of them.
        true_losses: The parameters' own losses, `[levels]` for each.
        coupling: How much two neighbours' losses add to each other.
        noise: Standard deviation of the score's noise.
    """

    problem: Problem
    true_losses: tuple[tuple[float, ...], ...]
    coupling: float = 0.0
    noise: float = 0.0

    def score(self, choice: tuple[int, ...] | np.ndarray) -> float:
        """What a trial of a choice would report: 1 for the whole network, less for any other."""
        lost = [self.true_losses[place][int(level)] for place, level in enumerate(choice)]
        both = sum(np.sqrt(one * two) for one, two in pairwise(lost))
        noise = 0.0
        if self.noise:
            noise = self.noise * np.random.default_rng([int(level) for level in choice]).normal()
        return float(1 - sum(lost) - self.coupling * both + noise)


def chain(
    layers: int = 8,
    *,
    size: int = 32,
    step: int = 4,
    least: int = 8,
    image: int = 8,
    widen: bool = True,
) -> CostModel:
    """Convolutions one after the other, each with channels of its own, and a dense layer of 10 classes.

    Args:
        layers: How many convolutions.
        size: Channels of each; of the later half, the double.
        step: In which steps channels go.
        least: The fewest of a convolution's channels.
        image: Height and width of all images.
        widen: Whether later convolutions have more channels.
    """
    groups, made = [], []
    inputs = Extent(3)
    for number in range(layers):
        name = f"conv{number}"
        channels = size * (2 if widen and number >= layers // 2 else 1)
        outputs = Extent(0, {name: (1,)})
        groups.append(ChannelGroup(name, channels, step, least, (name,)))
        made.append(convolution(name, f"conv{number - 1}" if number else "", image, inputs, outputs))
        inputs = outputs
    made.append(classifier(f"conv{layers - 1}", inputs))
    return CostModel("chain", tuple(groups), tuple(made))


def residual(blocks: int = 9, *, width: int = 16, image: int = 32) -> CostModel:
    """A residual network for CIFAR: three stages of blocks of two convolutions (27 blocks: ResNet-56).

    The blocks of a stage add to one another, so that what they give out is one group; each first
    convolution of a block is one of its own.

    Args:
        blocks: In each stage.
        width: Channels of the first stage; each further one has the double.
        image: Height and width of the input.
    """
    stages = [Extent(0, {f"stage{number}": (1,)}) for number in range(3)]
    groups = [
        ChannelGroup(f"stage{number}", width << number, 8, 8, (f"stage{number}",))
        for number in range(3)
    ]
    made = [convolution("stage0", "", image, Extent(3), stages[0])]
    inputs, source = stages[0], "stage0"
    for number, outputs in enumerate(stages):
        for block in range(blocks):
            inner, name = Extent(0, {f"inner{number}_{block}": (1,)}), f"inner{number}_{block}"
            groups.append(ChannelGroup(name, width << number, 4, 4, (name,)))
            made.append(convolution(name, source, image >> number, inputs, inner))
            source = f"out{number}_{block}"
            made.append(convolution(source, name, image >> number, inner, outputs))
            if inputs is not outputs:
                made.append(convolution(f"stage{number}", name, image >> number, inputs, outputs, 1))
            inputs = outputs
    made.append(classifier(source, inputs))
    return CostModel("residual", tuple(groups), tuple(made))


def convolution(
    name: str, source: str, image: int, inputs: Extent, outputs: Extent, kernel: int = KERNEL
) -> Layer:
    here: Shape = (Extent(image), Extent(image), inputs)
    there: Shape = (Extent(image), Extent(image), outputs)
    sides = (Extent(kernel), Extent(kernel))
    return Layer(
        name,
        "Conv2D",
        (source,),
        (CallShapes((here,), (there,), (Product(float(image * kernel) ** 2, (inputs, outputs)),)),),
        (Weight("kernel", (*sides, inputs, outputs)), Weight("bias", (outputs,))),
        kernel_size=(kernel, kernel),
        strides=(1, 1),
        padding="same",
        use_bias=True,
    )


def classifier(source: str, inputs: Extent) -> Layer:
    classes = Extent(10)
    return Layer(
        "head",
        "Dense",
        (source,),
        (CallShapes(((inputs,),), ((classes,),), (Product(1.0, (inputs, classes)),)),),
        (Weight("kernel", (inputs, classes)), Weight("bias", (classes,))),
        use_bias=True,
    )


def synthetic(
    layers: int = 8,
    *,
    seed: int = 0,
    part: float = 0.5,
    cost: CostName = "macs",
    decides: tuple[str, ...] = ("kept",),
    coupling: float = 0.0,
    noise: float = 0.0,
    blur: float = 0.0,
    with_losses: bool = True,
    tied: int = 1,
    network: CostModel | None = None,
) -> Synthetic:
    """A chain of convolutions, or another network, some layers of which take cuts better than others.

    Args:
        layers: How many convolutions.
        seed: Of the losses.
        part: The limit, as a part of what the whole network costs.
        cost: What is limited.
        decides: What is searched of each convolution: "kept", "sparsity", "bits".
        coupling: How much neighbours' losses add to each other.
        noise: Of the score.
        blur: How wrong the losses are that the problem is told: the standard deviation of the logarithm
            of a factor for each level.
        with_losses: Whether the problem knows any losses.
        tied: How many groups of channels in a row share a parameter.
        network: In place of a chain.
    """
    rng = np.random.default_rng(seed)
    network = network or chain(layers)
    names = [group.name for group in network.groups]
    parameters = []
    if "kept" in decides:
        for start in range(0, len(names), tied):
            together = tuple(names[start : start + tied])
            parameters.append(Parameter(f"{together[0]}.kept", "kept", together, LEVELS))
    if "sparsity" in decides:
        parameters += [Parameter(f"{n}.sparsity", "sparsity", (n,), SPARSITIES) for n in names]
    if "bits" in decides:
        parameters += [Parameter(f"{n}.bits", "bits", (n,), BITS) for n in names]
    losses, told = [], []
    for parameter in parameters:
        count = len(parameter.levels)
        gone = 1 - np.arange(count) / (count - 1)
        # Some layers hardly feel a cut, some lose much: this is what a search can find.
        loss = 0.3 * np.exp(rng.normal(0, 1.2)) / len(parameters) * gone ** rng.uniform(1.0, 3.0)
        losses.append(tuple(loss.tolist()))
        told.append(tuple((loss * np.exp(rng.normal(0, blur, count))).tolist()))
    problem = Problem(
        Space(tuple(parameters)),
        network,
        Limit(cost, 0.0),
        tuple(told) if with_losses else (),
        FileForm("int8" if "bits" in decides else "float32"),
    )
    whole = problem.cost(problem.space.sizes - 1)
    return Synthetic(problem.limited(part * whole), tuple(losses), coupling, noise)
