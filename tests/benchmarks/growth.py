"""How time and memory of each step grow with a network.

    python -m tests.benchmarks.growth                             # all families; some 15 minutes
    python -m tests.benchmarks.growth --families ResNet --svg growth.svg

Each network is built in a process of its own, with one thread, after a small one that pays for what is
paid once. Prints a Markdown table: of each step the seconds of the processor and how far memory rose,
and with which power of the number of layers (from the smallest network of the family to the largest)
they grow; where layers become wider, too, as in EfficientNetV2, of the number of parameters. 1 is
linear. The plot has the seconds of the first family.
"""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from pocketkube.report.lines_svg import Line, lines_svg
from pocketkube.report.plot import Axis, ticks
from tests.benchmarks.peers.metered import metered

if TYPE_CHECKING:
    import keras

RESNET, EFFICIENT_NET, TRANSFORMER = "ResNet", "EfficientNetV2", "Transformer"
# ResNets for CIFAR by their depth, Transformers by the blocks of encoder and decoder together.
FAMILIES = {
    RESNET: ("20", "56", "110", "152"),
    EFFICIENT_NET: ("B0", "S", "M", "L"),
    TRANSFORMER: ("8", "24", "48"),
}
STEPS = (
    "read the file",
    "profile",
    "channel graph",
    "cost model",
    "scores",
    "choose what to cut",
    "surgery",
    "project a trial",
    "solve for the best",
    "LiteRT file",
)
KEY_WIDTH = 150


