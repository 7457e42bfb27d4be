"""What each command does: reads its options, calls the library, shows what came out."""

import json
import math
import os
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pocketkube.cli.ending import show, show_job
from pocketkube.cli.options import (
    import_named,
    imports_of,
    refuse_other_ending,
    settings_of_options,
    value_range_of,
)
from pocketkube.console.quiet import quiet_tensorflow
from pocketkube.errors import UserError, repeatable
from pocketkube.files.layout import (
    COMPARISON_PAGE,
    LITERT_FILE,
    MODEL_FILE,
    RATIOS_FILE,
    REPORT_FILE,
    RESULT_FILE,
    SEARCH_FILE,
    STEPS,
    TRIALS_FILE,
)
from pocketkube.files.overwriting import refuse_overwriting
from pocketkube.files.whole import replaced_file, temporary_folder, write_text

if TYPE_CHECKING:
    from pocketkube.kube import Session
    from pocketkube.older_keras import Imported
    from pocketkube.spec import Spec
    from pocketkube.spec.sections import Cluster


def run(options: Namespace) -> None:
    """`pocketkube run`: a spec's whole job."""
    from pocketkube.files.output_folder import alone_in, telling_of_earlier
    from pocketkube.files.records import text_of
    from pocketkube.stages.component import CACHE
    from pocketkube.stages.outputs import (
        collect,
        refuse_changed_ratios,
        refuse_models_of_others,
        results_of_job,
        take_note_of_earlier,
    )
    from pocketkube.stages.outside import read_by_job
    from pocketkube.stages.whole_job import run_inline

    spec = _whole_job(options)
    output = options.output.resolve()
    cache = Path(os.environ.get(CACHE) or output / ".cache").resolve()
    refuse_overwriting(read_by_job(spec, options.spec), results_of_job(output, spec))
    refuse_models_of_others(output)
    with alone_in(output):
        take_note_of_earlier(output)
        if spec.search is not None:
            refuse_changed_ratios(output)
        with telling_of_earlier(output, (RESULT_FILE, REPORT_FILE, LITERT_FILE, MODEL_FILE)):
            anew = ("benchmark_litert",) if options.measure_again else ()
            folders = run_inline(spec, output / STEPS, cache=cache, anew=anew)
        result = collect(folders, output)
    if options.json:
        print(text_of(result))
    else:
        show_job(result, output)


def search(options: Namespace) -> None:
    """`pocketkube search`: a spec's job up to its search, or samplers beside each other."""
    from pocketkube.files.output_folder import alone_in, telling_of_earlier
    from pocketkube.files.records import text_of
    from pocketkube.report.search import sentences
    from pocketkube.stages.component import CACHE
    from pocketkube.stages.outputs import collect_search, refuse_changed_ratios, results_of_job
    from pocketkube.stages.outside import read_by_job
    from pocketkube.stages.plan import SEARCH, steps_to
    from pocketkube.stages.whole_job import run_inline

    spec = _whole_job(options)
    if spec.search is None:
        raise UserError(
            f"{options.spec} has no section search; give one, as in search: {{over: [prune_channels]}}."
        )
    output = options.output.resolve()
    cache = Path(os.environ.get(CACHE) or output / ".cache").resolve()
    steps = steps_to(spec, SEARCH)
    if options.seeds is not None and not options.compare:
        raise UserError("--seeds: is of a comparison of samplers; give --compare, too.")
    if options.compare:
        _compare(options, spec, output, cache)
        return
    refuse_overwriting(read_by_job(spec, options.spec), results_of_job(output, spec, SEARCH))
    with alone_in(output):
        refuse_changed_ratios(output)
        with telling_of_earlier(output, (RATIOS_FILE, TRIALS_FILE, SEARCH_FILE)):
            folders = run_inline(spec, output / STEPS, cache=cache, steps=steps)
        found = collect_search(folders[SEARCH], output)
    if options.json:
        print(text_of(found))
        return
    for sentence in sentences(found):
        print(sentence)
    print(f"Ratios:  {output / RATIOS_FILE}\nTrials:  {output / TRIALS_FILE}")


def _whole_job(options: Namespace) -> "Spec":
    """The spec that is named, of a job whose files are there."""
    from pocketkube.stages.outside import refuse_missing, refuse_missing_elsewhere

    spec = _job(options)
    refuse_missing(spec)
    refuse_missing_elsewhere(spec)
    return spec


def _job(options: Namespace) -> "Spec":
    """The spec that is named, its paths absolute, with what --import adds."""
    from pocketkube.spec import load_spec, resolve_paths, with_imports

    spec = resolve_paths(load_spec(options.spec), options.spec.resolve().parent)
    return with_imports(spec, imports_of(options))


