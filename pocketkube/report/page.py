"""Puts the report's page together."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape
from importlib.resources import files
from typing import Any

import yaml

from pocketkube.benchmark.environment import shown_machine
from pocketkube.measures import measure_of, wording_of
from pocketkube.report.bars import layer_bars, shares
from pocketkube.report.confusion import confusion_matrix
from pocketkube.report.curves import training_curves
from pocketkube.report.latency import latency_distribution
from pocketkube.report.summary import bounded, count, rows, size, uncounted, verdict


def build_report(result: Mapping[str, Any]) -> str:
    """The report of a run as one HTML page that needs nothing else.

    Args:
        result: The content of result.json.

    Returns:
        The page.
    """
    style = files("pocketkube.report").joinpath("style.css").read_text("utf-8")
    body = "".join(
        (
            _headline(result),
            _section("Before and after", _table(result), _targets(result)),
            _section("Layers", *_layers(result)),
            _section("Latency", latency_distribution(result), *_threads(result)),
            _section("Training", *_curves(result)),
            _section("What is taken for what", confusion_matrix(result["after"]["confusion"] or ())),
            _section("Stages", _stages(result)),
            _section("Do it again", *_again(result)),
        )
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
        f"<title>{escape(_title(result))}</title><style>{style}</style></head>"
        f"<body><main>{body}</main></body></html>"
    )


def _title(result: Mapping[str, Any]) -> str:
    return f"{result['spec']['model'].rsplit('/')[-1]}, compressed"


def _headline(result: Mapping[str, Any]) -> str:
    before, after = result["before"], result["after"]
    speedup = bounded(f"{result['speedup']:.2f}x", result, "speedup_bound")
    cards = [(speedup, "fewer multiply-adds")]
    if before["score"] is not None:
        cards.append(_score_card(result["task"]["score_name"], before["score"], after["score"]))
    if result["latency_ratio"]:
        where = "under emulation, which says nothing" if _emulated(result) else "on this machine"
        cards.append((f"{result['latency_ratio']:.2f}x", f"faster {where}, one thread"))
    cards.append((f"{before['size_bytes'] / after['size_bytes']:.1f}x", "smaller file"))
    environment = result["environment"]
    told = " · ".join((environment["when"], environment["cpu"], result["task"]["description"]))
    shown = "".join(f"<li><strong>{escape(a)}</strong> {escape(b)}</li>" for a, b in cards)
    return (
        f"<header><h1>{escape(_title(result))}</h1>"
        f'<p class="muted">{escape(told)}</p><ul class="cards">{shown}</ul></header>'
    )


def _emulated(result: Mapping[str, Any]) -> bool:
    return bool(result["environment"].get("emulated_on"))


def _score_card(score_name: str, before: float, after: float) -> tuple[str, str]:
    wording = wording_of(score_name)
    if wording.is_share:
        change = (wording.read(after) - wording.read(before)) * 100
        return f"{change:+.2f}", f"points of {wording.short}, to {wording.shown(after)}"
    return wording.shown(after), f"{wording.name}, from {wording.shown(before)}"


def _section(title: str, *parts: str) -> str:
    content = "".join(parts)
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def _table(result: Mapping[str, Any]) -> str:
    body = "".join(
        f'<tr><th scope="row">{escape(row.name)}</th><td>{escape(row.before)}</td>'
        f"<td>{escape(row.after)}</td><td>{escape(row.change)}</td></tr>"
        for row in rows(result)
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("", "before", "after", "change"))
    agreement = result["agreement"]
    note = ""
    if agreement is not None:
        told = measure_of(result["task"]).agreed(agreement, "the test examples compared")
        note = f"<p>{escape(told)}</p>"
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>{note}'


def _targets(result: Mapping[str, Any]) -> str:
    lines = (
        f"Target {target['name']} {target['asked']:g}: "
        f"{bounded(format(target['reached'], '.4g'), target)}, {verdict(target).lower()}."
        for target in result.get("targets", ())
    )
    return _list(lines)


def _layers(result: Mapping[str, Any]) -> list[str]:
    layers = result["layers"]
    return [
        layer_bars(layers, "channels", "Channels left of each layer"),
        layer_bars(layers, "macs", "Multiply-adds left of each layer"),
        *_uncounted(result),
        shares(result["after"]["op_latency_ms"], "Share of the latency, by operation"),
    ]


def _uncounted(result: Mapping[str, Any]) -> list[str]:
    names = uncounted(result)
    if not names:
        return []
    told = f"Multiply-adds that are not known, and not counted: {', '.join(names)}."
    return [f"<p>{escape(told)}</p>"]


def _threads(result: Mapping[str, Any]) -> list[str]:
    body = "".join(
        f'<tr><th scope="row">{escape(str(threads))}</th><td>{before["p50"]:.3g} ms</td>'
        f"<td>{result['after']['threads'][threads]['p50']:.3g} ms</td></tr>"
        for threads, before in result["before"]["threads"].items()
    )
    head = "".join(f'<th scope="col">{n}</th>' for n in ("threads", "before, median", "after, median"))
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return [f'<div class="wide">{table}</div>'] if body else []


def _curves(result: Mapping[str, Any]) -> list[str]:
    figures = [
        curve
        for stage in result["stages"]
        for curve in training_curves(stage, wording_of(result["task"]["score_name"]))
    ]
    return [f'<div class="grid2">{"".join(figures)}</div>'] if figures else []


def _stages(result: Mapping[str, Any]) -> str:
    body, notes, wording = "", [], wording_of(result["task"]["score_name"])
    for stage in result["stages"]:
        cells = (
            _shown(stage.get("score"), wording.shown),
            bounded(count(stage["macs"]), stage, "macs_bound"),
            count(stage["parameters"]),
            _shown(stage.get("zeros"), lambda part: f"{100 * part:.1f} %"),
            _shown(stage.get("weight_bits") or None, _range),
            _shown(stage.get("packed_bytes"), size),
            f"{stage['seconds']:.1f} s",
        )
        body += f'<tr><th scope="row">{escape(stage["name"])}</th>'
        body += "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
        notes += [f"{stage['name']}: {note}" for note in stage["notes"]]
    costs = ("MACs", "parameters", "zeros", "bits of a weight", "model.packed", "time")
    names = ("stage", wording.name, *costs)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f'<div class="wide">{table}</div>{_list(notes)}'


def _shown(figure: Any, shown: Callable[[Any], str]) -> str:
    return "–" if figure is None else shown(figure)


def _range(bits: Sequence[int]) -> str:
    return f"{bits[0]}" if len(bits) == 1 else f"{bits[0]} to {bits[-1]}"


def _again(result: Mapping[str, Any]) -> list[str]:
    spec = yaml.safe_dump(result["spec"], sort_keys=False, allow_unicode=True)
    told = result["environment"]
    machine = shown_machine(told["machine"], told.get("emulated_on"))
    packages = ", ".join(f"{name} {version}" for name, version in told["packages"].items())
    lines = [
        f"PocketKube {result['pocketkube']}, Python {told['python']}, {packages}",
        f"{told['cpu']}, {told['cores']} cores, {machine}; {' '.join(told['cpu_features'])}",
        f"Seed {result['seed']}",
    ]
    return [
        f'<pre class="wide"><code>{escape(result["command"])}</code></pre>',
        "<details><summary>The spec, with all defaults</summary>"
        f'<pre class="wide">{escape(spec)}</pre></details>',
        _list(lines),
    ]


def _list(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""
