"""The stage that gathers all figures into result.json and report.html."""

import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pocketkube.benchmarking.environment import package_versions
from pocketkube.benchmarking.results import BenchmarkReport, FileFigures, load_benchmark
from pocketkube.benchmarking.slower import slower
from pocketkube.facts import (
    BundleFacts,
    ExportedFacts,
    OutputScore,
    PackedFacts,
    Parent,
    StageFacts,
    load_exported,
)
from pocketkube.figures import size
from pocketkube.files.layout import (
    BENCHMARK_FILE,
    LITERT_FILE,
    MODEL_FILE,
    REPORT_FILE,
    RESULT_FILE,
    SEARCH_FILE,
)
from pocketkube.files.records import read_document, text_of
from pocketkube.files.whole import replaced_folder, write_text
from pocketkube.graph.bounds import Speedup, compare_macs, macs_bound
from pocketkube.graph.paths import is_within
from pocketkube.latency_table.another_device import another_device
from pocketkube.measures import task_measure_of, wording_of
from pocketkube.report import build_report as html_of
from pocketkube.report.result import (
    LayerChange,
    MachineFacts,
    NodeFacts,
    Result,
    SideFigures,
    TargetOutcome,
)
from pocketkube.search.facts import SearchFacts
from pocketkube.spec import Spec, document_of
from pocketkube.spec.sections import PruneChannels
from pocketkube.stages.configs import BuildReportConfig
from pocketkube.stages.formats import last_format
from pocketkube.stages.registry import SEARCHED


def build_report(
    config: BuildReportConfig, inputs: Mapping[str, Path], output: Path, scratch: Path
) -> None:
    """Writes result.json and report.html."""
    result = gather(config, inputs)
    with replaced_folder(output) as folder:
        write_text(folder / RESULT_FILE, text_of(result))
        write_text(folder / REPORT_FILE, html_of(result))


def gather(spec: Spec, inputs: Mapping[str, Path]) -> Result:
    """All figures of a job, before and after.

    Args:
        spec: The job.
        inputs: Output folders of its steps: uncompressed, baseline, result, measured and, where there
            was a search, searched.
    """
    baseline, result = load_exported(inputs["baseline"]), load_exported(inputs["result"])
    measured = load_benchmark(inputs["measured"] / BENCHMARK_FILE)
    uncompressed_bytes = None
    if result.packed:
        uncompressed_bytes = (inputs["uncompressed"] / MODEL_FILE).stat().st_size
    packed_bytes = result.packed.file_bytes if result.packed else None
    before = _side(baseline, measured.files[0], "baseline.tflite", uncompressed_bytes)
    after = _side(result, measured.files[-1], "model.tflite", packed_bytes)
    stages = (*result.stages, _export_stage(result, after))
    searched = _searched(inputs)
    speedup = compare_macs(before.macs, before.unknown, after.macs, after.unknown)
    environment = asdict(measured.environment) | {
        "packages": package_versions(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return Result(
        command=_command(),
        spec=document_of(spec),
        seed=spec.seed,
        task=baseline.task,
        before=before,
        after=after,
        speedup=speedup.value,
        speedup_bound=speedup.bound,
        latency_ratio=measured.latency_ratio,
        latency_ratio_interval=measured.latency_ratio_interval,
        latency_ratios=measured.latency_ratios,
        reference_threads=measured.reference_threads,
        load=measured.load,
        agreement=None if result.agreement.on_random_inputs else result.agreement.share,
        stages=stages,
        warnings=(
            *(f"{stage.name}: {warning}" for stage in stages for warning in stage.warnings),
            *slower(measured, "the uncompressed file", "The compressed file", _of_macs(spec)),
            *measured.load.warnings,
        ),
        layers=tuple(_layers(baseline, result)),
        environment=MachineFacts.model_validate(environment),
        targets=tuple(
            _targets(
                spec,
                before,
                after,
                speedup if _budget(spec) == "macs" else _by_parameters(spec, before, after, searched),
                _latency(spec, inputs, measured),
            )
        ),
        nodes=tuple(map(_node, measured.nodes)),
        search=searched,
        skipped=baseline.skipped,
    )


def _of_macs(spec: Spec) -> str:
    if spec.target is None or spec.target.speedup is None:
        return ""
    counted = "multiply-adds" if _budget(spec) == "macs" else "parameters"
    return f", for target.speedup counts {counted}, not time"


def _budget(spec: Spec) -> Literal["macs", "parameters"]:
    """What target.speedup counts."""
    pruning = [stage for stage in spec.stages if isinstance(stage, PruneChannels)]
    return pruning[0].budget if pruning else "macs"


def _by_parameters(
    spec: Spec, before: SideFigures, after: SideFigures, search: SearchFacts | None
) -> Speedup:
    """The speed-up of parameters; a search that makes zeros leaves them out."""
    left: float = after.parameters
    if search is not None and spec.search is not None and "sparsify_weights" in spec.search.over:
        left = search.best_trial.costs["parameters"]
    return Speedup(before.parameters / left, "exact")


def _searched(inputs: Mapping[str, Path]) -> SearchFacts | None:
    if SEARCHED not in inputs:
        return None
    return read_document(SearchFacts, inputs[SEARCHED] / SEARCH_FILE)


def _node(report: BenchmarkReport) -> NodeFacts:
    first, last = report.files[0], report.files[-1]
    return NodeFacts(
        node=str(report.environment.node),
        cpu=report.environment.cpu,
        before_ms=first.latency_ms.p50,
        after_ms=last.latency_ms.p50,
        latency_ratio=report.latency_ratio,
        latency_ratio_interval=report.latency_ratio_interval,
    )


def _export_stage(facts: ExportedFacts, after: SideFigures) -> StageFacts:
    """The writing of the result's file, as the last of the job's stages."""
    found = facts.agreement
    compared = f"{found.examples} test examples"
    if found.on_random_inputs:
        compared = f"{found.examples} random inputs, which say little of real ones"
    return StageFacts(
        name=facts.export.name,
        parents=(Parent(role="model", stage=facts.made_by),),
        seconds=facts.export.seconds,
        score=after.score,
        heads=tuple(
            OutputScore(name=head.name, score_name=head.score_name, score=head.score)
            for head in after.heads
        ),
        macs=after.macs,
        macs_bound=after.macs_bound,
        parameters=after.parameters,
        notes=(
            task_measure_of(facts.task).agreed(facts.agreement.share, compared),
            *facts.export.notes,
            *_packed_note(facts.packed, after),
        ),
        warnings=facts.export.warnings,
    ).identified()


def _command() -> str | None:
    """How a person started the whole job; None where a runner started this stage of it alone."""
    program, *words = sys.argv
    if words[:1] != ["run"]:
        return None
    as_module = Path(program).name == "__main__.py"
    return shlex.join(["python", "-m", "pocketkube", *words] if as_module else ["pocketkube", *words])


def _side(
    facts: ExportedFacts, measured: FileFigures, file: str, model_bytes: int | None
) -> SideFigures:
    figures = asdict(measured)
    heads = [head | _error(head["score_name"], head["score"]) for head in figures["heads"]]
    return SideFigures.model_validate(
        figures
        | _error(facts.task.score_name, measured.score)
        | {
            "file": file,
            "heads": heads,
            "format": facts.format,
            "macs": facts.profile.macs,
            "macs_bound": macs_bound(facts.profile.unknown),
            "unknown": facts.profile.unknown,
            "parameters": facts.profile.parameters,
            "model_bytes": model_bytes,
        }
    )


def _error(score_name: str, score: float | None) -> dict[str, float]:
    """The error that a score is minus of, by its short name."""
    wording = wording_of(score_name)
    if score is None or not wording.is_error:
        return {}
    return {wording.short.lower().replace(" ", "_"): wording.read(score)}


def _packed_note(packed: PackedFacts | None, file: SideFigures) -> list[str]:
    if packed is None:
        return []
    return [
        f"model.packed holds the Keras model in {size(packed.file_bytes)}; the LiteRT file takes "
        f"{size(file.size_bytes)}, {size(file.gzip_bytes)} after gzip. Huffman codes as in Deep "
        f"Compression would store the weights alone in {size(packed.huffman_bytes)}."
    ]


def _layers(before: BundleFacts, after: BundleFacts) -> list[LayerChange]:
    """Layers that have weights, side by side; none where the networks are different ones."""
    if before.model != after.model:
        return []
    now = [layer for layer in after.profile.layers if layer.kind != "FakeQuantize"]
    rows = []
    for was in before.profile.layers:
        folded_into = after.folded.get(was.name)
        # A layer that became several has them inside; one that was taken up is part of another.
        left = [layer for layer in now if is_within(layer.name, was.name)]
        shown = left or [layer for layer in now if layer.name == folded_into]
        if was.parameters and was.output_shape and shown:
            rows.append(
                LayerChange(
                    name=was.name,
                    kind=was.kind,
                    folded_into=folded_into,
                    channels_before=was.output_shape[-1],
                    channels_after=shown[-1].output_shape[-1],
                    macs_before=was.macs,
                    macs_after=sum(layer.macs for layer in left),
                    parameters_before=was.parameters,
                    parameters_after=sum(layer.parameters for layer in left),
                )
            )
    return rows


@dataclass(frozen=True)
class _Latency:
    """The result's latency where the target means it.

    Attributes:
        ms: The median.
        interval: Its interval of 95 % confidence, where it was measured.
        doubt: Why it is not sure.
        is_real: Whether it says anything of a real device.
    """

    ms: float
    interval: tuple[float, float] | None
    doubt: str
    is_real: bool


def _latency(spec: Spec, inputs: Mapping[str, Path], measured: BenchmarkReport) -> _Latency:
    """Measured, or foreseen where the target is of a device that did not measure."""
    place, of_file = measured.environment, measured.files[-1].latency_ms
    if spec.target and spec.target.latency_table:
        device = another_device(spec.target.latency_table)
        asked = device.table.device
        if not asked.is_at(place.cpu, place.machine, place.emulated_on):
            content = (inputs["result"] / LITERT_FILE).read_bytes()
            foreseen_ms = device.latency_ms(content, last_format(spec.stages).numbers)
            return _Latency(foreseen_ms, None, device.doubts, is_real=asked.emulated_on is None)
    doubt = "measured under emulation, which says nothing of a real device" if place.emulated_on else ""
    return _Latency(of_file.p50, of_file.p50_interval, doubt, is_real=place.emulated_on is None)


def _targets(
    spec: Spec, before: SideFigures, after: SideFigures, speedup: Speedup, latency: _Latency
) -> list[TargetOutcome]:
    """Each part of the target, what was reached, how sure that is, and whether it is enough."""
    target = spec.target
    if target is None:
        return []
    found = []
    if (asked := target.speedup) is not None:
        found.append(
            TargetOutcome(
                name="speedup",
                asked=asked,
                reached=speedup.value,
                bound=speedup.bound,
                met=speedup.reaches(asked),
            )
        )
    if target.max_size is not None:
        found.append(_at_most("max_size", target.max_size, after.size_bytes))
    if target.max_latency_ms is not None:
        found.append(
            TargetOutcome(
                name="max_latency_ms",
                asked=target.max_latency_ms,
                reached=latency.ms,
                bound="exact" if latency.is_real else "about",
                met=latency.is_real and latency.ms <= target.max_latency_ms,
                interval=latency.interval,
                doubt=latency.doubt,
            )
        )
    if target.max_accuracy_drop is not None and before.score is not None and after.score is not None:
        drop = before.score - after.score
        found.append(_at_most("max_accuracy_drop", target.max_accuracy_drop, drop))
    return found


def _at_most(name: str, asked: float, reached: float) -> TargetOutcome:
    # A difference of two scores is off by a rounding: 0.95 - 0.94 is more than 0.01.
    return TargetOutcome(name=name, asked=asked, reached=reached, met=round(reached - asked, 12) <= 0)