def _compare(options: Namespace, spec: Any, output: Path, cache: Path) -> None:
    from pocketkube.files.output_folder import alone_in
    from pocketkube.files.records import text_of
    from pocketkube.report.comparison import comparison_lines
    from pocketkube.stages.comparing import compare_samplers, results_of_comparison
    from pocketkube.stages.outside import read_by_job

    seeds = 3 if options.seeds is None else options.seeds
    if seeds < 1:
        raise UserError(f"--seeds: {seeds} is too few; give 1 or more.")
    refuse_overwriting(read_by_job(spec, options.spec), results_of_comparison(output, spec))
    samplers = tuple(dict.fromkeys(options.compare))
    with alone_in(output):
        found = compare_samplers(spec, samplers, seeds, output, cache=cache)
    if options.json:
        print(text_of(found))
        return
    for line in comparison_lines(found):
        print(line)
    print(f"Report:  {output / COMPARISON_PAGE}")


def profile(options: Namespace) -> None:
    """`pocketkube profile`: what a model costs."""
    quiet_tensorflow()
    from pocketkube.graph.cost import profile_model
    from pocketkube.graph.profile_table import render_profile

    import_named(options)
    found = profile_model(_read(options.model, options.image_size).model)
    if options.json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        show(render_profile(found))


def prune(options: Namespace) -> None:
    """`pocketkube prune`: a smaller .keras file."""
    quiet_tensorflow()
    from pocketkube.graph.fixed_size import at_image_size, open_shapes, opened
    from pocketkube.pruning.criteria import criterion_named
    from pocketkube.pruning.prune import prune as prune_model
    from pocketkube.spec.sections import PruneChannels

    refuse_other_ending(options.output, ".keras")
    refuse_overwriting([("the model", options.model)], [options.output])
    if not 1 < options.speedup < math.inf:
        raise UserError(
            f"--speedup: {options.speedup:g} is no number that makes a model faster; give more than 1, "
            "as in 2."
        )
    import_named(options)
    criterion_named(options.criterion)
    settings = settings_of_options(
        PruneChannels, criterion=options.criterion, round_to=options.round_to
    )
    read = _read(options.model, None)
    came = read.model
    model = at_image_size(came, options.image_size)
    pruned = prune_model(
        model, settings, speedup=options.speedup, calibration=_calibration(options, model)
    )
    with replaced_file(options.output) as aside:
        opened(pruned.model, open_shapes(came)).save(aside)
    notes = [*read.notes, *pruned.notes]
    if options.dataset is None:
        notes.append(
            "Without examples nothing says how far the smaller model is from the first; compare tells, "
            "with inputs alone, too."
        )
    before, after = pruned.before, pruned.after
    speedup = before.speedup_to(after)
    facts = {
        "file": str(options.output),
        "speedup": speedup.value,
        "speedup_bound": speedup.bound,
        "macs": {"before": before.macs, "after": after.macs},
        "macs_bound": after.bound,
        "unknown": list(after.unknown),
        "parameters": {"before": before.parameters, "after": after.parameters},
        "kept": {name: {"after": n, "before": of} for name, (n, of) in pruned.kept.items()},
        "notes": notes,
    }
    if options.json:
        print(json.dumps(facts, indent=1))
        return
    print(
        f"{options.output}: {speedup.change} MACs ({_macs(before)} -> {_macs(after)}), "
        f"parameters {before.parameters:,} -> {after.parameters:,}"
    )
    for note in notes:
        print(f"note: {note}")


def _macs(profile: Any) -> str:
    from pocketkube.figures import bounded

    return bounded(f"{profile.macs:,}", profile.bound)


def unpack(options: Namespace) -> None:
    """`pocketkube unpack`: a .keras file of a packed one."""
    refuse_other_ending(options.output, ".keras")
    refuse_overwriting([("the model", options.packed)], [options.output])
    quiet_tensorflow()
    from pocketkube.packing import load_packed

    import_named(options)
    model = load_packed(options.packed)
    with replaced_file(options.output) as aside:
        model.save(aside)
    print(options.output)


def benchmark(options: Namespace) -> None:
    """`pocketkube benchmark`: LiteRT files side by side, or a latency table."""
    if options.table:
        _latency_table(options)
        return
    if options.output:
        raise UserError("--output: only a latency table is written to a file; give --table, too.")
    for given, name in (
        (options.cluster, "--cluster"),
        (options.imports, "--import"),
        (options.image_size, "--image-size"),
    ):
        if given:
            raise UserError(f"{name}: is for a latency table; give --table, too.")
    value_range = value_range_of(options, "--samples")
    from pocketkube.benchmarking import benchmark as measure
    from pocketkube.benchmarking.rendering import render_table
    from pocketkube.benchmarking.results import benchmark_document
    from pocketkube.benchmarking.samples import load_samples
    from pocketkube.spec.sections import Benchmark

    runs = {} if options.runs is None else {"runs": options.runs}
    settings = settings_of_options(Benchmark, threads=tuple(options.threads or (1, 2)), **runs)
    samples = None if options.samples is None else load_samples(options.samples, value_range)
    doubts: list[str] = []
    # Those of a job say what they are, and are in the range that its model takes.
    if samples is not None and samples.measure is None:
        doubts = _doubts(options.files[0], options.samples, value_range)
    found = measure(options.files, settings, samples)
    for sentence in doubts:
        print(f"warning: {sentence}", file=sys.stderr)
    if options.json:
        print(json.dumps(benchmark_document(found), indent=1))
    else:
        show(render_table(found))


def _doubts(file: Path, samples: Path, value_range: tuple[float, float] | None) -> list[str]:
    """What makes examples doubtful for a file; nothing where there is no TensorFlow to look with.

    Raises:
        OtherRange: If it is clearly better with images in another range.
    """
    from importlib.util import find_spec

    if find_spec("tensorflow") is None:
        return []
    quiet_tensorflow()
    from pocketkube.cli.files import by_option, runnable
    from pocketkube.data.npz import load_examples
    from pocketkube.stages.compared import doubts_of
    from pocketkube.stages.value_range import OtherRange

    examples, scaled_to = load_examples(samples, value_range)
    try:
        return doubts_of(runnable(str(file)), examples, str(samples), scaled_to)
    except OtherRange as error:
        raise by_option(error) from error


def _latency_table(options: Namespace) -> None:
    """`pocketkube benchmark --table`: times of a network's layers at any channels."""
    threads, names = options.threads or [1], " ".join(map(str, options.files))
    source, made = options.files[0], options.files[0].is_dir()
    if len(options.files) > 1 or not (made or source.suffix == ".keras"):
        raise UserError(
            f"--table: give one .keras file, or a folder of prepare_latency_table's; received {names}."
        )
    if options.output is None:
        raise UserError("--table: give the file to write with --output, as in -o table.json.")
    read = [("the network", source), *([("the spec", options.cluster)] if options.cluster else [])]
    refuse_overwriting(read, [options.output])
    for given, name in (
        (options.runs is not None, "--runs"),
        (options.samples, "--samples"),
        (options.value_range, "--value-range"),
    ):
        if given:
            raise UserError(f"{name}: is for LiteRT files; leave it out with --table.")
    from pocketkube.spec.sections import MOST_THREADS

    if len(threads) > 1 or not 1 <= threads[0] <= MOST_THREADS:
        raise UserError(
            f"--threads: a table is of one number of threads, 1 to {MOST_THREADS}; received "
            f"{' '.join(map(str, threads))}."
        )
    from pocketkube.latency_table.measuring import begin_anew, measure_table
    from pocketkube.latency_table.network_files import read_networks
    from pocketkube.latency_table.shown_table import render_latency_table
    from pocketkube.spec.sections import Benchmark

    settings_of_options(Benchmark, threads=tuple(threads))
    nodes = _nodes_of(options.cluster) if options.cluster else None
    # The files of single operations are made where they are measured: that needs LiteRT alone.
    networks = read_networks(source) if made else _networks_of(source, options)
    if nodes:
        table = _table_on_cluster(networks, *nodes, options.output, threads[0])
    else:
        begin_anew(options.output)
        table = measure_table(networks, options.output, threads=threads[0])
    if options.json:
        print(table.model_dump_json(indent=1))
    else:
        show(render_latency_table(table))


def _networks_of(file: Path, options: Namespace) -> Any:
    quiet_tensorflow()
    import_named(options)
    from pocketkube.latency_table.of_network import networks_to_time

    return networks_to_time(_read(str(file), options.image_size).model)


def _nodes_of(spec: Path) -> "tuple[Session, Cluster]":
    """The cluster that KUBECONFIG names, and what a spec asks of its nodes."""
    from pocketkube.kube import connect
    from pocketkube.spec import load_spec
    from pocketkube.stages.on_nodes import refuse_without_store

    cluster = load_spec(spec).cluster
    session = connect()
    refuse_without_store(session, cluster)
    return session, cluster


def _table_on_cluster(
    networks: Any, session: "Session", cluster: "Cluster", output: Path, threads: int
) -> Any:
    from pocketkube.files.layout import TABLE_FILE
    from pocketkube.latency_table.network_files import write_networks
    from pocketkube.latency_table.table import read_table, write_table
    from pocketkube.stages.call import StageCall
    from pocketkube.stages.configs import MeasureLatencyTableConfig
    from pocketkube.stages.on_nodes import measure_on_nodes

    config = MeasureLatencyTableConfig(threads=threads, cluster=cluster)
    with temporary_folder() as folder:
        made, measured = folder / "networks", folder / "measured"
        made.mkdir()
        write_networks(networks, made)
        inputs = {"networks": str(made)}
        measure_on_nodes(session, StageCall("measure_latency_table", config, inputs, str(measured)))
        table = read_table(measured / TABLE_FILE)
    write_table(table, output)
    return table


