"""The results as Markdown: a table of scores and one of all figures for each network and family."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median, stdev

from tests.benchmarks.peers import environments
from tests.benchmarks.peers.budget import Budget
from tests.benchmarks.peers.cases import BITS, CHANNELS, LATENCY, SEARCH, SPARSITY, Case
from tests.benchmarks.peers.networks import NETWORKS, Network
from tests.benchmarks.peers.result import CaseResult, DenseFacts, LatencyFacts

OURS = "PocketKube"
# A peer counts as ahead beyond this part of the spread over seeds.
TOLERATED = 1 / 3
_TRAINED = {True: "trained", False: "without training"}
_TITLES = {
    CHANNELS: "Channels, to a speed-up in multiply-adds",
    LATENCY: "Channels, to a speed-up in latency",
    SEARCH: "Searches for each layer's channels",
    BITS: "Bits",
    SPARSITY: "Zeros",
}
_BRACKETS = {
    CHANNELS: "multiply-adds before over after",
    LATENCY: "latency before over after",
    SEARCH: "multiply-adds before over after; seconds of the search",
    BITS: "bytes of the LiteRT file before over after",
    SPARSITY: "the part of kernels' weights that is zero",
}


@dataclass(frozen=True)
class Measured:
    """One case's figures beside those of its uncompressed network."""

    case: Case
    result: CaseResult
    dense: DenseFacts
    latency: LatencyFacts | None = None


def render(measured: Sequence[Measured], budget: Budget, command: str, machine: str) -> str:
    """The whole document.

    Args:
        measured: All cases that have a result.
        budget: What they were measured with.
        command: The command that measures them.
        machine: What it ran on.
    """
    parts = [
        "# PocketKube beside its peers\n",
        f"    {command}\n",
        f"On {machine}. {_budget(budget)}\n",
        f"Versions: {_versions(measured)}.\n",
    ]
    for network, family in dict.fromkeys((m.case.network, m.case.method.family) for m in measured):
        chosen = [m for m in measured if (m.case.network, m.case.method.family) == (network, family)]
        parts.append(_section(network, family, chosen))
    return "\n".join(parts)


def by_method(measured: Iterable[Measured]) -> dict[str, dict[float, list[Measured]]]:
    """Cases by method and target, in their order."""
    found: dict[str, dict[float, list[Measured]]] = {}
    for each in measured:
        found.setdefault(each.case.method.name, {}).setdefault(each.case.target, []).append(each)
    return found


def scores_of(cell: Sequence[Measured]) -> list[float]:
    """Scores in percent of those cases that have one."""
    return [100 * m.result.score for m in cell if m.result.score is not None]


def reached(each: Measured) -> float | None:
    """What the brackets beside a score show: how far the target was reached."""
    result, dense, family = each.result, each.dense, each.case.method.family
    if family == SPARSITY:
        return result.zeros
    if family == BITS:
        return dense.file_bytes / result.file_bytes if result.file_bytes else None
    if family == LATENCY:
        return each.latency.ratio if each.latency else None
    return dense.macs / result.macs if result.macs else None


def standings(measured: Sequence[Measured], target: float) -> list[str]:
    """Who is ahead at a target, ours or a peer, and by how much.

    What trained and what did not are told apart. A side's best is the method with the best mean, and
    the two are compared on the seeds that both have.

    Args:
        measured: Cases of one network and family.
        target: The target.
    """
    lines = []
    for is_trained in (True, False):
        rows: dict[str, dict[int, float]] = {}
        for m in measured:
            if (m.case.target, m.result.trained) == (target, is_trained) and m.result.score is not None:
                rows.setdefault(m.case.method.name, {})[m.case.seed] = 100 * m.result.score
        ours = {name: row for name, row in rows.items() if name.startswith(OURS)}
        theirs = {name: row for name, row in rows.items() if name not in ours}
        if ours and theirs:
            lines.append(f"- {_target(target)}, {_TRAINED[is_trained]}: {_standing(ours, theirs)}")
    return lines


def _standing(ours: Mapping[str, dict[int, float]], theirs: Mapping[str, dict[int, float]]) -> str:
    best, peer = (max(side, key=lambda name: mean(side[name].values())) for side in (ours, theirs))
    seeds = sorted(ours[best].keys() & theirs[peer].keys())
    if not seeds:
        return f"{best} and {peer}, the best peer, have no seed in common."
    one, other = ([side[seed] for seed in seeds] for side in (ours[best], theirs[peer]))
    lead = mean(one) - mean(other)
    if len(seeds) == 1:
        told = f"{best} is {lead:+.2f} points from {peer}, the best peer"
        return f"{told} (seed {seeds[0]} alone, so that no spread is known)."
    spread = max(stdev(one), stdev(other))
    first, second = (best, peer) if lead >= 0 else (peer, best)
    told = f"{first} is ahead of {second} by {abs(lead):.2f} points"
    if abs(lead) <= TOLERATED * spread:
        told = f"{first} is {abs(lead):.2f} points above {second}, within a third of the spread"
    elif lead < 0:
        told = f"**{told}**"
    return f"{told} (spread over seeds {', '.join(map(str, seeds))}: {spread:.2f})."