@dataclass(frozen=True)
class Grown:
    """What was measured of a network.

    Attributes:
        layers: How many layers it has.
        parameters: And how many parameters.
        seconds: Of the processor, by step.
        peak_bytes: How far memory rose, by step.
    """

    layers: int
    parameters: int
    seconds: Mapping[str, float]
    peak_bytes: Mapping[str, int]


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=list(FAMILIES))
    parser.add_argument("--svg", type=Path, help="file for the plot")
    parser.add_argument("--member", nargs=2, metavar=("FAMILY", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.member:
        print(json.dumps(measured(*options.member)))
        return
    grown = {
        family: {size: _in_a_process(family, size) for size in FAMILIES[family]}
        for family in options.families
    }
    print(table(grown))
    if options.svg:
        first = options.families[0]
        options.svg.write_text(svg(first, list(grown[first].values())), encoding="utf-8")


def _in_a_process(family: str, size: str) -> Grown:
    print(f"{family} {size}", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.growth", "--member", family, size],
        env={**os.environ, **_ONE_THREAD},
        stdout=subprocess.PIPE,
        check=True,
    )
    return Grown(**json.loads(done.stdout.splitlines()[-1]))


_ONE_THREAD = {
    "TF_NUM_INTRAOP_THREADS": "1",
    "TF_NUM_INTEROP_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3",
}


def measured(family: str, size: str) -> dict[str, Any]:
    """What all steps take of a network, in this process; the fields of `Grown`."""
    from pocketkube.models import build_model

    with tempfile.TemporaryDirectory() as folder:
        _steps(build_model("lenet", (28, 28, 1), 10), Path(folder))
        model = _BUILT[family](size)
        seconds, peak_bytes = _steps(model, Path(folder))
    return {
        "layers": len(model.layers),
        "parameters": model.count_params(),
        "seconds": seconds,
        "peak_bytes": peak_bytes,
    }


def _resnet(size: str) -> "keras.Model":
    import keras

    from pocketkube.models.layer_factory import LayerFactory
    from pocketkube.models.resnet import cifar_resnet

    images, factory = keras.Input((32, 32, 3)), LayerFactory(1.0, 0, small_input=True)
    features = cifar_resnet(factory, images, depth=int(size))
    return keras.Model(images, factory.dense(features, 10, "logits"), name=f"resnet{size}")


def _efficient_net(size: str) -> "keras.Model":
    import keras

    build = getattr(keras.applications, f"EfficientNetV2{size}")
    return build(weights=None, input_shape=(224, 224, 3))


def _transformer(size: str) -> "keras.Model":
    from pocketkube.models.transformer import Size, build_transformer

    return build_transformer(Size(int(size) // 2, 4, 32, 512), 1000, 32, 32, seed=0)


_BUILT: Mapping[str, "Callable[[str], keras.Model]"] = {
    RESNET: _resnet,
    EFFICIENT_NET: _efficient_net,
    TRANSFORMER: _transformer,
}


def _steps(model: "keras.Model", folder: Path) -> tuple[dict[str, float], dict[str, int]]:
    import numpy as np

    from pocketkube.bundle import load_model
    from pocketkube.deploy.convert import convert_litert
    from pocketkube.graph.cost import profile_model
    from pocketkube.graph.cost_model_of import cost_model_of
    from pocketkube.graph.dependency import trace_channels
    from pocketkube.graph.surgery import remove_channels
    from pocketkube.pruning.prune import pruner_for
    from pocketkube.search.milp import solve
    from pocketkube.search.projection import project
    from pocketkube.spec.sections import PruneChannels
    from tests.search.synthetic import synthetic

    seconds: dict[str, float] = {}
    peak_bytes: dict[str, int] = {}

    def step(name: str, done: Callable[[], Any]) -> Any:
        before = _children()
        with metered() as meter:
            found = done()
        after = {pid: each for pid, each in _children().items() if each.seconds > before[pid].seconds}
        seconds[name] = meter.processor_seconds
        seconds[name] += sum(each.seconds - before[pid].seconds for pid, each in after.items())
        peaks = (each.peak_bytes - before[pid].resident_bytes for pid, each in after.items())
        peak_bytes[name] = meter.peak_bytes + sum(max(peak, 0) for peak in peaks)
        return found

    model.save(folder / "model.keras")
    step("read the file", lambda: load_model(folder / "model.keras"))
    step("profile", lambda: profile_model(model))
    graph = step("channel graph", lambda: trace_channels(model))
    network = step("cost model", lambda: cost_model_of(model, graph))
    l2 = PruneChannels(criterion="l2")
    pruner = step("scores", lambda: pruner_for(model, l2, calibration=None, seed=0))
    counts = step("choose what to cut", lambda: pruner.counts_for_speedup(2.0))
    keep = np.ones(graph.units.count, bool)
    for group in graph.groups:
        keep[group.units[counts[group.name] :]] = False
    step("surgery", lambda: remove_channels(model, graph, keep))
    problem = synthetic(network=network).problem
    point = np.full(len(problem.space.parameters), 0.5)
    step("project a trial", lambda: project(problem, point))
    step("solve for the best", lambda: solve(problem))
    step("LiteRT file", lambda: convert_litert(model, "float32"))
    return seconds, peak_bytes


@dataclass(frozen=True)
class _Child:
    seconds: float = 0.0
    resident_bytes: int = 0
    peak_bytes: int = 0


def _children() -> Mapping[int, _Child]:
    """The processes that work for this one, as the one that converts, which stays; by their numbers."""
    found: defaultdict[int, _Child] = defaultdict(_Child)
    for process in psutil.Process().children(recursive=True):
        # Others than the one that converts may end meanwhile.
        with suppress(psutil.Error, OSError, StopIteration):
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
            used = process.cpu_times()
            found[process.pid] = _Child(
                used.user + used.system, process.memory_info().rss, 1024 * int(peak.split()[1])
            )
    return found


def table(grown: Mapping[str, Mapping[str, Grown]]) -> str:
    """The Markdown table."""
    lines = [
        "| network | layers | parameters | " + " | ".join(STEPS) + " |",
        "| --- | ---: | ---: " + "| ---: " * len(STEPS) + "|",
    ]
    for family, sizes in grown.items():
        for size, found in sizes.items():
            cells = [f"{found.seconds[s]:.2f} s, {found.peak_bytes[s] / 2**20:.0f} MiB" for s in STEPS]
            facts = [f"{family} {size}", f"{found.layers:,}", f"{found.parameters / 1e6:.1f} M"]
            lines.append(f"| {' | '.join([*facts, *cells])} |")
        least, *_, most = sizes.values()
        for what, of in (("layers", "layers"), ("parameters", "parameters")):
            powers = [_power(least, most, s, of) for s in STEPS]
            lines.append(f"| {family}: power of {what} | | | {' | '.join(powers)} |")
    return "\n".join(lines)


def _power(least: Grown, most: Grown, step: str, of: str) -> str:
    sizes = math.log(getattr(most, of) / getattr(least, of))
    found = (least.seconds[step], most.seconds[step])
    # Of what takes no time it is not known.
    return f"{math.log(found[1] / found[0]) / sizes:.2f}" if min(found) >= 0.005 and sizes else ""


def svg(family: str, grown: Sequence[Grown]) -> str:
    """The plot of a family: seconds over layers, a line for each step."""
    lines = [Line(s, tuple((float(g.layers), g.seconds[s]) for g in grown)) for s in STEPS]
    most = max(y for line in lines for _, y in line.points)
    layers = [g.layers for g in grown]
    across = Axis(0, 1.05 * max(layers), ticks(0, 1.05 * max(layers), 5))
    upwards = Axis(0, 1.05 * most, ticks(0, 1.05 * most, 5))
    names = (f"layers of a {family}", "seconds of the processor")
    alt = f"{family}: {names[1]} over {names[0]}"
    return lines_svg(lines, across, upwards, names, alt, key_width=KEY_WIDTH, marked=True)


if __name__ == "__main__":
    main()