def report(options: Namespace) -> None:
    """`pocketkube report`: report.html from result.json."""
    from pocketkube.report import build_report
    from pocketkube.report.result import load_result

    file = options.result / "result.json" if options.result.is_dir() else options.result
    target = options.output or file.with_name("report.html")
    # A pipe or /dev/stdout has no ending.
    if target.is_file() or not target.exists():
        refuse_other_ending(target, ".html")
    write_text(target, build_report(load_result(file)))
    print(target)


def spec(options: Namespace) -> None:
    """`pocketkube spec`: what may stand in a spec, or whether one is right."""
    from pocketkube.spec import explain, json_schema, load_spec, resolve_paths
    from pocketkube.stages.outside import refuse_missing

    if options.explain:
        print(explain())
    elif options.schema:
        print(json.dumps(json_schema(), indent=1))
    elif options.file:
        refuse_missing(resolve_paths(load_spec(options.file), options.file.resolve().parent))
        print(f"{options.file}: right")
    else:
        raise UserError("Give a spec to check, or --explain, or --schema.")


def stage(options: Namespace) -> None:
    """`pocketkube stage`: one stage, as launchers call it."""
    from pocketkube.stages.remote import run_stage_at

    run_stage_at(_stage_call(options))


def trial(options: Namespace) -> None:
    """`pocketkube trial`: one assignment of a search."""
    quiet_tensorflow()
    from pocketkube.search.trial_command import run_trial

    import_named(options)
    run_trial(options.prepared, options.metrics, options.given, as_given=options.as_given)


def _stage_call(options: Namespace) -> Any:
    from pocketkube.stages.call import StageCall, config_of
    from pocketkube.stages.configs import ModelConfig, OnNodesConfig
    from pocketkube.stages.plan import step_named
    from pocketkube.storage import is_uri

    if options.checkpoints and not is_uri(options.checkpoints):
        raise UserError(
            f"--checkpoints: {repeatable(options.checkpoints)} is no place on an S3 server, as in "
            "s3://bucket/checkpoints; on this machine they are kept anyhow."
        )
    inputs: dict[str, str] = {}
    for word in options.input:
        name, equals, place = word.partition("=")
        if not equals:
            raise UserError(
                f"--input: {repeatable(word)} needs the form NAME=PLACE, as in model=runs/a/model."
            )
        if name in inputs:
            raise UserError(f"--input: {name} is given twice.")
        inputs[name] = place
    if options.spec is None:
        config = config_of(options.name, _json_of(options.config))
        if isinstance(config, ModelConfig):
            config = config.model_copy(update={"imports": (*config.imports, *imports_of(options))})
        return StageCall(options.name, config, inputs, options.output, options.checkpoints)
    job = _job(options)
    step = step_named(job, options.name)
    config = step.config
    if isinstance(config, OnNodesConfig):
        # A stage by itself was sent to a node, which has to be the one that is asked for.
        config = config.model_copy(update={"cluster": job.cluster})
    return StageCall(step.stage, config, inputs, options.output, options.checkpoints)


def _json_of(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise UserError(f"--config: is no JSON: {error}.") from None


def _read(text: str, image_size: list[int] | None) -> "Imported":
    """A model from its file, and what is to be said of that."""
    from pocketkube.bundle import read_model
    from pocketkube.graph.fixed_size import at_image_size
    from pocketkube.storage import parse_location

    with parse_location(text).fetched() as path:
        found = read_model(path)
    return replace(found, model=at_image_size(found.model, image_size))


def _calibration(options: Namespace, model: Any) -> Any:
    if options.dataset is None:
        return None
    from pocketkube.data import load_dataset
    from pocketkube.pruning.calibration import Calibration
    from pocketkube.spec.reading import parse_settings
    from pocketkube.spec.sections import DatasetSettings, source_of
    from pocketkube.stages.configs import Learning
    from pocketkube.stages.tasks import settled_task
    from pocketkube.stages.value_range import OtherRange, refuse_other_range
    from pocketkube.training.answers import calibration_by

    settings = parse_settings(DatasetSettings, source_of(options.dataset), "--dataset")
    dataset = load_dataset(settings)
    task = settled_task(Learning(), model, dataset)
    try:
        refuse_other_range(model, dataset, task, 0, options.model)
    except OtherRange as error:
        raise error.remedied(
            "save {formula} as x, for it is not of 8 bits and taken as it is",
            "save x as floats in that range, or run a spec with dataset: {value_range: {range}}",
        ) from error
    return Calibration(*calibration_by(model, task, dataset, 512, 0), loss=task.loss)