def _section(network: str, family: str, measured: Sequence[Measured]) -> str:
    table = by_method(measured)
    targets = sorted({m.case.target for m in measured})
    seeds = sorted({m.case.seed for m in measured})
    dense = list({m.case.seed: 100 * m.dense.score for m in measured}.values())
    lines = [
        f"## {network}: {_TITLES[family]}\n",
        _images(NETWORKS[network]),
        f"Accuracy on the test images in percent, mean ± standard deviation over seeds "
        f"{', '.join(map(str, seeds))}; in brackets {_BRACKETS[family]}. "
        f"Uncompressed: {_spread(dense)}.\n",
        *_table(
            ["method", *map(_target, targets)],
            [
                [name, *(_cell(row.get(t, []), len(seeds)) for t in targets)]
                for name, row in table.items()
            ],
        ),
        "",
        *(line for target in targets for line in standings(measured, target)),
        "",
        f"![]({network}-{family}.svg)\n",
        *_table(
            list(_FIGURES),
            [_figures(name, t, cell) for name, row in table.items() for t, cell in row.items()],
        ),
        "",
        *_remarks(measured),
    ]
    return "\n".join(lines) + "\n"


def _cell(cell: Sequence[Measured], seeds: int) -> str:
    scores = scores_of(cell)
    if not scores:
        return "cannot" if cell else ""
    whole = [m for m in cell if m.result.score is not None]
    parts = [value for m in whole if (value := reached(m)) is not None]
    shown = (
        [f"{mean(parts):.1%}" if whole[0].case.method.family == SPARSITY else f"{mean(parts):.2f}x"]
        if parts
        else []
    )
    if whole[0].case.method.family == SEARCH:
        shown.append(f"{mean(m.result.step_seconds or 0.0 for m in whole):.0f} s")
    if len(scores) < seeds:
        shown.append(f"{len(scores)} of {seeds} seeds")
    return f"{_spread(scores)} ({'; '.join(shown)})" if shown else _spread(scores)


_Figure = Callable[[Measured], float | None]
_FIGURES: dict[str, tuple[_Figure, str]] = {
    "method": (lambda m: None, ""),
    "target": (lambda m: None, ""),
    "before training, %": (lambda m: _times(m.result.score_before, 100), ".2f"),
    "MACs": (lambda m: m.result.macs and m.dense.macs / m.result.macs, ".2f"),
    "parameters": (lambda m: m.result.parameters and m.dense.parameters / m.result.parameters, ".2f"),
    "file, kB": (lambda m: _times(m.result.file_bytes, 1e-3), ".1f"),
    "gzip, kB": (lambda m: _times(m.result.gzip_bytes, 1e-3), ".1f"),
    "bits": (lambda m: m.result.mean_bits, ".2f"),
    "trained": (lambda m: None if m.result.score is None else float(m.result.trained), ".0f"),
    "latency": (lambda m: m.latency.ratio if m.latency else None, ".2f"),
    "latency / MACs": (lambda m: _realised(m), ".2f"),
    "step, s": (lambda m: m.result.step_seconds, ".1f"),
    "step, MB": (lambda m: _times(m.result.step_peak_bytes, 1e-6), ".0f"),
    "training, s": (lambda m: m.result.train_seconds, ".0f"),
}


def _realised(m: Measured) -> float | None:
    """Latency's speed-up over that in multiply-adds."""
    if m.latency is None or not m.result.macs:
        return None
    return m.latency.ratio * m.result.macs / m.dense.macs


def _figures(name: str, target: float, cell: Sequence[Measured]) -> list[str]:
    shown = [name, _target(target)]
    for of, form in list(_FIGURES.values())[2:]:
        values = [value for m in cell if (value := of(m)) is not None]
        shown.append(format(median(values), form) if values else "")
    return shown


def _remarks(measured: Sequence[Measured]) -> list[str]:
    """Why methods could not, and what they note; each once."""
    said: dict[str, list[str]] = {}
    for m in measured:
        for sentence in (
            *m.result.notes,
            *([f"Cannot: {m.result.cannot}."] if m.result.cannot else []),
        ):
            where = said.setdefault(f"{m.case.method.name}: {sentence}", [])
            where.append(_target(m.case.target))
    return [f"- {text} ({', '.join(dict.fromkeys(where))})" for text, where in said.items()]


def _budget(budget: Budget) -> str:
    return (
        f"{budget.train} training images, {budget.validation_fraction:.0%} of them held out for "
        f"decisions; {budget.dense_epochs} epochs for the uncompressed network, {budget.epochs} for "
        f"each compressed one, batches of {budget.batch_size}, AdamW with a peak rate of "
        f"{budget.learning_rate:g} on one cycle, images moved by up to {budget.shift} pixels; "
        f"{budget.calibration} images to calibrate on, {budget.trials} trials a search. Pruned "
        "networks of all methods are fine-tuned by the same code, with the uncompressed network as "
        "teacher; peers that compress while they train do so with labels alone, as they are made. "
        "PocketKube's bits take their default rate. The seconds and the memory of "
        "a step that trains are those of its training, too; before training PocketKube's networks have "
        "BatchNorm's statistics estimated anew, and Torch-Pruning's do not."
    )


def _images(network: Network) -> str:
    told = f"Images of {network.images}, {network.pixels} x {network.pixels} pixels"
    return f"{told}; {network.passes} times as many epochs.\n" if network.passes > 1 else f"{told}.\n"


def _versions(measured: Sequence[Measured]) -> str:
    found: dict[str, dict[str, str]] = {}
    for m in measured:
        for environment, versions in ((OURS, m.dense.versions), (_environment(m), m.result.versions)):
            found.setdefault(environment, {}).update(versions)
    return "; ".join(
        f"for {environment}: {', '.join(f'{name} {v}' for name, v in sorted(versions.items()))}"
        for environment, versions in found.items()
    )


def _environment(m: Measured) -> str:
    return OURS if m.case.method.environment == environments.OURS else m.case.method.environment


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    every = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(row)} |" for row in every]


def _target(target: float) -> str:
    return f"{target:.0%}" if target < 1 else f"{target:g}"


def _spread(values: Sequence[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _times(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor
